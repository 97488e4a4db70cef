"""Tests of the environment's episodes. The kit adds the checks of every environment."""

from guerdon.testing import EnvironmentConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(EnvironmentConformance):
    plugin = "my_plugin"
    row = {"number": 4}
    episode = (("guess", {"number": 2}), ("guess", {"number": 4}))
    reward = 1.0


def test_wrong_guesses_earn_nothing() -> None:
    game = MyPlugin(most=1)
    game.reset(number=4)
    assert game.guess(9) == "too large"
    assert game.get_reward() == 0.0
