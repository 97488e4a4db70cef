"""SQL: rows are compared as the gold query says, and no query changes, leaves or exhausts anything."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.verifiers.sql import Sql

SETUP = """
CREATE TABLE people (name TEXT, age INTEGER, height REAL);
INSERT INTO people VALUES ('Ada', 36, 1.65), ('Bo', 20, 1.8), ('Cy', 20, NULL), ('艾达', 50, 1.65);
"""
NAMES = "SELECT name FROM people"
BY_AGE = "SELECT name FROM people ORDER BY age, name"


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (NAMES, NAMES),
        (f"```sql\n{NAMES};\n```", NAMES),
        (f"<think>{NAMES} LIMIT 1</think>\n{NAMES} -- all", NAMES),
        ("SELECT p.name AS n FROM people p ORDER BY n DESC", NAMES),
        (BY_AGE, BY_AGE),
        ("SELECT name FROM (SELECT * FROM people ORDER BY age, name)", BY_AGE),
        ("SELECT avg(age) FROM people", "SELECT sum(age) / 4.0 FROM people"),
        ("SELECT count(*) FROM people", "SELECT count(name) FROM people"),
        ("SELECT height FROM people", "SELECT height FROM people"),
        ("WITH t AS (SELECT * FROM people) SELECT name FROM t", NAMES),
        (f"SQL: {NAMES}", NAMES),
        (f"sql\n{NAMES}", NAMES),
        ("SELECT name || ' sql: x' FROM people", "SELECT name || ' ' || 'sql: x' FROM people"),
        ("SELECT 12345678901.0 * count(*) FROM people", "SELECT 12345678901 * count(*) FROM people"),
        ("SELECT sum(age) * 0.1 FROM people", "SELECT total(age * 0.1) FROM people"),
        ("SELECT name FROM people", "SELECT name FROM (SELECT * FROM people ORDER BY name)"),
        (
            "SELECT name, age FROM people WHERE name = 'order by'  UNION SELECT name, age FROM people",
            "SELECT name, age FROM people -- ORDER BY",
        ),
    ],
)
def test_sql_same_rows_score_1(answer: str, gold: str) -> None:
    score = Sql()(answer, gold, SETUP)
    assert (score.value, score.explanation) == (1.0, "")


@pytest.mark.parametrize(
    ("answer", "gold", "outcome"),
    [
        ("SELECT name FROM people ORDER BY name DESC", BY_AGE, "different"),
        ("SELECT DISTINCT age FROM people", "SELECT age FROM people", "different"),
        ("SELECT name, age FROM people", NAMES, "different"),
        ("SELECT age, name FROM people", "SELECT name, age FROM people", "different"),
        ("SELECT CAST(age AS TEXT) FROM people", "SELECT age FROM people", "different"),
        ("SELECT 12345678901.0 + age FROM people", "SELECT 12345678902.0 + age FROM people", "different"),
        (
            "SELECT 'Ada' UNION ALL SELECT 'Bo' UNION ALL SELECT 'Cy' UNION ALL SELECT '艾达'",
            NAMES,
            "no_table",
        ),
        ("", NAMES, "no_query"),
        (f"{NAMES}; {NAMES}", NAMES, "error"),
        ("DELETE FROM people RETURNING name", NAMES, "error"),
        ("DROP TABLE people", NAMES, "error"),
        ("INSERT INTO people SELECT * FROM people", NAMES, "error"),
        ("CREATE TEMP TABLE t AS SELECT 1", NAMES, "error"),
        ("ATTACH DATABASE '/tmp/x.db' AS x", NAMES, "error"),
        ("PRAGMA table_info(people)", NAMES, "error"),
        ("SELECT name FROM pragma_table_info('people')", NAMES, "error"),
        ("SELECT load_extension('x')", NAMES, "error"),
        ("SELECT name FROM people ORDER BY random()", NAMES, "error"),
        ("VACUUM INTO '/tmp/box-vacuum.db'", NAMES, "error"),
        ("BEGIN", NAMES, "error"),
        ("EXPLAIN SELECT name FROM people", NAMES, "different"),
        ("SELECT hex(zeroblob(1000000000))", NAMES, "error"),
        ("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n", NAMES, "error"),
        (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n",
            NAMES,
            "error",
        ),
        ("SELECT name FROM people WHERE " + "(" * 5000 + "1" + ")" * 5000, NAMES, "error"),
        ("SELECT name FROM people WHERE name = '" + "a" * 100_000 + "'", NAMES, "error"),
        ("SELECT name\0 FROM people", NAMES, "error"),
        ("SELECT '\ud800' FROM people", NAMES, "error"),
        ("no SQL", NAMES, "error"),
    ],
)
def test_sql_other_rows_and_forbidden_statements_score_0(answer: str, gold: str, outcome: str) -> None:
    score = Sql(max_steps=1_000_000)(answer, gold, SETUP)
    assert (score.value, score.metadata["outcome"]) == (0.0, outcome)
    assert score.explanation


def test_sql_text_that_is_too_long_scores_0() -> None:
    score = Sql(max_steps=1_000_000)("SELECT printf('%.*c', 50000000, 'x') FROM people", NAMES, SETUP)
    # SQLite cuts the text or refuses it, by its version
    assert (score.value, score.metadata["outcome"] in ("different", "error")) == (0.0, True)


def test_sql_forbidden_statement_creates_no_file(tmp_path: Path) -> None:
    for statement in (f"ATTACH '{tmp_path}/a.db' AS a", f"VACUUM INTO '{tmp_path}/b.db'"):
        assert Sql()(statement, NAMES, SETUP).value == 0.0
        assert Sql()(NAMES, NAMES, SETUP + f"; {statement};").failure is Failure.REFERENCE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("gold", "setup", "why"),
    [
        ("", SETUP, "empty"),
        (None, SETUP, "null"),
        (7, SETUP, "not an SQL query"),
        ("SELECT nope FROM people", SETUP, "no such column"),
        ("SELECT name FROM people WHERE 0", SETUP, "no rows"),
        ("DELETE FROM people", SETUP, "not authorized"),
        (NAMES, "CREATE TABLE", "setup is not valid"),
        (NAMES, None, "no 'setup'"),
        (NAMES, 7, "setup is 7"),
        (NAMES, [], "setup is"),
        (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n",
            SETUP,
            "interrupted",
        ),
    ],
)
def test_sql_unreadable_gold_fails_as_reference(gold: Any, setup: Any, why: str) -> None:
    score = Sql(max_steps=1_000_000)(NAMES, gold, setup)
    assert score.failure is Failure.REFERENCE
    assert why in score.explanation


def test_sql_rows_must_be_the_same_in_every_database() -> None:
    other = SETUP.replace("'Bo', 20", "'Bo', 60")
    gold = "SELECT name FROM people WHERE age > 30"
    lucky = "SELECT name FROM people WHERE name IN ('Ada', '艾达')"
    assert Sql()(lucky, gold, SETUP).value == 1.0
    assert Sql()(lucky, gold, [SETUP, other]).value == 0.0
    assert Sql()(gold, gold, [SETUP, other]).value == 1.0
    guess = "SELECT 2 FROM people LIMIT 1"
    count = "SELECT count(*) FROM people WHERE age > 30"
    assert Sql()(guess, count, SETUP).value == 1.0
    assert Sql()(guess, count, [SETUP, other]).value == 0.0


@pytest.mark.parametrize("nested", [False, True])
def test_sql_files_of_a_folder_are_only_read(tmp_path: Path, nested: bool) -> None:
    folder = tmp_path / "dbs" / "shop" if nested else tmp_path / "dbs"
    folder.mkdir(parents=True)
    file = folder / "shop.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(SETUP)
    before = file.read_bytes()
    verifier = Sql("dbs", base_dir=tmp_path)
    assert verifier(NAMES, NAMES, None, "shop").value == 1.0
    assert verifier("DELETE FROM people", NAMES, None, "shop").value == 0.0
    assert file.read_bytes() == before
    for wrong in ("other", "../shop", None):
        assert verifier(NAMES, NAMES, None, wrong).failure is Failure.REFERENCE


def test_sql_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        Sql("nowhere", base_dir=tmp_path)
    with pytest.raises(ValueError, match="above 0"):
        Sql(max_rows=0)


def test_sql_gold_completion_scores_1() -> None:
    gold = Sql().gold_completion(BY_AGE)
    assert gold is not None
    assert Sql()(gold, BY_AGE, SETUP).value == 1.0
    assert Sql().gold_completion("") is None


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80))
def test_sql_any_text_gets_a_score(answer: str) -> None:
    assert Sql(max_steps=100_000)(answer, NAMES, SETUP).value == 0.0


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(5)), st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_sql_order_of_insertion_does_not_count(order: list[int], ages: list[int]) -> None:
    table = "CREATE TABLE t (a INTEGER);" + "".join(f"INSERT INTO t VALUES ({age});" for age in ages)
    key = " + ".join(f"(a = {place}) * {rank}" for place, rank in enumerate(order))
    assert Sql()(f"SELECT a FROM t ORDER BY {key}", "SELECT a FROM t", table).value == 1.0


@pytest.mark.parametrize(
    ("answer", "gold", "explanation"),
    [
        (f"{NAMES} LIMIT 1", NAMES, "the query gives 1 row, the gold query 4"),
        ("SELECT name, age FROM people", NAMES, "the query gives 2 columns, the gold query 1"),
        (f"{BY_AGE} DESC", BY_AGE, "the query gives the gold query's rows in another order"),
        ("SELECT upper(name) FROM people", NAMES, "the gold query does not give the row ('ADA',)"),
        ("SELECT name FROM nobody", NAMES, "the query cannot be run: no such table: nobody"),
    ],
)
def test_sql_explains_the_first_difference(answer: str, gold: str, explanation: str) -> None:
    assert Sql()(answer, gold, SETUP).explanation == explanation


@pytest.mark.parametrize(
    "rows",
    [
        "SELECT 1 FROM sqlite_master UNION SELECT 2",
        "SELECT value FROM json_each('[1, 2]')",
        "SELECT cid + 1 FROM pragma_table_info('t')",
        "WITH c(x) AS (VALUES (1), (2)) SELECT x FROM c",
    ],
)
def test_sql_constants_beside_a_table_that_is_not_of_the_database_score_0(rows: str) -> None:
    setup = "CREATE TABLE t (a INTEGER, b); INSERT INTO t VALUES (1, 0), (2, 0); CREATE VIEW v AS SELECT a FROM t;"
    assert Sql()(rows, "SELECT a FROM t", setup).value == 0.0
    assert Sql()("SELECT a FROM v", "SELECT a FROM t", setup).value == 1.0


@pytest.mark.parametrize(
    "answer",
    ["SQL: SELECT a FROM t", "sql\nSELECT a FROM t;;", "`SELECT a FROM t`", "SELECT\u00a0a FROM t; -- all"],
)
def test_sql_query_in_an_unusual_layout_is_run(answer: str) -> None:
    assert Sql()(answer, "SELECT a FROM t", "CREATE TABLE t (a); INSERT INTO t VALUES (1);").value == 1.0


@pytest.mark.parametrize(
    "text", ["x" + " " * 50_000, "sql" + " " * 50_000 + "x", "sql\n" * 10_000, "`" * 50_000]
)
def test_sql_query_is_found_in_linear_time(text: str) -> None:
    started = time.thread_time()
    assert Sql()(text, NAMES, SETUP).value == 0.0
    assert time.thread_time() - started < 1.0
