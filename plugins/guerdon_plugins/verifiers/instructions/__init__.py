"""``instructions``: check that a response follows verifiable instructions, those of IFEval and IFBench."""

from guerdon_plugins.verifiers.instructions.verifier import Instructions

__all__ = ["Instructions"]
