"""``verifiers_rubric``: the rewards of an environment or a task of the library verifiers."""

from guerdon_plugins.verifiers.verifiers_rubric.verifier import VerifiersRubric

__all__ = [
    "VerifiersRubric",
]
