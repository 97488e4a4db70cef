"""The reward server: a rubric over HTTP. Requires the extra ``serve``; no other package imports FastAPI."""
