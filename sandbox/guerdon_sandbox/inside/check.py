"""The checker's process: runs tests that use a candidate's functions, which live in another process.

It shares nothing that the candidate can write: modules come from the image, and its folder is private. A test that
passes is run again with stand-ins for the candidate. If it passes with each of those, it decides nothing. It needs only
the standard library.
"""

import ast
import builtins
import contextlib
import errno
import linecache
import os
import signal
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from guerdon_sandbox.codec import CodecError, dumps
from guerdon_sandbox.inside.blame import CandidateError, UnsupportedTestError, is_blamed
from guerdon_sandbox.inside.candidate import Candidate
from guerdon_sandbox.inside.constants import Solution, no_attribute
from guerdon_sandbox.inside.emptiness import NOTHING, NoCells
from guerdon_sandbox.inside.frames import send_frame
from guerdon_sandbox.inside.remote import Remote
from guerdon_sandbox.inside.rewriting import changes
from guerdon_sandbox.inside.sources import compile_prelude, compile_source, describe

_WORK = Path("/box")
_STAND_IN_S = 2
"""CPU seconds of a test with a stand-in. A test that loops on it does not pass."""
_RAN_OUT = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EFBIG)
"""Errors for resources that the candidate can use up and that the checker shares."""

_OF_FILES = ("open", "Path", "tempfile", "savetxt", "chdir", "makedirs", "mkdir", "getcwd")
"""Words of tests that use files."""

_Outcome = tuple[bool | None, str]

_HOLLOW = (False, "the program gives only empty results or NaN, and the test compares nothing of them")


def check(payload: dict[str, Any], inbox: int, outbox: int, verdict: int) -> NoReturn:
    """Run tests against a candidate in another process, and report each test's outcome.

    Writes one frame per test, ``[passed, why not]``; ``passed`` is null for a test that decides nothing of the
    candidate.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    outcomes = os.fdopen(verdict, "wb")
    candidate = Candidate(os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb"), set(payload["classes"]))
    try:
        _own_folder(candidate, "\n".join([payload["prelude"], payload["setup"], *payload["tests"]]))
        suite = _Suite(payload, candidate)
        prepared = suite.prepare()
    except OSError as error:
        prepared = (False, f"the tests have no folder: {error.strerror}")
    for outcome in [prepared] * len(payload["tests"]) if prepared else suite.outcomes():
        send_frame(outcomes, dumps(list(outcome)))
    candidate.remove_files()
    os._exit(0)


def _own_folder(candidate: Candidate, sources: str) -> None:
    """Move to an empty folder that only the checker can use.

    Tests without files get a deleted folder, in which no file can be created. Files that other tests write are copied
    to the candidate's folder before each request.
    """
    folder = _WORK / f"tests-{os.urandom(8).hex()}"
    folder.mkdir(0o700)
    os.chdir(folder)
    if any(word in sources for word in _OF_FILES):
        os.environ["TMPDIR"] = str(folder)
        candidate.share_files(folder, _WORK)
    else:
        folder.rmdir()


class _Suite:
    """The tests of one job and the namespaces that they run in."""

    def __init__(self, payload: dict[str, Any], candidate: Candidate) -> None:
        self._payload = payload
        self._candidate = candidate
        self._namespace: dict[str, Any] = {}
        self._codes: dict[str, types.CodeType] = {}

    def prepare(self) -> _Outcome | None:
        """Run the code before the tests, and load the candidate. Return every test's outcome if that fails."""
        try:
            self._namespace = self._new_namespace(self._remote)
            self._candidate.load()
        except BaseException as error:
            return self._judge(error, "setup.py")
        return None

    def outcomes(self) -> Iterator[_Outcome]:
        """Yield the outcome of each test.

        While the program has given only what is empty or is not a number, it does not pass a test that compares nothing
        of such a result. A later result of another kind shows that it can give more.
        """
        held: list[tuple[_Outcome, bool]] = []
        for index in range(len(self._payload["tests"])):
            outcome = self.run(index)
            is_hollow = bool(outcome[0]) and not self._candidate.gave and self._accepts_nothing(index)
            held.append((outcome, is_hollow))
            if self._candidate.gave or not any(hollow for _, hollow in held):
                yield from (outcome for outcome, _ in held)
                held.clear()
        yield from (_HOLLOW if hollow else outcome for outcome, hollow in held)

    def run(self, index: int) -> _Outcome:
        """Run one test, and again with each stand-in if it passes."""
        name = f"test{index}.py"
        candidate = self._candidate
        candidate.in_place = index in self._payload["in_place"]
        try:
            self._exec(self._payload["tests"][index], name, self._namespace)
        except BaseException as error:
            return self._judge(error, name)
        if candidate.unsupported or candidate.fault:
            return self._judge(CandidateError(candidate.fault), name)
        if not self._decides(index, name):
            return (
                None,
                "the test passes whatever the program does: it asserts nothing of what the program gives",
            )
        return True, ""

    def _new_namespace(self, stand_for: Any) -> dict[str, Any]:
        """Return the names of a module after the problem's code and the setup, with the candidate's replaced."""
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        names = module.__dict__
        names["__builtins__"] = builtins
        names["__runners__"] = _Runners(self._module(stand_for))
        payload = self._payload
        if payload["prelude"]:
            exec(compile_prelude(payload["prelude"]), names)
            self._candidate.shared = {
                name: one
                for name, one in names.items()
                if isinstance(one, type) and one.__module__ == "__main__" and name not in payload["names"]
            }
        names.update({name: stand_for(name) for name in payload["names"]})
        asked, self._candidate.asked = self._candidate.asked, 0
        if payload["setup"]:
            self._exec(payload["setup"], "setup.py", names)
        self._candidate.asked += asked
        return names

    def _remote(self, name: str) -> object:
        if name in self._payload["exceptions"]:
            known = self._candidate.exceptions
            return known.setdefault(name, type(name, (Exception,), {}))
        if name in self._payload["values"]:
            self._candidate.load()
            with contextlib.suppress(NameError):
                for value in self._candidate.constants.read(name):
                    return value
        return Remote(self._candidate, name, name, "named")

    def _module(self, stand_for: Any) -> Any:
        """Return the function that makes the program's module for tests that import it whole."""

        def member(name: str) -> object:
            if stand_for != self._remote or name in self._payload["exceptions"]:
                return stand_for(name)
            if name not in found:
                self._candidate.load()
                try:
                    constant = self._candidate.constants.read(name)
                except NameError:
                    raise no_attribute(name) from None
                if constant:
                    return constant[0]
                found[name] = Remote(self._candidate, name, name, "named")
            return found[name]

        found: dict[str, object] = {}
        return lambda name: Solution(name, member, self._candidate.refuse)

    def _exec(self, source: str, name: str, namespace: dict[str, Any]) -> None:
        if name not in self._codes:
            self._codes[name] = compile_source(source, name, changes(source))
        exec(self._codes[name], namespace)

    def _judge(self, error: BaseException, name: str) -> _Outcome:
        """Return the outcome for a test's exception, with its place."""
        why = _located(error, name)
        candidate = self._candidate
        if candidate.fault:
            return False, candidate.fault if isinstance(error, CandidateError) else why
        if candidate.unsupported or isinstance(error, UnsupportedTestError):
            return None, candidate.unsupported or str(error)
        if is_blamed(error) or isinstance(error, CodecError | CandidateError):
            return False, why
        if not candidate.asked:
            return None, f"the test fails before it asks the program anything: {why}"
        if self._is_own_fault(error):
            return None, f"the test itself fails: {why}"
        return False, why

    def _is_own_fault(self, error: BaseException) -> bool:
        """Return whether no value of a candidate can make a test raise this."""
        if isinstance(error, OSError):
            return error.errno not in _RAN_OUT
        if isinstance(error, AttributeError):
            return isinstance(error.obj, types.ModuleType)
        return isinstance(error, ImportError) or type(error).__name__ in ("SkipTest", "Skipped")

    def _decides(self, index: int, name: str) -> bool:
        """Return whether the test fails with some program that does nothing."""
        stand_ins = [lambda: None, object, *map(_giver, self._payload["stand_ins"])]
        return any(not self._passes_with(stand_in, index, name) for stand_in in stand_ins)

    def _accepts_nothing(self, index: int) -> bool:
        """Return whether a test that passed accepts an empty result of no kind, or a NaN that it does not expect."""
        sources = (self._payload["setup"], self._payload["tests"][index])
        if self._candidate.gave_nan and not any("nan" in source.lower() for source in sources):
            return True
        table = self._candidate.gave_table
        nothings = NOTHING if table is None else (*NOTHING, partial(NoCells, table))
        return any(self._passes_with(nothing, index, f"test{index}.py") for nothing in nothings)

    def _passes_with(self, give: Any, index: int, name: str) -> bool:
        def stand_for(one: str) -> object:
            if one in self._payload["exceptions"]:
                return self._candidate.exceptions[one]
            return lambda *_, **__: give()

        shared, self._candidate.shared = self._candidate.shared, {}
        signal.signal(signal.SIGVTALRM, _give_up)
        signal.setitimer(signal.ITIMER_VIRTUAL, _STAND_IN_S)
        try:
            self._exec(self._payload["tests"][index], name, self._new_namespace(stand_for))
        except BaseException:
            return False
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._candidate.shared = shared
        return True


class _Runners:
    """Imports the runners of test functions and classes when a test needs them."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        from guerdon_sandbox.inside import runners

        return getattr(runners, name)


class _StandInTimeout(BaseException):
    pass


def _give_up(*_: object) -> None:
    raise _StandInTimeout


def _giver(literal: str) -> Any:
    return lambda: ast.literal_eval(literal)


def _located(error: BaseException, name: str) -> str:
    """Return the exception's name and text, and the last line of the tests that it went through."""
    kind, text = describe(error)
    line, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file in (name, "setup.py"):
            line = linecache.getline(file, trace.tb_lineno).strip()
        trace = trace.tb_next
    return f"{kind}: {text[:500]}" + (f" at: {line[:200]}" if line else "")
