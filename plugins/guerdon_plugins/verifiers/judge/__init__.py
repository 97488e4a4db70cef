"""``judge``: the verdict of a language model behind an endpoint on a completion."""

from guerdon_plugins.verifiers.judge.verifier import Judge

__all__ = ["Judge"]
