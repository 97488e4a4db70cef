"""``language``: the share of a completion's words in the target language."""

from guerdon_plugins.verifiers.language.verifier import Language

__all__ = ["Language"]
