"""The cache's bound; what it keeps and forgets otherwise is in test_rubric.py."""

import resource
import signal
from pathlib import Path

import pytest

from guerdon.plugins.component import Component
from guerdon.plugins.discovery import SCORERS, Kind, find_plugin
from guerdon.scoring.cache import ScoreCache, component_key
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


def test_a_disk_that_is_full_costs_the_cache_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        for batch in range(50):
            cache.put({f"{batch} {number}": Score(1.0, explanation="x" * 99) for number in range(50)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert cache.get(["0 0"]) == {}
    assert caplog.text.count("is not used any more") == 1
    cache.close()


def test_component_key_changes_with_the_file_that_a_param_names(tmp_path: Path) -> None:
    file = tmp_path / "scorers.py"
    file.write_text("async def mine(state, target): return None\n")
    plugin = find_plugin("inspect_ai", SCORERS)

    def key(scorer: str) -> str:
        return component_key(Component(plugin, Kind.VERIFIER, {"scorer": scorer}, tmp_path))

    named, absent, text = key("./scorers.py:mine"), key("./nowhere.py:mine"), key("Answer: mine")
    assert named == key("./scorers.py:mine")
    file.write_text("async def mine(state, target): return 1\n")
    assert named != key("./scorers.py:mine")
    assert (absent, text) == (key("./nowhere.py:mine"), key("Answer: mine"))
    assert Component(plugin, Kind.VERIFIER, {"a": "stage:rl", "b": "http://x:80", "c": 4}).named_objects == {}
