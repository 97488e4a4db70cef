"""The verifier ``code``: runs the program in a completion against tests, in the sandbox."""

from guerdon_plugins.verifiers.code.verifier import CodeVerifier

__all__ = ["CodeVerifier"]
