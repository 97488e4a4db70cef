"""The page "which verifier for which data": a row of each data set's form, with a right and a wrong answer."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from guerdon.verifier import load_verifier
from guerdon_plugins.shared.rows import RowShape

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "which-verifier.md"
ELSEWHERE = {"google-research-datasets/mbpp": "needs Docker: verifiers/code"}

ABC = {"text": ["wood", "stone", "air"], "label": ["A", "B", "C"]}
SPANS = {"spans": ["Ada", "Bo"], "types": ["span", "span"]}
CONSTRAINTS = [{"instruction_id": ["punctuation:no_comma"], "kwargs": [None]}]
SETUP = "CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2);"

ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "openai/gsm8k": (
        {"question": "?", "answer": "6 * 7 = <<6*7=42>>42\n#### 42"},
        r"\boxed{42}",
        r"\boxed{43}",
    ),
    "HuggingFaceH4/MATH-500": ({"problem": "?", "answer": r"\frac{1}{2}"}, r"\boxed{0.5}", r"\boxed{2}"),
    "agentica-org/DeepScaleR-Preview-Dataset": (
        {"problem": "?", "answer": "-\\frac{2}{3}"},
        r"\boxed{-2/3}",
        r"\boxed{2/3}",
    ),
    "BytedTsinghua-SIA/DAPO-Math-17k": (
        {
            "prompt": [{"role": "user", "content": "?"}],
            "reward_model": {"ground_truth": "34", "style": "rule"},
        },
        "So.\nAnswer: 34",
        "Answer: 43",
    ),
    "TIGER-Lab/MMLU-Pro": (
        {"question": "?", "options": ["a", "b", "c"], "answer": "B", "answer_index": 1},
        "The answer is (B).",
        "The answer is (C).",
    ),
    "cais/mmlu": ({"question": "?", "choices": ["0", "1", "2"], "answer": 1}, "Answer: B", "Answer: A"),
    "allenai/ai2_arc": ({"question": "?", "choices": ABC, "answerKey": "C"}, "C. air", "B"),
    "tau/commonsense_qa": ({"question": "?", "choices": ABC, "answerKey": "A"}, "wood", "C"),
    "Rowan/hellaswag": ({"ctx": "?", "endings": ["x", "y", "z", "w"], "label": "3"}, "D", "C"),
    "google/boolq": ({"question": "?", "passage": "", "answer": True}, "Yes.", "no"),
    "rajpurkar/squad_v2": (
        {"question": "?", "answers": {"text": [], "answer_start": []}},
        "Unanswerable",
        "Paris",
    ),
    "mandarjoshi/trivia_qa": (
        {
            "question": "?",
            "answer": {"value": "Sunset Blvd", "aliases": ["Sunset Boulevard"], "type": "WikipediaEntity"},
        },
        "sunset boulevard",
        "Hollywood",
    ),
    "ucinlp/drop": ({"question": "?", "answers_spans": SPANS}, "Bo and Ada", "Ada"),
    "hotpotqa/hotpot_qa": ({"question": "?", "answer": "no"}, "No", "yes"),
    "google-research-datasets/nq_open": (
        {"question": "?", "answer": ["14 December 1972 UTC", "December 1972"]},
        "Dec 1972",
        "1972",
    ),
    "google/IFEval": (
        {
            "prompt": "?",
            "instruction_id_list": ["length_constraints:number_words"],
            "kwargs": [{"num_words": 2, "relation": "at least", "frequency": None}],
        },
        "two words",
        "one",
    ),
    "allenai/IF_multi_constraints_upto5": (
        {"messages": [{"role": "user", "content": "?"}], "ground_truth": repr(CONSTRAINTS)},
        "no mark",
        "a, mark",
    ),
    "gretelai/synthetic_text_to_sql": (
        {"sql_prompt": "?", "sql": "SELECT max(a) FROM t", "sql_context": SETUP},
        "SELECT a FROM t ORDER BY a DESC LIMIT 1",
        "SELECT min(a) FROM t",
    ),
    "xlangai/spider": (
        {"question": "?", "query": "SELECT a FROM t", "db_id": "shop"},
        "SELECT a FROM t",
        "SELECT 1",
    ),
    "wmt/wmt19": (
        {"translation": {"de": "Der Fluss ist lang.", "en": "The river is long."}},
        "The river is long.",
        "Gone.",
    ),
    "abisee/cnn_dailymail": ({"article": "…", "highlights": "Rivers rise ."}, "rivers rise", "Dogs bark"),
}


def table() -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    lines = re.findall(
        r"^\| `([^`]+/[^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    yaml = YAML(typ="safe")
    return {name: (yaml.load(columns), yaml.load(entry)) for name, columns, entry in lines}


def test_page_lists_at_least_twenty_data_sets_and_each_has_a_row() -> None:
    assert len(table()) >= 20
    assert table().keys() == ROWS.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", ROWS)
def test_data_set_row_scores_its_right_answer_only(name: str, tmp_path: Path) -> None:
    columns, entry = table()[name]
    (tmp_path / "database").mkdir()
    with sqlite3.connect(tmp_path / "database" / "shop.sqlite") as connection:
        connection.executescript(SETUP)
    record, right, wrong = ROWS[name]
    row = RowShape(columns, None, None, chat=False)(json.loads(json.dumps(record)), name)
    verify = load_verifier(entry["use"], entry.get("params"), tmp_path)
    assert "prompt" in row
    assert verify(right, row).value == pytest.approx(1.0)
    value = verify(wrong, row).value
    assert value is not None
    assert value < 0.2
