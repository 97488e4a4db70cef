"""``qa``: check a short answer to a question against the accepted answers."""

from guerdon_plugins.verifiers.qa.verifier import QuestionAnswer

__all__ = ["QuestionAnswer"]
