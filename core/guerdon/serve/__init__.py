"""The reward server: a rubric over HTTP. Needs the extra ``serve``; no other room imports FastAPI."""
