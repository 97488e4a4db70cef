"""Sessions: state between commands, limits, snapshots, and nothing that is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from guerdon_sandbox import (
    LOCKED,
    Limit,
    SandboxUnavailableError,
    SandboxUsageError,
    Session,
    SessionOptions,
    Sessions,
)
from guerdon_sandbox.engine import Engine
from guerdon_sandbox.inside.wire import WireError
from guerdon_sandbox.session_answers import read_header, read_tree

T = TypeVar("T")
Play = Callable[[Callable[[Session], Awaitable[T]]], T]


@pytest.fixture(scope="module")
def runner(docker_engine: None) -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="module")
def sessions(runner: asyncio.Runner) -> Iterator[Sessions]:
    opened = Sessions(options=SessionOptions(work_bytes=8 << 20))
    yield opened
    runner.run(opened.aclose())


@pytest.fixture(scope="module")
def shared(runner: asyncio.Runner, sessions: Sessions) -> Session:
    """One container; each test that uses it begins with a reset."""
    return runner.run(sessions.open())


@pytest.fixture
def session(runner: asyncio.Runner, shared: Session) -> Session:
    runner.run(shared.reset())
    return shared


def text(runner: asyncio.Runner, session: Session, command: str, wall_s: float = 20.0) -> str:
    return runner.run(session.run(command, wall_s=wall_s)).output.decode()


pytestmark = pytest.mark.docker

# 99 bytes of each: a process that was just forked has the supervisor's command line, which is longer than an output.
PROCESSES = "for one in /proc/[0-9]*; do tr '\\0' ' ' < $one/cmdline | head -c 99; done 2> /dev/null"


def test_files_variables_folder_and_processes_stay(runner: asyncio.Runner, session: Session) -> None:
    text(runner, session, "export X='a b'; mkdir d; cd d; echo 1 > f; sleep 60 & echo $! > pid")
    assert text(runner, session, 'pwd; echo "$X"; cat f; kill -0 $(cat pid) && echo alive') == (
        "/box/d\na b\n1\nalive\n"
    )


def test_reset_leaves_nothing_and_changes_the_user(runner: asyncio.Runner, session: Session) -> None:
    first = text(runner, session, "export X=1; id -u; touch f /tmp/g; sleep 60 &")
    runner.run(session.reset())
    second = text(runner, session, f"id -u; ls -A /box /tmp; echo X=$X; {PROCESSES}")
    assert second.splitlines()[0] != first.strip()
    assert second.splitlines()[1:5] == ["/box:", "", "/tmp:", "X="]
    assert "sleep 60" not in second


def test_command_ends_at_its_deadline_with_its_children_only(
    runner: asyncio.Runner, session: Session
) -> None:
    text(
        runner,
        session,
        f"setsid sleep 61 > /dev/null 2>&1 & until {PROCESSES} | grep -q 'sleep 6[1]'; do :; done",
    )
    done = runner.run(session.run("sleep 62 & sleep 63", wall_s=0.5))
    assert (done.limit, done.exit_code) == (Limit.WALL, None)
    lines = text(runner, session, PROCESSES)
    assert "sleep 61" in lines
    assert "sleep 62" not in lines
    assert "sleep 63" not in lines


def test_output_is_cut_and_the_command_runs_to_its_end(runner: asyncio.Runner, session: Session) -> None:
    done = runner.run(session.run("yes | head -c 3000000; touch end", output_bytes=1000))
    assert (len(done.output), done.truncated, done.exit_code) == (1000, True, 0)
    assert runner.run(session.read("end")) == b""


@pytest.mark.parametrize(
    ("command", "code"), [("exit 3", 3), ("false", 1), ("if", 2), ("kill -9 $$", None), ("exec true", 0)]
)
def test_end_of_a_command_is_its_own(
    runner: asyncio.Runner, session: Session, command: str, code: int | None
) -> None:
    assert runner.run(session.run(command)).exit_code == code


def test_state_that_cannot_be_kept_is_not_kept(runner: asyncio.Runner, session: Session) -> None:
    text(runner, session, "export X=$(head -c 90000 /dev/zero | tr '\\0' x)")
    assert text(runner, session, "echo ${#X}") == "0\n"


def test_locked_files_cannot_be_changed(runner: asyncio.Runner, session: Session) -> None:
    runner.run(session.write({"t.sh": b"echo right"}, folder=LOCKED))
    text(
        runner,
        session,
        f"echo wrong > {LOCKED}/t.sh; rm -rf {LOCKED}/*; mv {LOCKED} x; chmod 777 {LOCKED} {LOCKED}/t.sh",
    )
    assert text(runner, session, f"bash {LOCKED}/t.sh") == "right\n"


def test_tree_has_regular_files_only(runner: asyncio.Runner, session: Session) -> None:
    text(runner, session, "mkdir -p a/b e; echo 1 > a/b/c; chmod +x a/b/c; ln -s /etc/passwd l; ln -s a m")
    tree = runner.run(session.tree())
    assert dict(tree.files) == {"a/b/c": b"1\n"}
    assert tree.executables == {"a/b/c"}
    assert tree.folders == {"a", "a/b", "e"}
    assert tree.left_out == 2


def test_link_is_not_read(runner: asyncio.Runner, session: Session) -> None:
    text(runner, session, "ln -s /etc/passwd l; ln -s /etc d; mkfifo p")
    assert [runner.run(session.read(path)) for path in ("l", "d/passwd", "p", "missing")] == [None] * 4


def test_snapshot_is_restored_in_another_state(runner: asyncio.Runner, session: Session) -> None:
    text(runner, session, "export X=7; mkdir d; cd d; echo 1 > f")
    snapshot = runner.run(session.snapshot())
    text(runner, session, "rm -rf /box/*; export X=8; sleep 60 &")
    runner.run(session.restore(snapshot))
    assert text(runner, session, "pwd; cat f; echo $X") == "/box/d\n1\n7\n"


@pytest.mark.parametrize(
    "hostile",
    [
        ":(){ :|:& };: > /dev/null 2>&1; sleep 9",
        "head -c 90000000 /dev/zero > full; for i in $(seq 5000); do : > n$i; done 2> /dev/null",
        "kill -9 1; kill -9 -1",
        "python3 -c \"import os\nfor _ in range(900): os.mkdir('d'); os.chdir('d')\"",
        "exec 3>&- ; yes >&2",
        "(trap '' TERM HUP INT; setsid sleep 99 &); mkdir x; chmod 0 x .",
        "for i in $(seq 40); do (sleep 99 &); done; ulimit -a > /dev/null",
        'python3 -c "x = bytearray(2 << 30)"',
    ],
)
def test_hostile_command_does_not_reach_the_next_one(
    runner: asyncio.Runner, session: Session, hostile: str
) -> None:
    runner.run(session.run(hostile, wall_s=2))
    runner.run(session.reset())
    assert text(runner, session, "ls -A; echo fine > f; cat f") == "fine\n"


def test_wrong_requests_are_refused_before_they_are_sent(runner: asyncio.Runner, session: Session) -> None:
    for coroutine in (
        session.run("a\0b"),
        session.run("x" * 200_000),
        session.run("x", wall_s=0),
        session.run("x", wall_s=float("nan")),
        session.write({"../x": b""}),
        session.write({"x": b""}, folder="/etc"),
        session.write({"x": b""}, folder="/box/../etc"),
        session.read("/etc/passwd"),
    ):
        with pytest.raises(SandboxUsageError):
            runner.run(coroutine)
    assert text(runner, session, "echo fine") == "fine\n"


@pytest.mark.parametrize("folder", ["/", "box", "/a/../b", LOCKED, f"{LOCKED}/"])
def test_folder_that_cannot_be_writable_is_refused(folder: str) -> None:
    with pytest.raises(SandboxUsageError, match="cannot be writable"):
        SessionOptions(folder=folder)


def test_finished_session_says_so(runner: asyncio.Runner, sessions: Sessions) -> None:
    async def episode() -> Session:
        session = await sessions.open()
        await session.run("echo 1 > f; sleep 60 &")
        assert dict((await session.finish()).files) == {"f": b"1\n"}
        return session

    session = runner.run(episode())
    with pytest.raises(SandboxUnavailableError, match="was closed"):
        runner.run(session.run("true"))


_OWNER = """
import asyncio
from guerdon_sandbox import Sessions
async def main():
    session = await Sessions().open()
    print(session._box.name, flush=True)
    await session.run("sleep 100 & sleep 100", wall_s=100)
asyncio.run(main())
"""


def test_killed_owner_leaves_no_container() -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        os.kill(owner.pid, signal.SIGKILL)
    give_up = time.monotonic() + 60
    while any(box["Id"] == name for box in Engine().boxes()):
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"sizes": 1}',
        b'{"sizes": [-1]}',
        b'{"sizes": [true]}',
        b'{"sizes": [9]}',
        b'{"sizes": [1, 1]}',
    ],
)
def test_answer_that_is_not_one_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_header(data, [4])


@pytest.mark.parametrize(
    "entries",
    [[["../x", False]], [["/x", False]], [["a", False], ["a/b", False]], [["a", False]] * 2, [[1, 2]], 5],
)
def test_tree_with_wrong_paths_is_refused(entries: object) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        read_tree(entries, [b"", b""], 0)
