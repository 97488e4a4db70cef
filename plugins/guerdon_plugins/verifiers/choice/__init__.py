"""``choice``: check the chosen option of a multiple-choice question."""

from guerdon_plugins.verifiers.choice.verifier import Choice

__all__ = ["Choice"]
