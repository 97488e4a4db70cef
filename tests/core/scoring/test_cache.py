"""The cache's bound; what it keeps and forgets otherwise is in test_rubric.py."""

from guerdon.scoring.cache import ScoreCache
from guerdon.types import Score


def test_a_full_cache_forgets_all_and_goes_on() -> None:
    cache = ScoreCache(max_scores=3)
    cache.put({"a": Score(1.0), "b": Score(0.5)})
    cache.put({"c": Score(0.0)})
    assert set(cache.get(["a", "b", "c"])) == {"a", "b", "c"}
    cache.put({"d": Score(1.0)})
    assert cache.get(["a", "b", "c", "d"]) == {"d": Score(1.0)}
    cache.put({str(number): Score(1.0) for number in range(10)})  # one batch that is larger stays whole
    assert len(cache.get([str(number) for number in range(10)])) == 10
    cache.close()
