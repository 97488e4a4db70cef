import os
from pathlib import Path

import pytest

from guerdon.manifest import load_manifest, plan_run
from guerdon.preflight import Finding, Level, preflight

MODULE = """
def stage(context): ...
class Rows:
    def __init__(self, rows: list): self.rows = rows
    def __iter__(self): return iter(self.rows)
def equals(completion, reference): return completion == reference
def level_two(completion, level): return level == 2 and completion == ""
def constant(completion): return 0.5
class Strict:
    def gold_completion(self, reference): return f"answer: {reference}"
    def __call__(self, completion, reference): return completion == f"answer: {reference}" and reference != "odd"
class Down:
    async def preflight(self): raise ConnectionRefusedError("the judge does not answer")
    def __call__(self, completion): return 1
class Keyless:
    def __init__(self): raise RuntimeError("no key in the environment")
    def __call__(self, completion): return 1
def meets(completions, met): return [1.0] * len(completions)
def trl(completions, **columns): return [0.0] * len(completions)
class Headless:
    def preflight(self): raise ConnectionRefusedError("no model there")
    def __call__(self, completions): return [0.0] * len(completions)
class Refused:
    def preflight(self): raise RuntimeError("the endpoint says 401")
    def __call__(self, completion): return 1
class RaisesForGold:
    def gold_completion(self, reference): return reference["answer"]
    def __call__(self, completion, reference): return 1
class GoldIsNoText:
    def gold_completion(self, reference): return 5
    def __call__(self, completion, reference): return 1
class Boxed:
    def gold_completion(self, reference): return f"[{reference}]"
    def __call__(self, completion, reference): return completion.rpartition("</think>")[2].strip() == f"[{reference}]"
class Tagged:
    audit_kind = "format"
    def __init__(self, free: bool): self.free = free
    def __call__(self, completion):
        thoughts, end, rest = completion.partition("</think>")
        return thoughts.startswith("<think>") and end != "" and bool(rest.strip()) == self.free
class Asks:
    def __init__(self, model: str): raise RuntimeError("there is no model yet")
    def __call__(self, completion): return 1
"""


def check(folder: Path, data: str, rewards: str, rest: str = "init: none") -> list[Finding]:
    (folder / "m.py").write_text(MODULE)
    (folder / "m.yaml").write_text(
        f"name: x\nstages:\n  - {{id: a, use: './m.py:stage', {rest}, data: [{data}], rewards: [{rewards}]}}\n"
    )
    return list(preflight(plan_run(load_manifest(folder / "m.yaml"))))


def rows(*rows: str) -> str:
    return f"{{use: './m.py:Rows', params: {{rows: [{', '.join(rows)}]}}}}"


def test_a_sound_plan_has_no_findings(tmp_path: Path) -> None:
    data = rows("{prompt: p, reference: '1'}", "{prompt: q, reference: '2'}")
    assert check(tmp_path, data, "{use: './m.py:equals'}, {use: './m.py:trl'}") == []


@pytest.mark.parametrize(
    ("data", "reward", "level", "words"),
    [
        (rows(), "use: './m.py:equals'", Level.ERROR, "has no rows"),
        (
            rows("{prompt: p, answer: '1'}"),
            "use: './m.py:equals'",
            Level.ERROR,
            "needs the column 'reference'",
        ),
        (
            rows("{prompt: p}"),
            "use: './m.py:meets'",
            Level.ERROR,
            "If it is one, set guerdon_kind = 'group_reward'",
        ),
        (
            rows("{prompt: p}"),
            "use: './m.py:constant', when: {task: x}",
            Level.ERROR,
            "column 'task', which no",
        ),
        (
            rows("{prompt: p, task: y}"),
            "use: './m.py:level_two', when: {task: x}",
            Level.ERROR,
            "matches none of 1",
        ),
        (rows("{prompt: p}"), "use: './m.py:constant'", Level.WARNING, "gives 0.5 to every one"),
        (
            rows("{prompt: p, reference: one}", "{prompt: q, reference: odd}"),
            "use: './m.py:Strict'",
            Level.ERROR,
            "1 of 2 sampled references do not score 1 as an answer to themselves, such as 'odd'",
        ),
        (rows("{prompt: p}"), "use: './m.py:Down'", Level.ERROR, "the judge does not answer"),
        (
            rows("{prompt: p}"),
            "use: './m.py:Refused'",
            Level.ERROR,
            "the preflight of plugin 'Refused' (m.py) raised RuntimeError: the endpoint says 401",
        ),
        (
            rows("{prompt: p, reference: one}"),
            "use: './m.py:RaisesForGold'",
            Level.ERROR,
            "the gold_completion of plugin 'RaisesForGold' (m.py), for the reference 'one', raised TypeError",
        ),
        (
            rows("{prompt: p, reference: one}"),
            "use: './m.py:GoldIsNoText'",
            Level.ERROR,
            "the gold_completion of plugin 'GoldIsNoText' (m.py) returned 5 for the reference 'one'",
        ),
    ],
)
def test_findings(tmp_path: Path, data: str, reward: str, level: Level, words: str) -> None:
    findings = check(tmp_path, data, f"{{{reward}}}")
    assert any(finding.level is level and words in finding.message for finding in findings), findings


def test_rows_that_nothing_judges_are_named(tmp_path: Path) -> None:
    data = rows("{prompt: p, level: 2}", "{prompt: left out, level: 3}")
    findings = check(tmp_path, data, "{use: './m.py:level_two', when: {level: 2}}")
    assert ["no reward judges 1 of 2 sampled rows" in finding.message for finding in findings] == [True]
    assert "left out" in findings[0].message


def test_a_metric_judges_no_row(tmp_path: Path) -> None:
    data = rows("{prompt: p, level: 2}", "{prompt: left out, level: 3}")
    routed = "{use: './m.py:level_two', when: {level: 2}}"
    metric = "{use: './m.py:trl', weight: 0}"
    (finding,) = check(tmp_path, data, f"{routed}, {metric}")
    assert "no reward judges 1 of 2 sampled rows" in finding.message
    assert check(tmp_path, data, f"{routed}, {metric.replace('0', '{0: 0, 9: 1}')}") == []


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    findings = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:trl'}", "init: some/hub-model")
    assert [(finding.level, finding.message) for finding in findings] == [
        (Level.NOTE, "not checked: the model 'some/hub-model' would come from the hub.")
    ]
    missing = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:trl'}", "init: ./no-such-folder")
    assert missing[0].level is Level.ERROR


def test_a_constructor_that_raises_is_a_finding(tmp_path: Path) -> None:
    findings = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:Keyless'}")
    assert any("RuntimeError: no key in the environment" in finding.message for finding in findings)


def test_an_empty_model_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    findings = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:trl'}", "init: ./here")
    assert "holds no config.json" in findings[0].message


def test_a_reward_may_check_itself_and_is_not_called(tmp_path: Path) -> None:
    (finding,) = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:Headless'}")
    assert (finding.level, finding.outside) == (Level.ERROR, True)
    assert "no model there" in finding.message


def test_what_uses_a_stages_model_is_not_built_before_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(
        f"""\
name: x
stages:
  - {{id: rm, use: './m.py:stage', init: none}}
  - id: a
    use: ./m.py:stage
    init: none
    data: [{rows("{prompt: p}")}]
    rewards: [{{use: './m.py:Asks', params: {{model: 'stage:rm'}}}}]
"""
    )
    (finding,) = preflight(plan_run(load_manifest(tmp_path / "m.yaml")))
    assert (finding.level, finding.message) == (Level.NOTE, "not checked: stage 'rm' makes its model.")


def test_columns_that_a_data_entry_adds_route_its_rows(tmp_path: Path) -> None:
    data = (
        rows("{prompt: p, reference: '1'}").replace("}}", "}, add: {task: math}}")
        + ", "
        + rows("{prompt: q}")
    )
    (finding,) = check(tmp_path, data, "{use: './m.py:equals', when: {task: math}}")
    assert finding.level is Level.ERROR
    assert "no reward judges 1 of 2 sampled rows, such as the one with the prompt 'q'" in finding.message


def test_a_column_that_a_data_entry_replaces_is_a_warning(tmp_path: Path) -> None:
    data = rows("{prompt: p, reference: '1', task: x}").replace(
        "}}", "}, add: {prompt: q, task: x, level: 2}}"
    )
    (finding,) = check(tmp_path, data, "{use: './m.py:equals'}")
    assert finding.level is Level.WARNING
    assert "its 'add' replaces the column 'prompt' of the data: every row gets 'q'." in finding.message


def test_what_is_down_can_be_noted_as_unchecked(tmp_path: Path) -> None:
    (finding,) = check(tmp_path, rows("{prompt: p}"), "{use: './m.py:Down'}")
    assert (finding.level, finding.outside) == (Level.ERROR, True)
    note = finding.unchecked()
    assert (note.level, note.outside) == (Level.NOTE, False)
    assert note.message == f"not checked: {finding.message}"


def test_a_stage_s_preflight_may_ask_for_the_names_of_its_rewards(tmp_path: Path) -> None:
    (tmp_path / "n.py").write_text(
        "class Picky:\n"
        "    def preflight(self, rewards): raise ValueError(f'the rewards are {rewards}')\n"
        "    def run(self, context): ...\n"
    )
    (tmp_path / "m.py").write_text(MODULE)
    data, reward = rows("{prompt: p, reference: '1'}"), "{use: './m.py:equals', name: same}"
    (tmp_path / "m.yaml").write_text(
        f"name: x\nstages:\n  - {{id: a, use: './n.py:Picky', init: none, data: [{data}], rewards: [{reward}]}}\n"
    )
    findings = list(preflight(plan_run(load_manifest(tmp_path / "m.yaml"))))
    assert any("the rewards are ['same']" in finding.message for finding in findings)


def test_a_stage_s_preflight_may_ask_for_the_names_of_all_its_models(tmp_path: Path) -> None:
    (tmp_path / "n.py").write_text(
        "class Picky:\n"
        "    def preflight(self, init): raise ValueError(f'the models are {list(init)}')\n"
        "    def run(self, context): ...\n"
    )
    (tmp_path / "m.yaml").write_text(
        "name: x\nmodel: ./base\nstages:\n"
        "  - {id: a, use: './n.py:Picky'}\n"
        "  - {id: b, use: './n.py:Picky', init: [stage:a, {path: ./other}]}\n"
    )
    found = [finding.message for finding in preflight(plan_run(load_manifest(tmp_path / "m.yaml")))]
    assert any("the models are ['./base']" in message for message in found)
    assert any("the models are ['a', './other']" in message for message in found)


def test_sft_from_two_models_is_refused_before_it_runs(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(
        f"name: x\nstages:\n  - {{id: a, use: sft, init: [{{path: a}}, {{path: b}}], "
        f"data: [{rows('{prompt: p, completion: c}')}]}}\n"
    )
    found = [finding.message for finding in preflight(plan_run(load_manifest(tmp_path / "m.yaml")))]
    assert any("init names 2 models (a, b), and the stage takes 1" in message for message in found)


def test_a_verifier_of_several_stages_is_built_by_one_worker(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        MODULE
        + """
import os
class Builds:
    def __init__(self, sort: str, folder: str): open(f"{folder}/{sort}-{os.getpid()}", "w").close()
    def __call__(self, completion): return len(completion) % 2
"""
    )
    stages = "".join(
        f"  - {{id: {stage}, use: './m.py:stage', init: none, data: [{rows('{prompt: p}', '{prompt: q}')}], "
        f"rewards: [{{use: './m.py:Builds', name: {name}, params: {{sort: {sort}, folder: '{tmp_path}/built'}}}}]}}\n"
        for stage, name, sort in (("a", "x", "s"), ("b", "x", "s"), ("c", "y", "s"), ("d", "x", "t"))
    )
    (tmp_path / "built").mkdir()
    (tmp_path / "m.yaml").write_text(f"name: x\nstages:\n{stages}")
    assert list(preflight(plan_run(load_manifest(tmp_path / "m.yaml")))) == []
    built = [
        path.name for path in (tmp_path / "built").iterdir() if not path.name.endswith(f"-{os.getpid()}")
    ]
    assert sorted(name.partition("-")[0] for name in built) == ["s", "t"]
    assert len({name.partition("-")[2] for name in built}) == 1


@pytest.mark.parametrize("free", [True, False])
def test_rewards_that_no_reply_can_earn_together(tmp_path: Path, free: bool) -> None:
    data = rows("{prompt: p, reference: '1'}", "{prompt: q, reference: '2'}")
    reward = f"{{use: './m.py:Tagged', params: {{free: {str(free).lower()}}}}}"
    findings = check(tmp_path, data, f"{{use: './m.py:Boxed'}}, {reward}")
    assert [finding.level for finding in findings] == ([] if free else [Level.WARNING])
    assert all("no reply earned both, in any of 5 layouts" in finding.message for finding in findings)


ENVIRONMENTS = '''
class Agent:
    uses_tools = True
    def run(self, context): ...
class Paying:
    def reset(self, **row): return None
    def look(self) -> str:
        """Look."""
        return "a box"
    def get_reward(self): return 1.0
class Silent:
    def reset(self, **row): return None
    def look(self) -> str:
        """Look."""
        return "a box"
def by_state(completion, environment): return bool(environment)
def may_use(completion, reference, environment_reward=None): return completion == reference
'''


@pytest.mark.parametrize(
    ("environments", "reward", "words"),
    [
        (
            "",
            "environment",
            "the stage has no environment: every rollout would be skipped or fail. List one under",
        ),
        ("", "./e.py:by_state", "scores by 'environment' of the rollout, and the stage has no environment"),
        ("{use: './e.py:Silent'}", "environment", "'Silent' has no method get_reward"),
        (
            "{use: './e.py:Paying', when: {kind: b}}",
            "environment, when: {kind: a}",
            "applies to its 1 sampled rows",
        ),
        ("{use: './e.py:Paying'}", "environment", None),
        ("{use: './e.py:Silent'}", "./e.py:by_state", None),
        ("", "./e.py:may_use", None),
    ],
)
def test_entry_that_finds_no_environment_is_an_error(
    tmp_path: Path, environments: str, reward: str, words: str | None
) -> None:
    (tmp_path / "e.py").write_text(ENVIRONMENTS)
    (tmp_path / "m.py").write_text(MODULE)
    data = rows("{prompt: p, reference: '1', kind: a}", "{prompt: q, reference: '2', kind: b}")
    (tmp_path / "m.yaml").write_text(
        f"name: x\nstages:\n  - {{id: a, use: './e.py:Agent', init: none, data: [{data}], "
        f"environments: [{environments}], rewards: [{{use: {reward}}}, {{use: './m.py:trl'}}]}}\n"
    )
    found = [f for f in preflight(plan_run(load_manifest(tmp_path / "m.yaml"))) if f.level is Level.ERROR]
    if words is None:
        assert found == []
    else:
        assert words in found[0].message
        assert "reward '" in str(found[0])


@pytest.mark.parametrize(
    ("address", "level", "words"),
    [
        ("foo", Level.ERROR, "the Ray address is 'foo'. Write auto, or HOST:PORT"),
        ("ray://127.0.0.1:10001", Level.ERROR, "without a scheme"),
        ("127.0.0.1:1", Level.ERROR, "no Ray cluster answers at '127.0.0.1:1': "),
        ("auto", Level.NOTE, "not checked: Ray finds the cluster when the run starts."),
    ],
)
def test_a_ray_cluster_is_checked_by_its_address(
    tmp_path: Path, address: str, level: Level, words: str
) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(
        f"name: x\nscoring: {{ray: '{address}'}}\nstages: [{{id: a, use: './m.py:stage', init: none}}]\n"
    )
    (finding,) = preflight(plan_run(load_manifest(tmp_path / "m.yaml")))
    assert (finding.level, finding.outside) == (level, address == "127.0.0.1:1")
    assert words in finding.message
    assert finding.place.endswith("m.yaml:2")
