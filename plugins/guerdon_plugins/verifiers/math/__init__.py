r"""Checks final answers in mathematics: a library of its own as well as a verifier plugin.

>>> from guerdon_plugins.verifiers.math import compare, extract
>>> bool(compare(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"))
True
>>> compare("10 cm", "10 m").reason
'the unit is cm, not m'
>>> extract(r"so the answer is $\boxed{7}$.").answer
'7'
"""

from guerdon_plugins.verifiers.math.policy import Policy
from guerdon_plugins.verifiers.math.reading.extraction import Extraction, extract
from guerdon_plugins.verifiers.math.reading.parser import parse
from guerdon_plugins.verifiers.math.reading.tokens import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.verdict import MathOutcome, MathVerdict, compare
from guerdon_plugins.verifiers.math.verifier import MathVerifier, ReferenceProblem, check_references

__all__ = [
    "Extraction",
    "MathOutcome",
    "MathVerdict",
    "MathVerifier",
    "Policy",
    "ReferenceProblem",
    "TooLargeError",
    "UnreadableError",
    "check_references",
    "compare",
    "extract",
    "parse",
]
