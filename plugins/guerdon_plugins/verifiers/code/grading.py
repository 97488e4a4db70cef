"""Runs one program against one problem's tests in the sandbox, and says of each test whether it passed."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from guerdon_plugins.verifiers.code.asserts import AssertTests, expectations
from guerdon_plugins.verifiers.code.compare import same_output, same_value
from guerdon_plugins.verifiers.code.languages import Language
from guerdon_plugins.verifiers.code.suites import FunctionCase, FunctionTests, StdioCase, StdioTests, Tests
from guerdon_sandbox import (
    Call,
    Calls,
    Check,
    Job,
    Limit,
    Limits,
    Opaque,
    Program,
    Raised,
    Result,
    Returned,
    Sandbox,
    SandboxImageError,
)

R = TypeVar("R", bound=Result)

_MAX_LATE = 3
"""How many runs of one program may end at a time limit."""
_LARGE_OUTPUT = 1 << 14
"""Characters of an output that is compared off the event loop."""
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 100
_MAX_RESTARTS = 3
"""How often calls go on in a new process after one of them ended the old one."""
_MODULES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_AMBIENT = "\n".join(
    [
        *(f"from {name} import *" for name in (*_MODULES, "builtins", "typing")),
        *(f"import {name}" for name in _MODULES),
        "sys.setrecursionlimit(50000)",
    ]
)
"""What functions find without importing it: LeetCode's judge imports it, and so LiveCodeBench's grader does, alike."""
_COMPILE_LIMITS = Limits(cpu_s=30, wall_s=60.0, memory_bytes=1 << 30)


class UnjudgeableError(Exception):
    """A test that cannot be run as it stands, so that nothing is known of the program."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test's outcome."""

    passed: bool
    why: str = ""
    """What went wrong, in one line."""


class _Runs:
    """Runs one program's jobs. After three that ran out of time the rest is not run, and ends like them.

    Otherwise a program that loops in a hundred tests would keep a box for a quarter of an hour and miss its deadline.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._late = 0

    async def run(self, job: Job[R]) -> R:
        if self._late >= _MAX_LATE:
            return job.not_run(Limit.WALL)
        result = await self._sandbox.run(job)
        self._late += result.limit in (Limit.CPU, Limit.WALL)
        return result


class Grader:
    """Runs programs with one verifier's options."""

    def __init__(
        self, sandbox: Sandbox, limits: Limits, *, every_test: bool, judge: str | None, tolerance: float
    ) -> None:
        """Take the options.

        Args:
            sandbox: Where programs run.
            limits: For each run.
            every_test: Whether tests go on after one has failed.
            judge: Source of a special judge, for suites that bring none.
            tolerance: As for `same_output`.
        """
        self._sandbox = sandbox
        self._limits = limits
        self._every_test = every_test
        self._judge = judge
        self._tolerance = tolerance
        self._tools: dict[str, bool] = {}

    async def run(self, program: str, language: Language, tests: Tests) -> list[Evidence]:
        """Run all tests, in their order.

        Raises:
            UnjudgeableError: A test cannot be run as it stands.
            SandboxUnavailableError: The sandbox is down, or its image lacks the language.
        """
        if isinstance(tests, StdioTests):
            return await self._run_stdio(program, language, tests)
        if language.name != "python":
            raise UnjudgeableError(f"tests of functions are for python, and the program is {language.name}")
        if isinstance(tests, FunctionTests):
            return await self._run_functions(program, tests)
        return await self._run_asserts(program, tests)

    async def _run_stdio(self, program: str, language: Language, tests: StdioTests) -> list[Evidence]:
        judge = tests.judge or self._judge
        job = await self._prepare(program, language)
        if isinstance(job, Evidence):
            return [job] * len(tests.cases)
        runs = _Runs(self._sandbox)
        evidence: list[Evidence] = []
        # One after the other, so that a program with many tests has one place in the queue, as any other.
        for case in tests.cases:
            evidence.append(await self._run_case(runs, job, case, judge))
            if not evidence[-1].passed and not self._every_test:
                break
        skipped = Evidence(False, "not run, as an earlier one failed")
        return evidence + [skipped] * (len(tests.cases) - len(evidence))

    async def _prepare(self, program: str, language: Language) -> Program | Evidence:
        """The job that runs the program, still without input; or why it does not compile."""
        if not language.file:
            return Program(source=program, limits=self._limits)
        await self._require(language)
        files = {language.file: program.encode(errors="surrogatepass")}
        if not language.compile:
            return Program(command=language.run, files=files, limits=self._limits)
        compiled = await self._sandbox.run(
            Program(command=language.compile, files=files, collect=["main"], limits=_COMPILE_LIMITS)
        )
        if not compiled.ok or "main" not in compiled.files:
            first = compiled.stderr.decode(errors="replace").strip().splitlines()[:1]
            return Evidence(False, " ".join(["does not compile:", compiled.ending, *first])[:300])
        return Program(
            command=language.run, files=compiled.files, executables=frozenset({"main"}), limits=self._limits
        )

    async def _require(self, language: Language) -> None:
        """Make sure that the image has the language. Otherwise every program of it would be wrong."""
        if language.name not in self._tools:
            result = await self._sandbox.run(Program(command=[language.tool, "--version"]))
            self._tools[language.name] = result.ok
        if not self._tools[language.name]:
            raise SandboxImageError(
                f"the image has no '{language.tool}', which {language.name} needs. Build one that has it with: "
                "guerdon sandbox build --toolchain"
            )

    async def _run_case(self, runs: _Runs, job: Program, case: StdioCase, judge: str | None) -> Evidence:
        stdout_bytes = max(job.limits.stdout_bytes, 2 * len(case.expected.encode(errors="surrogatepass")))
        limits = replace(job.limits, stdout_bytes=stdout_bytes)
        result = await runs.run(replace(job, stdin=case.stdin.encode(errors="surrogatepass"), limits=limits))
        if not result.ok:
            last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return Evidence(False, " ".join([result.ending, *last])[:300])
        output = result.stdout.decode(errors="replace")
        if judge is not None:
            return await self._ask(judge, case, output)
        compare = partial(same_output, output, case.expected, self._tolerance)
        # Large outputs take long to compare, and other programs' verdicts wait for the event loop.
        if await asyncio.to_thread(compare) if len(output) > _LARGE_OUTPUT else compare():
            return Evidence(True)
        return Evidence(False, f"wrote {output[:100]!r}, not {case.expected[:100]!r}")

    async def _ask(self, judge: str, case: StdioCase, output: str) -> Evidence:
        """Have a judge decide. It is trusted code that reads an untrusted output, so it runs in the sandbox as well."""
        verdict = await self._verdict(judge, case, output)
        if isinstance(verdict, bool):
            return Evidence(verdict, "" if verdict else f"the judge refuses {output[:100]!r}")
        # A judge that stumbles over the output refuses it, if it can judge at all.
        if isinstance(await self._verdict(judge, case, case.expected), bool):
            return Evidence(False, f"the judge stumbles over {output[:100]!r}: {verdict}")
        raise UnjudgeableError(f"the judge gives no verdict on the expected output: {verdict}")

    async def _verdict(self, judge: str, case: StdioCase, output: str) -> bool | str:
        """The judge's verdict, or why there is none."""
        call = Call("judge", [case.stdin, output, case.expected])
        result = await self._sandbox.run(Calls(source=judge, calls=[call], limits=self._limits))
        match result.replies:
            case [Returned(value=bool(verdict))]:
                return verdict
            case [Returned(value=value)]:
                return f"it gave {_shown(value)}, which is neither True nor False"
            case [Raised(error=error)]:
                return error
        return result.load_error or result.ending

    async def _run_functions(self, program: str, tests: FunctionTests) -> list[Evidence]:
        """Where arguments can be read in two ways, the reading that suits the program better."""
        runs = _Runs(self._sandbox)
        evidence = await self._run_cases(runs, program, tests.cases)
        if not tests.otherwise or all(one.passed for one in evidence):
            return evidence
        # The first of two that are equally good is the likelier one.
        return max(
            evidence,
            await self._run_cases(runs, program, tests.otherwise),
            key=lambda found: sum(one.passed for one in found),
        )

    async def _run_cases(self, runs: _Runs, program: str, cases: Sequence[FunctionCase]) -> list[Evidence]:
        calls = [Call(case.function, case.args) for case in cases]
        needed = sum(_size(value) for case in cases for value in case.accepted)
        replies = await self._call(runs, program, calls, ambient=_AMBIENT, items=4 * needed)
        evidence = []
        for case, reply in zip(cases, replies, strict=True):
            if isinstance(reply, Raised):
                evidence.append(Evidence(False, reply.error[:300]))
            elif any(_holds(partial(self._same, wanted), reply.value) for wanted in case.accepted):
                evidence.append(Evidence(True))
            else:
                evidence.append(
                    Evidence(False, f"gave {_shown(reply.value)}, not {_shown(case.accepted[-1])}")
                )
        return evidence

    def _same(self, wanted: Any, value: Any) -> bool:
        return same_value(value, wanted, self._tolerance)

    async def _run_asserts(self, program: str, tests: AssertTests) -> list[Evidence]:
        known = expectations(tests)
        if known is None:
            return await self._check(program, tests)
        replies = await self._call(
            _Runs(self._sandbox), program, [one.call for one in known], prelude=tests.prelude
        )
        evidence = []
        for expectation, reply in zip(known, replies, strict=True):
            if isinstance(reply, Raised):
                evidence.append(Evidence(False, f"{reply.error[:200]} at: {expectation.text[:200]}"))
            elif _holds(expectation.holds, reply.value):
                evidence.append(Evidence(True))
            else:
                evidence.append(Evidence(False, f"gave {_shown(reply.value)} at: {expectation.text[:200]}"))
        return evidence

    async def _check(self, program: str, tests: AssertTests) -> list[Evidence]:
        result = await self._sandbox.run(
            Check(
                source=program,
                tests=tests.sources,
                names=tests.names,
                prelude=tests.prelude,
                setup=tests.setup,
                limits=self._limits,
            )
        )
        evidence = []
        for outcome in result.outcomes:
            if outcome.passed is None:
                raise UnjudgeableError(outcome.why)
            evidence.append(Evidence(outcome.passed, outcome.why[:300]))
        return evidence + [Evidence(False, result.ending)] * (len(tests.sources) - len(evidence))

    async def _call(
        self,
        runs: _Runs,
        program: str,
        calls: Sequence[Call],
        *,
        prelude: str = "",
        ambient: str = "",
        items: int = 0,
    ) -> list[Returned | Raised]:
        """All calls' replies. A call that ends the process fails alone: the next ones run in a new process."""
        replies: list[Returned | Raised] = []
        limits = replace(self._limits, reply_items=max(self._limits.reply_items, items))
        for _ in range(1 + _MAX_RESTARTS):
            result = await runs.run(
                Calls(
                    source=program,
                    prelude=prelude,
                    ambient=ambient,
                    calls=calls[len(replies) :],
                    limits=limits,
                )
            )
            if result.load_error is not None:
                return [*replies, *[Raised(result.load_error)] * (len(calls) - len(replies))]
            replies += result.replies
            if len(replies) == len(calls):
                return replies
            replies.append(Raised(result.ending))
            if len(replies) == len(calls) or not self._every_test:
                break
        return replies + [Raised("not run, as earlier calls failed")] * (len(calls) - len(replies))


def _shown(value: Any) -> str:
    try:
        return f"{_SHOWN.repr(value):.100}"  # a whole one may have millions of characters
    except ValueError:
        return "a number with thousands of digits"  # which Python refuses to write out


def _size(value: Any) -> int:
    """Return how many values a JSON value holds."""
    if isinstance(value, dict):
        return 1 + sum(_size(item) + 3 for item in value.values())
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def _holds(condition: Callable[[Any], bool], value: Any) -> bool:
    """Whether a result is right. What did not cross is not, and neither is what cannot be compared."""
    if isinstance(value, Opaque):
        return False
    try:
        return bool(condition(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
