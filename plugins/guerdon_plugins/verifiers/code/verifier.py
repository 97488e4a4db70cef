"""Runs the program in a completion against tests.

A reference is one of these, as a value or as JSON text:

* asserts, as a string or a list of strings; or MBPP's row: ``test_list``, ``test_imports``, ``test_setup_code``;
* HumanEval's row: ``test`` with ``check(candidate)``, ``entry_point``, and the ``prompt`` that the program continues;
* APPS's and TACO's: ``inputs`` and ``outputs``, with ``fn_name`` where they are arguments and results;
* open-r1's ``verification_info``: ``language`` and ``test_cases`` with ``input``, ``output``, ``type`` and ``fn_name``,
  or LiveCodeBench's list of such cases.

Expected values never enter the process that runs the program: outputs and results come back through the sandbox's
strict codec and are compared here; asserts of any other form run in a second process beside the program's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from guerdon import Failure, Score
from guerdon.text import last_code_block, split_reasoning
from guerdon_plugins.verifiers.code.asserts import AssertTests, expectations
from guerdon_plugins.verifiers.code.compare import same_output, same_value
from guerdon_plugins.verifiers.code.suites import FunctionTests, StdioCase, StdioTests, SuiteError, read_suite
from guerdon_sandbox import (
    BoxOptions,
    Call,
    Calls,
    Check,
    Isolation,
    Limits,
    Opaque,
    Program,
    Raised,
    Returned,
    Sandbox,
    SandboxUnavailableError,
)

LANGUAGES: Mapping[str, tuple[str, ...]] = {"python": ("python", "py", "python3")}
"""The languages, with the names that a fence may give them."""
_MAX_SHOWN = 5
_MAX_RESTARTS = 3
"""How often calls go on in a new process after one of them ended the old one."""


class UnjudgeableError(Exception):
    """A test that cannot be run as it stands, so that nothing is known of the program."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """One test's outcome."""

    passed: bool
    why: str = ""
    """What went wrong, in one line."""


class CodeVerifier:
    """The share of tests that the program passes, or whether it passes them all."""

    def __init__(
        self,
        language: str = "python",
        scoring: Literal["all", "fraction"] = "all",
        bare: bool = False,
        judge: str | None = None,
        tolerance: float = 1e-6,
        cpu_s: int = 10,
        wall_s: float = 30.0,
        memory_mb: int = 256,
        engines: Sequence[str] = (),
        boxes: int | None = None,
        isolation: Literal["fork", "container"] = "fork",
        image: str | None = None,
        runtime: str | None = None,
        base_dir: Path = Path(),
    ) -> None:
        """Check the options. Boxes are made at the first program.

        Args:
            language: The language of programs whose reference names none.
            scoring: ``all`` gives 1 if every test passes and else 0; ``fraction`` gives the share that passes.
            bare: Whether an answer without a fenced block is a program as it stands.
            judge: A Python file with ``judge(input, output, expected) -> bool``, where several outputs are right.
            tolerance: How far a number may be off, relative or absolute, where the expected one has a fraction.
            cpu_s: CPU seconds for each test of a program, or for all the calls of one.
            wall_s: The same in seconds of wall time: a backstop for programs that sleep.
            memory_mb: Memory of each process, in MiB.
            engines: Addresses of Docker engines; by default the local one, or what DOCKER_HOST names.
            boxes: Boxes per engine; by default the machine's cores.
            isolation: ``fork`` runs many programs in one container, ``container`` runs one.
            image: The image of the boxes; by default the one that ``guerdon sandbox build`` makes.
            runtime: The engine's runtime, such as ``runsc`` for gVisor.
            base_dir: The folder that ``judge`` is relative to.

        Raises:
            ValueError: An option is out of its range, or the judge's file cannot be read.
        """
        if language not in LANGUAGES:
            raise ValueError(f"language is {language!r}; valid: {', '.join(LANGUAGES)}")
        if tolerance < 0:
            raise ValueError(f"tolerance is {tolerance}; it must not be negative")
        self._language = language
        self._fraction = scoring == "fraction"
        self._bare = bare
        try:
            self._judge = (base_dir / judge).read_text() if judge else None
        except OSError as error:
            raise ValueError(f"judge {judge!r} cannot be read: {error.strerror}") from None
        self._tolerance = tolerance
        self._limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_bytes=memory_mb << 20)
        options = BoxOptions(runtime=runtime, memory_bytes=max(512, 2 * memory_mb) << 20)
        if image:
            options = BoxOptions(runtime=runtime, memory_bytes=options.memory_bytes, image=image)
        self._sandbox = Sandbox(engines, options, boxes=boxes, isolation=Isolation(isolation))

    async def __call__(
        self, completion: str, reference: object = None, verification_info: object = None
    ) -> Score:
        """Judge one completion.

        Args:
            completion: What the model wrote: the program is its last fenced block of the language, after the reasoning.
            reference: The tests.
            verification_info: The tests, under the name that open-r1's data sets give them.
        """
        try:
            suite = read_suite(reference if reference is not None else verification_info)
        except SuiteError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        language = (suite.language or self._language).lower()
        if language not in LANGUAGES:
            return Score.failed(
                Failure.REFERENCE, f"the tests are for {language!r}; valid: {', '.join(LANGUAGES)}"
            )
        program = self._program(completion, language)
        if program is None:
            return Score(0.0, explanation=f"no fenced block of {language} after the reasoning")
        try:
            match suite.tests:
                case StdioTests():
                    evidence = await self._run_stdio(program, suite.tests)
                case FunctionTests():
                    evidence = await self._run_functions(program, suite.tests)
                case AssertTests():
                    evidence = await self._run_asserts(program, suite.tests)
        except SandboxUnavailableError as error:
            return Score.failed(Failure.INFRASTRUCTURE, str(error))
        except UnjudgeableError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        return self._score(program, evidence)

    async def aclose(self) -> None:
        """End the boxes."""
        await self._sandbox.aclose()

    def _program(self, completion: str, language: str) -> str | None:
        answer = split_reasoning(completion).answer
        block = last_code_block(answer, *LANGUAGES[language])
        if block is not None and block.closed:
            return block.code
        return answer if self._bare and block is None else None

    def _score(self, program: str, evidence: Sequence[_Evidence]) -> Score:
        passed = sum(one.passed for one in evidence)
        value = passed / len(evidence) if self._fraction else float(passed == len(evidence))
        failures = [f"test {index + 1}: {one.why}" for index, one in enumerate(evidence) if not one.passed]
        return Score(
            value,
            answer=program,
            explanation=f"{passed} of {len(evidence)} tests passed"
            + (f"; {failures[0]}" if failures else ""),
            metadata={"passed": passed, "tests": len(evidence), "failures": failures[:_MAX_SHOWN]},
        )

    async def _run_stdio(self, program: str, tests: StdioTests) -> list[_Evidence]:
        judge = tests.judge or self._judge
        if self._fraction:
            return await asyncio.gather(*(self._run_case(program, case, judge) for case in tests.cases))
        evidence: list[_Evidence] = []
        for case in tests.cases:
            evidence.append(await self._run_case(program, case, judge))
            if not evidence[-1].passed:
                break
        return evidence + [_Evidence(False, "not run, as an earlier one failed")] * (
            len(tests.cases) - len(evidence)
        )

    async def _run_case(self, program: str, case: StdioCase, judge: str | None) -> _Evidence:
        result = await self._sandbox.run(
            Program(source=program, stdin=case.stdin.encode(errors="surrogateescape"), limits=self._limits)
        )
        if not result.ok:
            last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return _Evidence(False, " ".join([result.ending, *last])[:300])
        output = result.stdout.decode(errors="replace")
        if judge is not None:
            return await self._ask_judge(judge, case, output)
        if same_output(output, case.expected, self._tolerance):
            return _Evidence(True)
        return _Evidence(False, f"wrote {output[:100]!r}, not {case.expected[:100]!r}")

    async def _ask_judge(self, judge: str, case: StdioCase, output: str) -> _Evidence:
        """The judge is trusted code that reads an untrusted output, so it runs in the sandbox as well."""
        call = Call("judge", [case.stdin, output, case.expected])
        result = await self._sandbox.run(Calls(source=judge, calls=[call], limits=self._limits))
        match result.load_error, result.replies:
            case None, [Returned(value=bool(verdict))]:
                return _Evidence(verdict, "" if verdict else f"the judge refuses {output[:100]!r}")
            case None, [Returned(value=value)]:
                raise UnjudgeableError(f"the judge gave {value!r:.80}; it must give True or False")
            case None, [Raised(error=error)]:
                raise UnjudgeableError(f"the judge raised {error}")
        raise UnjudgeableError(f"the judge cannot be run: {result.load_error or result.ending}")

    async def _run_functions(self, program: str, tests: FunctionTests) -> list[_Evidence]:
        replies = await self._call(program, "", [Call(case.function, case.args) for case in tests.cases])
        evidence = []
        for case, reply in zip(tests.cases, replies, strict=True):
            if isinstance(reply, Raised):
                evidence.append(_Evidence(False, reply.error[:300]))
            elif any(_holds(partial(self._same, wanted), reply.value) for wanted in case.accepted):
                evidence.append(_Evidence(True))
            else:
                evidence.append(
                    _Evidence(False, f"gave {_shown(reply.value)}, not {_shown(case.accepted[-1])}")
                )
        return evidence

    def _same(self, wanted: Any, value: Any) -> bool:
        return same_value(value, wanted, self._tolerance)

    async def _run_asserts(self, program: str, tests: AssertTests) -> list[_Evidence]:
        known = expectations(tests)
        if known is None:
            return await self._check(program, tests)
        replies = await self._call(program, tests.prelude, [one.call for one in known])
        evidence = []
        for expectation, reply in zip(known, replies, strict=True):
            if isinstance(reply, Raised):
                evidence.append(_Evidence(False, f"{reply.error[:200]} at: {expectation.text[:200]}"))
            elif _holds(expectation.holds, reply.value):
                evidence.append(_Evidence(True))
            else:
                evidence.append(_Evidence(False, f"gave {_shown(reply.value)} at: {expectation.text[:200]}"))
        return evidence

    async def _check(self, program: str, tests: AssertTests) -> list[_Evidence]:
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
            evidence.append(_Evidence(outcome.passed, outcome.why[:300]))
        return evidence + [_Evidence(False, result.ending)] * (len(tests.sources) - len(evidence))

    async def _call(self, program: str, prelude: str, calls: Sequence[Call]) -> list[Returned | Raised]:
        """All calls' replies. A call that ends the process fails alone: the next ones go on in a new process."""
        replies: list[Returned | Raised] = []
        for _ in range(1 + _MAX_RESTARTS):
            result = await self._sandbox.run(
                Calls(source=program, prelude=prelude, calls=calls[len(replies) :], limits=self._limits)
            )
            if result.load_error is not None:
                return [*replies, *[Raised(result.load_error)] * (len(calls) - len(replies))]
            replies += result.replies
            if len(replies) == len(calls):
                return replies
            replies.append(Raised(result.ending))
            if len(replies) == len(calls) or not self._fraction:
                break
        return replies + [Raised("not run, as earlier calls failed")] * (len(calls) - len(replies))


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.100}"
    except ValueError:
        return "a number with thousands of digits"  # which Python refuses to write out


def _holds(condition: Callable[[Any], bool], value: Any) -> bool:
    """Whether a result is right. What did not cross is not, and neither is what cannot be compared."""
    if isinstance(value, Opaque):
        return False
    try:
        return bool(condition(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
