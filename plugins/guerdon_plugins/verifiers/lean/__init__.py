"""``lean``: check a proof with a Lean 4 server."""

from guerdon_plugins.verifiers.lean.verifier import Lean

__all__ = ["Lean"]
