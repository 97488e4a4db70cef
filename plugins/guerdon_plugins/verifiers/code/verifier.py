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

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from guerdon import Failure, Score, current_deadline
from guerdon.text import checked_tags, last_code_block, split_reasoning
from guerdon_plugins.verifiers.code.grading import Evidence, Grader, UnjudgeableError
from guerdon_plugins.verifiers.code.languages import LANGUAGES, Language, find_language
from guerdon_plugins.verifiers.code.suites import SuiteError, read_suite
from guerdon_sandbox import (
    PYTHON_IMAGE,
    TOOLCHAIN_IMAGE,
    BoxOptions,
    Isolation,
    Limits,
    Sandbox,
    SandboxUnavailableError,
    SandboxUsageError,
)

_MAX_SHOWN = 5
"""Failed tests that a score's metadata shows."""
_COMPILER_MB = 2048
"""Memory of a box in which a compiler runs."""


class CodeVerifier:
    """The share of tests that the program passes, or whether it passes them all."""

    audit_kind = "code"
    timeout_s = 120.0
    """Waiting for a free box does not count."""

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
        stdout_bytes: int = 1 << 20,
        engines: Sequence[str] = (),
        boxes: int | None = None,
        isolation: Literal["fork", "container"] = "fork",
        image: str | None = None,
        runtime: str | None = None,
        reasoning_tags: Sequence[str] | None = None,
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
            wall_s: The same in seconds of wall time, waiting for a CPU not counted: a backstop for programs that sleep.
            memory_mb: Memory of each process, in MiB.
            stdout_bytes: Bytes of a program's output, or twice the expected output where that is more.
            engines: Addresses of Docker engines; by default the local one, or what DOCKER_HOST names.
            boxes: Boxes per engine; by default the engine's cores, divided among this machine's training processes.
            isolation: ``fork`` runs many programs in one container, ``container`` runs one.
            image: The image of the boxes; by default the one that ``guerdon sandbox build`` makes.
            runtime: The engine's runtime, such as ``runsc`` for gVisor.
            reasoning_tags: The tags around reasoning; by default those of all known model families.
            base_dir: The folder that ``judge`` is relative to.

        Raises:
            ValueError: An option is out of its range, or the judge's file cannot be read.
        """
        known = find_language(language)
        if known is None:
            raise ValueError(f"language is {language!r}; valid: {', '.join(LANGUAGES)}")
        if tolerance < 0:
            raise ValueError(f"tolerance is {tolerance}; it must not be negative")
        try:
            judge_source = (base_dir / judge).read_text() if judge else None
        except OSError as error:
            raise ValueError(f"judge {judge!r} cannot be read: {error.strerror}") from None
        self._language = known
        self._fraction = scoring == "fraction"
        self._bare = bare
        self._reasoning_tags = checked_tags(reasoning_tags)
        options = BoxOptions(
            image=image or (TOOLCHAIN_IMAGE if known.file else PYTHON_IMAGE),
            runtime=runtime,
            memory_bytes=max(_COMPILER_MB if known.compile else 512, 2 * memory_mb) << 20,
        )
        self._sandbox = Sandbox(
            engines, options, boxes=boxes, isolation=Isolation(isolation), clock=current_deadline
        )
        self._grader = Grader(
            self._sandbox,
            Limits(cpu_s=cpu_s, wall_s=wall_s, memory_bytes=memory_mb << 20, stdout_bytes=stdout_bytes),
            every_test=self._fraction,
            judge=judge_source,
            tolerance=tolerance,
        )

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
        language = find_language(suite.language) if suite.language else self._language
        if language is None:
            return Score.failed(
                Failure.REFERENCE, f"the tests are for {suite.language!r}; valid: {', '.join(LANGUAGES)}"
            )
        program = self._program(completion, language)
        if program is None:
            return Score(0.0, explanation=f"no fenced block of {language.name} after the reasoning")
        try:
            evidence = await self._grader.run(program, language, suite.tests)
        except SandboxUnavailableError as error:
            return Score.failed(Failure.INFRASTRUCTURE, str(error))
        except (UnjudgeableError, SandboxUsageError) as error:  # such as an input that no box holds
            return Score.failed(Failure.REFERENCE, str(error))
        return self._score(program, evidence)

    def gold_completion(self, reference: object) -> str | None:
        """A completion with the reference's own solution, as HumanEval's and MBPP's rows have one."""
        try:
            suite = read_suite(reference)
        except SuiteError:
            return None
        if suite.solution is None:
            return None
        return f"```{suite.language or self._language.name}\n{suite.solution.rstrip()}\n```"

    async def aclose(self) -> None:
        """End the boxes."""
        await self._sandbox.aclose()

    def _program(self, completion: str, language: Language) -> str | None:
        answer = split_reasoning(completion, self._reasoning_tags).answer
        block = last_code_block(answer, *language.fences)
        if block is not None and block.closed:
            return block.code
        return _with_its_indentation(answer, completion) if self._bare and block is None else None

    def _score(self, program: str, evidence: Sequence[Evidence]) -> Score:
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


def _with_its_indentation(answer: str, completion: str) -> str:
    """The answer as it stands in the completion: a function's body begins with space that counts."""
    start = completion.rindex(answer)
    before = completion[completion.rfind("\n", 0, start) + 1 : start]
    return before + answer if before.isspace() else answer
