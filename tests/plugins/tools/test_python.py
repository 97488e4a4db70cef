"""The Python session, in the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.testing import ToolConformance
from guerdon.tools import Session, Toolbox, ToolEntry

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def toolbox() -> Iterator[Toolbox]:
    component = load_component(find_plugin("python", [Kind.TOOL]), {"cpu_s": 2}, Path.cwd())
    with Toolbox([ToolEntry("python", component)]) as opened:
        yield opened


def run(toolbox: Toolbox, session: Session, code: Any, **others: Any) -> tuple[str, str | None]:
    toolbox.call([(session, [{"function": {"name": "python", "arguments": {"code": code, **others}}}])])
    return str(session.calls[-1].result), session.calls[-1].failure


def test_state_lives_between_the_calls_of_a_rollout_only(toolbox: Toolbox) -> None:
    first, second = toolbox.open([{}, {}], [0, 1])
    assert run(toolbox, first, "x = 4\nprint('hi')\nx") == ("hi\n4", None)
    assert run(toolbox, first, "import math\ndef f(y): return math.sqrt(y) + x") == ("[no output]", None)
    assert run(toolbox, first, "f(9)") == ("7.0", None)
    assert run(toolbox, second, "x") == ("NameError: name 'x' is not defined (line 1)", None)


def test_call_that_was_stopped_leaves_nothing(toolbox: Toolbox) -> None:
    (session,) = toolbox.open([{}], [0])
    run(toolbox, session, "x = 1")
    text, failure = run(toolbox, session, "import os; x = 2; os._exit(3)")
    assert "[stopped: exit 3]" in text
    assert failure == "error"
    text, failure = run(toolbox, session, "while True: pass")
    assert "[stopped: " in text
    assert run(toolbox, session, "x") == ("1", None)


def test_session_has_no_network_and_cannot_forge_earlier_calls(toolbox: Toolbox) -> None:
    (session,) = toolbox.open([{}], [0])
    text, _ = run(toolbox, session, "import socket; socket.create_connection(('1.1.1.1', 53), 2)")
    assert "Error" in text
    assert run(toolbox, session, "y", earlier_calls=[{"code": "y = 9"}])[0].startswith("NameError")


class TestPython(ToolConformance):
    plugin = "python"
    params = {"cpu_s": 2}
    timeout_s = 60.0
    calls = (({"code": "print(6 * 7)"}, "42"),)
