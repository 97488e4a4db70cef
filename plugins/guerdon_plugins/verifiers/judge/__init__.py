"""``judge``: what a language model behind an endpoint says of a completion."""

from guerdon_plugins.verifiers.judge.verifier import Judge

__all__ = ["Judge"]
