"""Lean: the snippet that a server checks, and its answers. The server here knows only ``rfl``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from guerdon import Failure, Score
from guerdon.audit import AuditVerdict, audit_rubric, kinds_of, own_problems
from guerdon.errors import InfrastructureError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry
from guerdon.testing import Case, VerifierConformance
from guerdon_plugins.verifiers.lean import Lean
from guerdon_plugins.verifiers.lean.snippets import forbidden, goal_of, snippet_of

REFERENCE = "theorem sum_is_four : 2 + 2 = 4 := by sorry"
RIGHT = "```lean4\ntheorem sum_is_four : 2 + 2 = 4 := by rfl\n```"


def checked(code: str) -> dict[str, Any]:
    """What Lean would say of a snippet, as far as these tests need it."""
    lines = code.rstrip("\n").split("\n")
    goal = next(place for place, line in enumerate(lines) if line.startswith("def Goal_"))
    wanted, name = lines[goal + 1].strip(), lines[-2].rpartition("@")[2]

    def message(severity: str, line: int, data: str) -> dict[str, Any]:
        return {"severity": severity, "pos": {"line": line, "column": 0}, "data": data}

    if "nonsense" in wanted:
        return {"messages": [message("error", goal + 2, "unknown identifier 'nonsense'")]}
    for place, line in enumerate(lines[:-2]):
        if line.startswith("theorem") and ("contradiction" in line or ":=" not in line):
            return {"messages": [message("error", place + 1, "the proof fails")]}
    stated = re.search(rf"theorem {re.escape(name)} : (.*?) := ", "\n".join(lines[:-2]))
    if stated is None or stated[1] != wanted:
        return {"messages": [message("error", len(lines) - 1, "type mismatch")]}
    axioms = "depends on axioms: [propext, hidden]" if "sneaky" in code else "does not depend on any axioms"
    holes: list[dict[str, Any]] = [{"pos": {}}] if "hole" in code else []
    return {
        "env": 0,
        "sorries": holes,
        "messages": [message("info", len(lines), f"'{lines[-1].split()[-1]}' {axioms}")],
    }


class Server(BaseHTTPRequestHandler):
    answer: ClassVar[Any] = None

    def do_POST(self) -> None:
        code = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["snippets"][0]["code"]
        result = (
            self.answer if self.answer is not None else {"results": [{"id": "0", "response": checked(code)}]}
        )
        body = json.dumps(result).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    service = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()


def judge(server: str, completion: str, reference: Any = REFERENCE, **params: Any) -> Score:
    return asyncio.run(Lean(server, **params)(completion, reference))


def test_lean_proof_of_the_goal_scores_1(server: str) -> None:
    score = judge(server, f"<think>hm</think>So:\n{RIGHT}")
    assert (score.value, score.explanation) == (1.0, "")
    asyncio.run(Lean(server).preflight())


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ("theorem sum_is_four : 2 + 2 = 4 := by contradiction", "the proof fails"),
        ("theorem sum_is_four : True := by trivial", "type mismatch"),
        ("theorem sum_is_four : 2 + 2 = 4 := by rfl -- sneaky", "the axiom hidden"),
        ("theorem sum_is_four : 2 + 2 = 4 := by rfl -- hole", "hole"),
        ("theorem sum_is_four : 2 + 2 = 4 := by sorry", "sorry"),
        ("", "no proof"),
    ],
)
def test_lean_other_proof_scores_0(server: str, proof: str, why: str) -> None:
    score = judge(server, f"```lean4\n{proof}\n```")
    assert score.value == 0.0
    assert why in score.explanation


def test_lean_axioms_that_are_allowed_count(server: str) -> None:
    proof = "```lean\ntheorem sum_is_four : 2 + 2 = 4 := by rfl -- sneaky\n```"
    assert judge(server, proof, axioms=["propext", "hidden"]).value == 1.0


@pytest.mark.parametrize(
    "reference", ["", None, 7, "2 + 2 = 4", "theorem x", "variable (n : Nat)\ntheorem x : n = n"]
)
def test_lean_unreadable_reference_fails(server: str, reference: Any) -> None:
    assert judge(server, RIGHT, reference).failure is Failure.REFERENCE


def test_lean_statement_that_lean_cannot_read_fails_as_reference(server: str) -> None:
    score = judge(server, RIGHT, "theorem sum_is_four : nonsense := by sorry")
    assert score.failure is Failure.REFERENCE


@pytest.mark.parametrize(
    "answer",
    [
        {"results": []},
        {},
        [],
        {"results": [{"error": "REPL died"}]},
        {"results": [{"response": {"message": "x"}}]},
    ],
)
def test_lean_server_that_breaks_is_infrastructure(
    server: str, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "answer", answer)
    with pytest.raises(InfrastructureError, match="Lean server"):
        judge(server, RIGHT)


def test_lean_slow_proof_scores_0(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Server, "answer", {"results": [{"error": "Lean REPL command timed out in 60 seconds"}]}
    )
    assert judge(server, RIGHT).value == 0.0


def test_lean_missing_server_is_infrastructure_and_check_says_so() -> None:
    with pytest.raises(InfrastructureError, match=r"http://127.0.0.1:9/api/check does not answer"):
        asyncio.run(Lean("http://127.0.0.1:9").preflight())


@pytest.mark.parametrize("params", [{"server": "localhost:8000"}, {"server": "http://x", "limit_s": 0}])
def test_lean_params_out_of_range_raise(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"server|limit_s"):
        Lean(**params)


def test_goal_of_reads_binders_and_the_commands_before() -> None:
    goal = goal_of("import Mathlib\nopen Nat\n\ntheorem t (n : ℕ) (h : n = 2) : n + 0 = 2 := by\n  sorry")
    assert (goal.before, goal.name) == ("open Nat", "t")
    assert (goal.binders, goal.type) == ("(n : ℕ) (h : n = 2)", "n + 0 = 2")
    snippet = snippet_of(goal, "import Evil\ntheorem t := 1", "import Mathlib")
    assert "∀ (n : ℕ) (h : n = 2), n + 0 = 2" in snippet.code
    assert "Evil" not in snippet.code
    assert snippet.code.split("\n")[snippet.axioms_line - 1] == f"#print axioms {snippet.check}"


@pytest.mark.parametrize(
    ("code", "mark"),
    [
        ("by simp -- no sorry here", None),
        ("/- macro -/ by simp", None),
        ('def s := "/-"\nmacro "x" : tactic => `(tactic| simp) -- "-/"', "macro"),
        ("by exact sorryAx _", "sorryAx"),
        ("set_option debug.skipKernelTC true", "debug"),
        ("#eval 1", "#eval"),
        ("by decide", None),
        ("variable (two : 1 + 1 = 3)", "variable"),
        ("include two", "include"),
        ("open Nat Lean Elab Command\n@[command_elab Parser.Command.printAxioms] def f := g", "Lean"),
        ("namespace «Lean»", "Lean"),
        ("def « --» := 1 open Lean", "Lean"),
        ("def « /-» := 1\nopen Lean\ndef «-/» := 1", "Lean"),
        ("def f := do let x <--open Lean", "Lean"),
        ("by simp -- Lean includes it; a variable", None),
    ],
)
def test_forbidden_commands_are_found_outside_of_comments(code: str, mark: str | None) -> None:
    assert forbidden(code) == mark


def test_lean_passes_its_audit(server: str) -> None:
    entry = Entry("lean", load_component(find_plugin("lean", SCORERS), {"server": server}, None), 1.0)
    report = audit_rubric([entry], kinds_of([entry]), own_problems([entry], ["lean"]))
    assert [result.case for result in report.results if result.verdict is not AuditVerdict.OK] == []


class TestLean(VerifierConformance):
    plugin = "lean"
    golden = (
        Case(RIGHT, 1.0, reference=REFERENCE),
        Case(RIGHT.replace("rfl", "contradiction"), 0.0, reference=REFERENCE),
        Case(RIGHT, Failure.REFERENCE, reference="no theorem"),
    )
    hacks = (Case(RIGHT.replace("rfl", "sorry"), 0.0, reference=REFERENCE, why="a hole"),)
    service: ClassVar[ThreadingHTTPServer]

    @classmethod
    def setup_class(cls) -> None:
        cls.service = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        Thread(target=cls.service.serve_forever, daemon=True).start()
        cls.params = {"server": f"http://127.0.0.1:{cls.service.server_port}"}
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.service.shutdown()
