"""Whose an error is."""

from __future__ import annotations

import inspect
import json

import pytest

from guerdon.errors import (
    DataError,
    GuerdonError,
    InfrastructureError,
    ParamsError,
    PluginContractError,
    PluginLoadError,
)
from guerdon.plugins.boundary import boundary, describe, line_of


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (
            RuntimeError("bad\nluck"),
            PluginContractError,
            "verifier 'v' raised RuntimeError: bad luck. Fix it.",
        ),
        (SystemExit(4), PluginContractError, "verifier 'v' raised SystemExit: 4. Fix it."),
        (ValueError("n is 3"), ParamsError, "v refuses its params: n is 3"),
        (
            ConnectionRefusedError("down"),
            InfrastructureError,
            "verifier 'v' raised ConnectionRefusedError: down.",
        ),
        (
            FileNotFoundError("gone"),
            PluginContractError,
            "verifier 'v' raised FileNotFoundError: gone. Fix it.",
        ),
    ],
)
def test_boundary_an_error_becomes_the_plugins(
    raised: BaseException, expected: type[GuerdonError], message: str
) -> None:
    with (
        pytest.raises(expected) as caught,
        boundary("verifier 'v' raised", blames_params=(ValueError,), params_of="v", fix="Fix it."),
    ):
        raise raised
    assert type(caught.value) is expected
    assert str(caught.value) == message
    assert caught.value.__cause__ is raised


def test_boundary_guerdons_own_errors_and_interrupts_pass() -> None:
    with pytest.raises(DataError, match="row 3"), boundary("x", PluginLoadError):
        raise DataError("row 3")
    with pytest.raises(KeyboardInterrupt), boundary("x"):
        raise KeyboardInterrupt


def test_describe_an_error_whose_text_cannot_be_made() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(MuteError()) == "MuteError: <its text cannot be made: RuntimeError>"


def _division(number: int) -> float:
    return 1 / number


class _Divides:
    def __call__(self) -> float:
        return _division(0)


def test_line_of_an_error_below_the_plugin_names_the_innermost_line_of_its_file() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        _Divides()()
    line = inspect.getsourcelines(_division)[1] + 1
    expected = f" (test_boundary.py:{line})"
    assert line_of(raised.value, _Divides) == line_of(raised.value, _Divides()) == expected


def test_line_of_an_error_elsewhere_is_empty() -> None:
    with pytest.raises(ValueError, match="could not") as raised:
        float("x")
    assert line_of(raised.value, json.JSONDecoder) == ""
    assert line_of(raised.value, int) == ""
