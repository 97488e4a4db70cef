"""``language``: the share of a completion's words that are in the language it should be in."""

from guerdon_plugins.verifiers.language.verifier import Language

__all__ = ["Language"]
