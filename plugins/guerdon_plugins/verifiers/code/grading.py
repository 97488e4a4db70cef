"""Run one program against one problem's tests in the sandbox, and return whether each test passed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeVar

from guerdon import current_deadline
from guerdon_plugins.verifiers.code.asserts import AssertTests, expectations
from guerdon_plugins.verifiers.code.cases import FunctionCase, FunctionTests, StdioCase, StdioTests, Tests
from guerdon_plugins.verifiers.code.compare import same_output, same_value
from guerdon_plugins.verifiers.code.facts import Facts, read_facts
from guerdon_plugins.verifiers.code.languages import Language
from guerdon_plugins.verifiers.code.showing import shown
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

_JUDGING_S = 1.0
"""Seconds of a verdict's time that are kept for the comparison of results."""
_MAX_LATE = 3
"""The most runs of one program that may end at a time limit."""
_LARGE_OUTPUT = 1 << 14
"""Longer outputs, in characters, are compared off the event loop."""
_MANY_VALUES = 1 << 12
"""So many values are compared off the event loop."""
_MAX_RESTARTS = 3
"""How often calls resume in a new process after one of them ended the process."""
_MODULES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_AMBIENT = "\n".join(
    [
        *(f"from {name} import *" for name in (*_MODULES, "builtins", "typing")),
        *(f"import {name}" for name in _MODULES),
        "sys.setrecursionlimit(50000)",
        """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next
class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right
""",
    ]
)
"""Names that functions may use without importing them, as in LeetCode's judge and LiveCodeBench's grader."""
_GRADE = re.compile(r"1(?:\.0*)?|0(?:\.[0-9]*)?")
"""The last line of a checker program: 1 for a right output."""
_STDERR_BYTES = 1 << 20
_JUDGE_MEMORY_BYTES = 1 << 30
_FILES_BYTES = 24 << 20
"""The most bytes of inputs and outputs in files for a checker program: less than the size of the work folder."""
_COMPILE_LIMITS = Limits(cpu_s=30, wall_s=60.0, memory_bytes=1 << 30)


class UnjudgeableError(Exception):
    """A test that cannot be run, so that nothing is known of the program."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test's outcome."""

    passed: bool
    why: str = ""
    """The problem, in one line."""


class _Runs:
    """Runs one program's jobs. After three that ran out of time, the rest is not run and counts as timed out too.

    Otherwise a program that loops in a hundred tests would occupy a box for a quarter of an hour. What is left of the
    verdict's time is the limit of the next job, so that no program escapes its verdict by missing the deadline.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._late = 0

    async def run(self, job: Job[R]) -> R:
        left_s = current_deadline().left_s - _JUDGING_S
        if self._late >= _MAX_LATE or left_s <= 0:
            return job.not_run(Limit.WALL)
        if left_s < job.limits.wall_s:
            job = replace(job, limits=replace(job.limits, wall_s=left_s))
        result = await self._sandbox.run(job)
        self._late += result.limit in (Limit.CPU, Limit.WALL)
        return result


@dataclass(frozen=True, slots=True)
class _Judging:
    """The judge of problems with several right outputs: a function or a program. Without one, outputs are compared."""

    judge: str | None
    checker: str | None


class Grader:
    """Runs programs with one verifier's options."""

    def __init__(
        self, sandbox: Sandbox, limits: Limits, *, every_test: bool, judge: str | None, tolerance: float
    ) -> None:
        """Take the options.

        Args:
            sandbox: The sandbox that runs programs.
            limits: The limits of each run.
            every_test: Whether to run the remaining tests after one has failed.
            judge: Source of a special judge, for suites without one.
            tolerance: As for `same_output`.
        """
        self._sandbox = sandbox
        self._limits = replace(limits, stderr_bytes=max(limits.stderr_bytes, _STDERR_BYTES))
        self._every_test = every_test
        self._judge = judge
        self._tolerance = tolerance
        self._tools: dict[str, bool] = {}

    async def run(self, program: str, language: Language, tests: Tests) -> list[Evidence]:
        """Run all tests, in order.

        Raises:
            UnjudgeableError: A test cannot be run.
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
        judge = _Judging(tests.judge or self._judge, tests.checker)
        job = await self._prepare(program, language)
        if isinstance(job, Evidence):
            return [job] * len(tests.cases)
        runs = _Runs(self._sandbox)
        evidence: list[Evidence] = []
        # Run the cases sequentially, so that a program with many tests has one place in the queue, like any other.
        for case in tests.cases:
            evidence.append(await self._run_case(runs, job, case, judge))
            if not evidence[-1].passed and not self._every_test:
                break
        skipped = Evidence(False, "not run, as an earlier one failed")
        return evidence + [skipped] * (len(tests.cases) - len(evidence))

    async def _prepare(self, program: str, language: Language) -> Program | Evidence:
        """Return the job that runs the program, still without input, or the compiler's error."""
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
            lines = [line for line in compiled.stderr.decode(errors="replace").splitlines() if line.strip()]
            return Evidence(False, " ".join(["does not compile:", compiled.ending, *lines[:2]])[:300])
        return Program(
            command=language.run, files=compiled.files, executables=frozenset({"main"}), limits=self._limits
        )

    async def _require(self, language: Language) -> None:
        """Check that the image has the language. Otherwise every program in it would be wrong."""
        if language.name not in self._tools:
            result = await self._sandbox.run(Program(command=["sh", "-c", language.probe]))
            self._tools[language.name] = result.ok
        if not self._tools[language.name]:
            raise SandboxImageError(language.advice)

    async def _run_case(self, runs: _Runs, job: Program, case: StdioCase, judging: _Judging) -> Evidence:
        stdout_bytes = max(job.limits.stdout_bytes, 2 * len(case.expected.encode(errors="surrogatepass")))
        limits = replace(job.limits, stdout_bytes=stdout_bytes)
        result = await runs.run(replace(job, stdin=case.stdin.encode(errors="surrogatepass"), limits=limits))
        if not result.ok:
            last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return Evidence(False, " ".join([result.ending, *last])[:300])
        output = result.stdout.decode(errors="replace")
        if judging.judge is not None or judging.checker is not None:
            return await self._ask(judging, case, output)
        compare = partial(same_output, output, case.expected, self._tolerance)
        # A comparison of large outputs takes long and would block other programs in the event loop.
        if await asyncio.to_thread(compare) if len(output) > _LARGE_OUTPUT else compare():
            return Evidence(True)
        return Evidence(False, f"wrote {output[:100]!r}, not {case.expected[:100]!r}")

    async def _ask(self, judging: _Judging, case: StdioCase, output: str) -> Evidence:
        """Let a judge decide. It is trusted code that reads an untrusted output, so it runs in the sandbox too."""
        verdict = await self._verdict(judging, case, output)
        if isinstance(verdict, bool):
            return Evidence(verdict, "" if verdict else f"the judge refuses {output[:100]!r}")
        # If a judge fails on the output but accepts the expected one, the output is wrong.
        if isinstance(await self._verdict(judging, case, case.expected), bool):
            return Evidence(False, f"the judge stumbles over {output[:100]!r}: {verdict}")
        raise UnjudgeableError(f"the judge gives no verdict on the expected output: {verdict}")

    async def _verdict(self, judging: _Judging, case: StdioCase, output: str) -> bool | str:
        """Return the judge's verdict, or why there is none."""
        if judging.judge is None:
            return await self._checker_verdict(judging.checker or "", case, output)
        call = Call("judge", [case.stdin, output, case.expected])
        limits = replace(self._limits, memory_bytes=_JUDGE_MEMORY_BYTES)
        result = await self._sandbox.run(Calls(source=judging.judge, calls=[call], limits=limits))
        match result.replies:
            case [Returned(value=bool(verdict))]:
                return verdict
            case [Returned(value=value)]:
                return f"it gave {shown(value)}, which is neither True nor False"
            case [Raised(error=error)]:
                return error
        return result.load_error or result.ending

    async def _checker_verdict(self, checker: str, case: StdioCase, output: str) -> bool | str:
        """Return the verdict of a program that reads three files and prints 1 or 0, as in open-r1's Codeforces rows."""
        texts = {"input.txt": case.stdin, "expected.txt": case.expected, "output.txt": output}
        files = {name: text.encode(errors="surrogatepass") for name, text in texts.items()}
        if sum(map(len, files.values())) > _FILES_BYTES:
            raise UnjudgeableError(f"the checker's files are larger than {_FILES_BYTES >> 20} MiB")
        limits = replace(self._limits, memory_bytes=_JUDGE_MEMORY_BYTES)
        result = await self._sandbox.run(
            Program(source=checker, argv=list(files), files=files, limits=limits)
        )
        lines = result.stdout.decode(errors="replace").strip().split("\n")
        if not result.ok or not lines[-1]:
            return f"{result.ending} without a verdict"
        if _GRADE.fullmatch(lines[-1].strip()) is None:  # a message may end with the program's output
            return f"its last line is {lines[-1][:100]!r}, which is not a number from 0 to 1"
        return float(lines[-1]) == 1

    async def _run_functions(self, program: str, tests: FunctionTests) -> list[Evidence]:
        """Return the evidence for the reading of ambiguous arguments that suits the program best."""
        runs = _Runs(self._sandbox)
        evidence = await self._run_cases(runs, program, tests.cases)
        for cases in tests.otherwise:
            if all(one.passed for one in evidence):
                break
            # If two are equally good, the first one is more likely.
            evidence = max(
                evidence,
                await self._run_cases(runs, program, cases),
                key=lambda found: sum(one.passed for one in found),
            )
        return evidence

    async def _run_cases(self, runs: _Runs, program: str, cases: Sequence[FunctionCase]) -> list[Evidence]:
        calls = [Call(case.function, case.args) for case in cases]
        needed = sum(_size(value) for case in cases for value in case.accepted)
        replies = await self._call(runs, program, calls, ambient=_AMBIENT, items=4 * needed)

        def compare() -> list[Evidence]:
            return [self._compared(case, reply) for case, reply in zip(cases, replies, strict=True)]

        return await asyncio.to_thread(compare) if needed > _MANY_VALUES else compare()

    def _compared(self, case: FunctionCase, reply: Returned | Raised) -> Evidence:
        if isinstance(reply, Raised):
            return Evidence(False, reply.error[:300])
        value = _in_place(reply) if reply.value is None and None not in case.accepted else reply.value
        if any(_holds(partial(self._same, wanted), value) for wanted in case.accepted):
            return Evidence(True)
        return Evidence(False, f"gave {shown(value)}, not {shown(case.accepted[-1])}")

    def _same(self, wanted: Any, value: Any) -> bool:
        return same_value(value, wanted, self._tolerance)

    async def _run_asserts(self, program: str, tests: AssertTests) -> list[Evidence]:
        known = expectations(tests)
        if known is None:
            return await self._check(program, tests)
        runs = _Runs(self._sandbox)
        replies = await self._call(runs, program, [one.call for one in known], prelude=tests.prelude)
        if any(isinstance(reply, Returned) and isinstance(reply.value, Opaque) for reply in replies):
            # A result that cannot be encoded. A checker can compare it in the box.
            return await self._check(program, tests)
        evidence = []
        for expectation, reply in zip(known, replies, strict=True):
            if isinstance(reply, Raised):
                evidence.append(Evidence(False, f"{reply.error[:200]} at: {expectation.text[:200]}"))
            elif _holds(expectation.holds, reply.value):
                evidence.append(Evidence(True))
            else:
                evidence.append(Evidence(False, f"gave {shown(reply.value)} at: {expectation.text[:200]}"))
        return evidence

    async def _check(self, program: str, tests: AssertTests) -> list[Evidence]:
        facts = _facts(tests)
        result = await _Runs(self._sandbox).run(
            Check(
                source=program,
                tests=tests.sources,
                names=tests.names,
                prelude=tests.prelude,
                setup=tests.setup,
                classes=facts.classes,
                exceptions=facts.exceptions,
                in_place=facts.in_place,
                values=facts.values,
                stand_ins=facts.stand_ins,
                limits=self._limits,
            )
        )
        evidence = []
        for outcome in result.outcomes:
            if outcome.passed is None:
                raise UnjudgeableError(outcome.why)
            evidence.append(Evidence(outcome.passed, outcome.why[:300]))
            if not outcome.passed and not self._every_test:
                break  # a later test that cannot run does not change this
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
        """Return all calls' replies. If a call ends the process, the next calls run in a new process."""
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
            if result.prelude_error is not None:
                raise UnjudgeableError(f"the problem's own code raises {result.prelude_error}")
            if result.load_error is not None:
                return [*replies, *[Raised(result.load_error)] * (len(calls) - len(replies))]
            replies += result.replies
            if len(replies) == len(calls):
                return replies
            replies.append(Raised(result.ending))
            if len(replies) == len(calls) or not self._every_test:
                break
        return replies + [Raised("not run, as earlier calls failed")] * (len(calls) - len(replies))


@lru_cache(maxsize=256)
def _facts(tests: AssertTests) -> Facts:
    return read_facts(tests.sources, tests.setup, tests.names, tests.imported)


def _in_place(reply: Returned) -> Any:
    """Return a call's first changed argument, by which LeetCode judges calls that return nothing."""
    return next((argument for argument in reply.arguments if argument is not None), None)


def _size(value: Any) -> int:
    """Return the number of values in a JSON value."""
    if isinstance(value, dict):
        return 1 + sum(_size(item) + 3 for item in value.values())
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def _holds(condition: Callable[[Any], bool], value: Any) -> bool:
    """Return whether a result is right. A result that was not encoded or cannot be compared is wrong."""
    if isinstance(value, Opaque):
        return False
    try:
        return bool(condition(value))
    except (TypeError, ValueError, ArithmeticError, RecursionError, AttributeError):
        return False
