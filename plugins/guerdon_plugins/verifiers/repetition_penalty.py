"""``repetition_penalty``: the share of a completion that repeats itself, as a negative value."""

from __future__ import annotations

from guerdon import Score
from guerdon.text import words


class RepetitionPenalty:
    """Penalizes repeated n-grams: ``max_penalty`` times the share of n-grams that occurred before.

    Appendix C.2 of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), which counts tokens;
    open-R1 counts texts between spaces. Here an n-gram consists of words, numbers and symbols, so that it is the same
    in every script and for every tokenizer. Repeated exclamation marks are a repetition too. A completion of fewer than
    ``ngram_size`` words has none.

    Args:
        ngram_size: The number of words in an n-gram.
        max_penalty: The value of a completion that only repeats itself; not above 0.

    Raises:
        ValueError: ``ngram_size`` is below 1 or ``max_penalty`` above 0.
    """

    def __init__(self, ngram_size: int = 3, max_penalty: float = -1.0) -> None:
        if ngram_size < 1:
            raise ValueError(f"ngram_size is {ngram_size}; it must be at least 1")
        if max_penalty > 0:
            raise ValueError(f"max_penalty is {max_penalty}; a penalty must not be above 0")
        self._ngram_size = ngram_size
        self._max_penalty = max_penalty

    def __call__(self, completion: str) -> Score:
        tokens = words(completion.lower(), symbols=True)
        ngrams = list(zip(*(tokens[start:] for start in range(self._ngram_size)), strict=False))
        repeated = len(ngrams) - len(set(ngrams))
        if not repeated:
            return Score(0.0)
        return Score(
            self._max_penalty * repeated / len(ngrams),
            explanation=f"{repeated} of {len(ngrams)} {self._ngram_size}-grams are repetitions",
        )
