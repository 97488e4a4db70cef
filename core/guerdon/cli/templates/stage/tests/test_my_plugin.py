"""Tests of the stage's output. The kit adds the checks of every stage."""

from guerdon.testing import StageConformance


class TestMyPlugin(StageConformance):
    plugin = "my_plugin"
    params = {"max_words": 2}
    rows = ({"prompt": "Two words"}, {"prompt": "Three words here"})

    def test_keeps_short_prompts(self) -> None:
        """Rows with short prompts are kept."""
        assert self.finished().rows == [{"prompt": "Two words"}]
