"""``json_schema``: check that an answer is a document of a format, and fits a JSON Schema."""

from guerdon_plugins.verifiers.json_schema.verifier import JsonSchema

__all__ = ["JsonSchema"]
