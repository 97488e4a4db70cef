"""Runs the program in a completion against tests.

A reference is one of these, as a value or as JSON text (docs/how-to/run-code.md lists every shape):

* asserts, as a string or a list of strings; or MBPP's row: ``test_list``, ``test_imports``, ``test_setup_code``;
* HumanEval's row: ``test`` with ``check(candidate)``, ``entry_point``, and the ``prompt`` that the program continues;
* APPS's and TACO's: ``inputs`` and ``outputs``, with ``fn_name`` where they are arguments and results;
* open-r1's ``verification_info``: ``language`` and ``test_cases`` with ``input``, ``output``, ``type`` and ``fn_name``,
  or LiveCodeBench's list of such cases.

Expected values never enter the process that runs the program: outputs and results come back through the sandbox's
strict codec and are compared here; asserts of any other form run in a second process.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Literal

from guerdon import Failure, Score, current_deadline
from guerdon.text import CodeBlock, checked_tags, iter_code_blocks, split_reasoning
from guerdon_plugins.shared.reading import read
from guerdon_plugins.verifiers.code.cases import Suite, SuiteError
from guerdon_plugins.verifiers.code.grading import Evidence, Grader, UnjudgeableError
from guerdon_plugins.verifiers.code.languages import LANGUAGES, Language, find_language
from guerdon_plugins.verifiers.code.names import bound_names, parse
from guerdon_plugins.verifiers.code.suites import read_suite
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

_PARSED_CHARS = 8 << 10
"""Blocks of more characters together are not parsed, because the parser would block the event loop."""
_LINE_CHARS = 1000
"""The part of a longer line in which a name is found."""
_LAST_BLOCKS = 1000
"""The last blocks of an answer, among which the program is. To free a million at once would block the event loop."""
_MAX_SHOWN = 5
"""Failed tests that a score's metadata shows."""
_COMPILER_MB = 2048
"""Memory in MiB of a box in which a compiler runs."""


class CodeVerifier:
    """Returns the share of tests that the program passes, or whether it passes all of them."""

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
        """Check the options. Boxes are started at the first program.

        Args:
            language: The language of programs whose reference names none.
            scoring: ``all`` gives 1 if every test passes and else 0; ``fraction`` gives the share that passes.
            bare: Whether an answer without a fenced block is itself a program.
            judge: A Python file with ``judge(input, output, expected) -> bool``, for problems with several right
                outputs.
            tolerance: The largest relative or absolute error of a number if the expected one has a fraction.
            cpu_s: CPU seconds for each test of a program, or for all the calls of one.
            wall_s: The same in seconds of wall time, without waiting for a CPU: a limit for programs that sleep.
            memory_mb: Memory of each process, in MiB.
            stdout_bytes: Bytes of a program's output, or twice the expected output if that is more.
            engines: Addresses of Docker engines; by default the local one, or the one that DOCKER_HOST names.
            boxes: Boxes per engine; by default the engine's cores, divided among this machine's training processes,
                and one more.
            isolation: ``fork`` runs many programs in one container, ``container`` runs one.
            image: The image of the boxes; by default the one that ``guerdon sandbox build`` builds.
            runtime: The engine's runtime, such as ``runsc`` for gVisor.
            reasoning_tags: The tags around reasoning; by default those of all known model families.
            base_dir: The folder that ``judge`` is relative to.

        Raises:
            ValueError: An option is out of its range, or the judge's file cannot be read or defines no judge.
        """
        known = find_language(language)
        if known is None:
            raise ValueError(f"language is {language!r}; valid: {', '.join(LANGUAGES)}")
        if not 0 <= tolerance < inf:
            raise ValueError(f"tolerance is {tolerance}; it must be finite and not negative")
        try:
            judge_source = (base_dir / judge).read_text() if judge else None
        except OSError as error:
            raise ValueError(f"judge {judge!r} cannot be read: {error.strerror}") from None
        if judge_source is not None and not re.search(r"\bjudge\b", judge_source):
            raise ValueError(f"judge {judge!r} defines no function judge(input, output, expected)")
        self._language = known
        self._fraction = scoring == "fraction"
        self._bare = bare
        self._reasoning_tags = checked_tags(reasoning_tags)
        self._image = image
        self._runtime = runtime
        self._memory_mb = memory_mb
        self._pool: dict[str, Any] = {
            "engines": engines,
            "boxes": boxes,
            "isolation": Isolation(isolation),
            "clock": current_deadline,
        }
        try:
            limits = Limits(
                cpu_s=cpu_s, wall_s=wall_s, memory_bytes=memory_mb << 20, stdout_bytes=stdout_bytes
            )
        except SandboxUsageError as error:
            raise ValueError(str(error)) from None
        self._grading: dict[str, Any] = {
            "limits": limits,
            "every_test": self._fraction,
            "judge": judge_source,
            "tolerance": tolerance,
        }
        self._sandboxes: dict[bool, Sandbox] = {}
        self._graders: dict[bool, Grader] = {}
        self._grader(known)

    def _grader(self, language: Language) -> Grader:
        """Return the grader for a language. Python and the languages of the toolchain use separate boxes."""
        toolchain = bool(language.file)
        if toolchain not in self._graders:
            least_mb = _COMPILER_MB if toolchain else 512
            options = BoxOptions(
                image=self._image or (TOOLCHAIN_IMAGE if toolchain else PYTHON_IMAGE),
                runtime=self._runtime,
                memory_bytes=max(least_mb, 2 * self._memory_mb) << 20,
            )
            self._sandboxes[toolchain] = Sandbox(options=options, **self._pool)
            self._graders[toolchain] = Grader(self._sandboxes[toolchain], **self._grading)
        return self._graders[toolchain]

    async def __call__(
        self, completion: str, reference: object = None, verification_info: object = None
    ) -> Score:
        """Judge one completion.

        Args:
            completion: The model's text. The program is its last fenced block of the language, after the reasoning.
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
        program = await read(self._program, completion, language, suite)
        if program is None:
            return Score(0.0, explanation=f"no fenced block of {language.name} after the reasoning")
        try:
            evidence = await self._grader(language).run(program, language, suite.tests)
        except SandboxUnavailableError as error:
            return Score.failed(Failure.INFRASTRUCTURE, str(error))
        except (UnjudgeableError, SandboxUsageError) as error:  # for example, an input too large for a box
            return Score.failed(Failure.REFERENCE, str(error))
        return self._score(program, evidence)

    def gold_completion(self, reference: object) -> str | None:
        """Return a completion with the reference's own solution, if it has one, as rows of HumanEval and MBPP do."""
        try:
            suite = read_suite(reference)
        except SuiteError:
            return None
        if suite.solution is None:
            return None
        return f"```{suite.language or self._language.name}\n{suite.solution.rstrip()}\n```"

    async def aclose(self) -> None:
        """Stop the boxes."""
        for sandbox in self._sandboxes.values():
            await sandbox.aclose()

    def _program(self, completion: str, language: Language, suite: Suite) -> str | None:
        """Return the program in a completion, or None if there is none."""
        answer = split_reasoning(completion, self._reasoning_tags).answer
        named: deque[CodeBlock] = deque(maxlen=_LAST_BLOCKS)
        unnamed: deque[CodeBlock] = deque(maxlen=_LAST_BLOCKS)
        for block in iter_code_blocks(answer):
            if block.language in language.fences:
                named.append(block)
            elif not block.language:
                unnamed.append(block)
        blocks = named or (unnamed if self._bare else None)
        if blocks:
            return _chosen(blocks, suite) if blocks[-1].closed else None
        if not self._bare:
            return None
        return _with_its_indentation(answer, completion)

    def _score(self, program: str, evidence: Sequence[Evidence]) -> Score:
        passed = sum(one.passed for one in evidence)
        value = passed / len(evidence) if self._fraction else float(passed == len(evidence))
        failures = [
            f"test {index + 1}: {_printable(one.why)}" for index, one in enumerate(evidence) if not one.passed
        ]
        return Score(
            value,
            answer=program,
            explanation=f"{passed} of {len(evidence)} tests passed"
            + (f"; {failures[0]}" if failures else ""),
            metadata={"passed": passed, "tests": len(evidence), "failures": failures[:_MAX_SHOWN]},
        )


def _printable(text: str) -> str:
    """Return a text with escapes for what a program may have chosen: control characters, line ends, lone surrogates."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _chosen(blocks: Sequence[CodeBlock], suite: Suite) -> str:
    """Return the last block, or an earlier one that defines the tested names if the last one only uses them."""
    names = suite.names
    if names and len(blocks) > 1:
        small = sum(len(block.code) for block in blocks) <= _PARSED_CHARS
        defines = partial(_defines if small else _seems_to_define, names=names)
        if not defines(blocks[-1].code):
            return next(
                (block.code for block in reversed(blocks) if block.closed and defines(block.code)),
                blocks[-1].code,
            )
    return blocks[-1].code


def _defines(code: str, names: Sequence[str]) -> bool:
    """Return whether a source binds one of the names, or cannot be parsed."""
    tree = parse(code)
    return not tree.body or bool(bound_names(code) & set(names))


def _seems_to_define(code: str, names: Sequence[str]) -> bool:
    """Return whether a line of a source seems to bind one of the names."""
    one = "|".join(map(re.escape, names))
    binding = rf"(?:async +)?(?:def|class) +(?:{one})\b|(?:{one}) *=[^=]|(?:from|import) .*\b(?:{one})\b"
    seems = re.compile(rf"[ \t]*+(?:{binding})").match
    return any(seems(line[:_LINE_CHARS]) for line in code.split("\n"))


def _with_its_indentation(answer: str, completion: str) -> str:
    """Return the answer as in the completion, because the indentation of a function's body matters."""
    start = completion.rfind(answer)
    if start < 0:  # marks of channels were taken out of it
        return answer
    before = completion[completion.rfind("\n", 0, start) + 1 : start]
    return before + answer if before.isspace() else answer
