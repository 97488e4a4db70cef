"""Scoring on a real Ray cluster of several nodes gives the scores of the local pool, also when a node is lost."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ray
from ray.cluster_utils import Cluster
from warm_python import WarmPython

from guerdon import Failure, Rollout, Score
from guerdon.errors import PluginContractError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.scoring import ray_pool
from guerdon.scoring.cache import ScoreCache
from guerdon.scoring.pool import VerifyJob
from guerdon.scoring.protocol import Item, Scored
from guerdon.scoring.ray_pool import MAX_LOSSES, RayPool, _Task
from guerdon.scoring.ray_worker import RemoteWorker
from guerdon.types import Judgements

VERIFIERS = Path(__file__).parents[2] / "fixtures" / "cluster_verifiers.py"


def entry(name: str) -> Entry:
    return Entry(name, load_component(find_plugin(f"{VERIFIERS}:{name}", SCORERS), {}, None))


def rollouts(completions: list[str]) -> list[Rollout]:
    return [
        Rollout("a question", completion, {"reference": f"right {number}"})
        for number, completion in enumerate(completions)
    ]


def outcomes(judgements: Judgements) -> list[dict[str, object]]:
    """Return the judgements without their latencies."""
    rows = [judgement.to_dict() for judgement in judgements]
    for row in rows:
        for score in row["scores"].values():
            del score["latency_ms"]
    return rows


# First, because `auto` finds the cluster of the other tests once it runs.
@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("127.0.0.1:1", "InfrastructureError", "ray start"),
        ("auto", "InfrastructureError", "ray start"),
        ("nowhere", "UsageError", "HOST:PORT"),
        ("ray://127.0.0.1:10001", "UsageError", "HOST:PORT"),
        ("127.0.0.1:port", "UsageError", "HOST:PORT"),
        ("127.0.0.1:99999", "InfrastructureError", "ray start"),
    ],
)
def test_ray_pool_with_a_wrong_address_says_how_to_start_a_cluster(
    address: str, error: str, words: str, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_TMPDIR"] = str(tmp_path)
    script = f"from guerdon.scoring.ray_pool import RayPool; RayPool([], {address!r})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment,
    )
    last = done.stderr.splitlines()[-1]
    assert error in last
    assert words in last
    assert "--address" not in last
    assert ".. " not in last


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    for _ in range(2):
        cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    ray.init(address=cluster.address, namespace="guerdon", log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


def test_ray_pool_scores_every_kind_of_entry_as_the_local_pool_does(cluster: Cluster) -> None:
    given = rollouts([f"right {n}" if n % 3 else f"wrong {n}" for n in range(120)])
    given += rollouts(["hang", "crash", "raise", "right 3"])
    entries = [entry("judge"), entry("wait"), entry("batch")]
    with Rubric(entries) as local:
        expected = outcomes(local.score(given))
    with Rubric(entries, ray=cluster.address) as remote:
        assert outcomes(remote.score(given)) == expected
    failures = [row["scores"]["judge"]["failure"] for row in expected[-4:]]  # type: ignore[index]
    assert failures == [Failure.TIMEOUT.value, Failure.VERIFIER.value, Failure.VERIFIER.value, None]


@pytest.mark.parametrize("on_ray", [False, True])
def test_warnings_of_a_verifier_reach_the_user(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, on_ray: bool
) -> None:
    with Rubric([entry("warn")], workers=1, ray=cluster.address if on_ray else None) as rubric:
        (judgement,) = rubric.score(rollouts(["a"]))
    assert judgement.reward == 1.0
    (record,) = (record for record in caplog.records if record.name.startswith("guerdon"))
    assert record.levelname == "WARNING"
    assert "warn" in record.getMessage()
    assert record.getMessage().endswith("the engine of 'a' is gone")
    assert "a retry" not in caplog.text


def test_ray_pool_that_is_opened_again_leaves_no_class_behind(cluster: Cluster) -> None:
    before = len(RemoteWorker.__subclasses__())
    for _ in range(3):
        with Rubric([entry("judge")], ray=cluster.address) as rubric:
            assert [judgement.reward for judgement in rubric.score(rollouts(["right 0"]))] == [1.0]
    gc.collect()
    assert len(RemoteWorker.__subclasses__()) == before


def test_ray_pool_with_a_plugin_that_cannot_be_built_raises_its_error(cluster: Cluster) -> None:
    with Rubric([entry("Unbuildable")], ray=cluster.address) as rubric:
        with pytest.raises(PluginContractError, match="no such engine"):
            rubric.score(rollouts(["a"]))
        with pytest.raises(PluginContractError, match="no such engine"):
            rubric.score(rollouts(["a"]))


def test_ray_pool_keeps_scores_in_the_cache(cluster: Cluster) -> None:
    cache = ScoreCache()
    with Rubric([entry("judge")], ray=cluster.address, cache=cache) as rubric:
        first = rubric.score(rollouts(["right 0", "b"]))
        second = rubric.score(rollouts(["right 0", "b"]))
    assert outcomes(first) == outcomes(second)
    assert [judgement.verdicts["judge"].latency_ms for judgement in second] == [0, 0]
    cache.close()


def test_task_whose_verdicts_arrived_loses_nothing_with_its_actor() -> None:
    """The actor may be lost between its last verdict and the end of its answers."""
    job = VerifyJob(0, [Item("a", {}), Item("b", {})], 1.0)
    task = _Task(job)
    job.receive(Scored(0, Score(1.0), 2.0))
    task.lose("socket closed")
    assert job.task().cases == [Item("b", {})]
    job.receive(Scored(0, Score(0.5), 2.0))
    for _ in range(MAX_LOSSES):
        task.lose("socket closed")
    assert job.results == [(Score(1.0), 2.0), (Score(0.5), 2.0)]


def test_ray_pool_keeps_the_tasks_of_all_actors_of_a_lost_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has actors of several lanes, and their errors arrive one after the other."""

    class Started:
        def __init__(self, node: str) -> None:
            self.node = node
            self.tasks: list[str] = []

    monkeypatch.setattr(ray_pool, "_nodes", lambda: [{"NodeID": "alive", "Resources": {"CPU": 1.0}}])
    monkeypatch.setattr(ray_pool._Actor, "start", lambda node, components: Started(node))
    pool = RayPool.__new__(RayPool)
    pool._components, pool._limits, pool._wanted, pool._pools = [], {1: None}, None, 1
    busy, idle = Started("lost"), Started("lost")
    busy.tasks.append("a task")
    pool._actors = {None: [], 1: [busy, idle]}  # type: ignore[list-item]
    pool._start_actors([None, 1])
    assert [actor.node for actor in pool._actors[None]] == ["alive"]
    assert [actor.node for actor in pool._actors[1]] == ["lost", "alive"]
    assert pool._actors[1][0].tasks


@pytest.mark.parametrize(("pools", "workers"), [(1, 12), (2, 6), (4, 3), (64, 2)])
def test_each_pool_of_a_launch_has_its_share_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch, pools: int, workers: int
) -> None:
    nodes = [{"NodeID": str(cpus), "Resources": {"CPU": float(cpus)}} for cpus in (8, 4)]
    monkeypatch.setattr(ray_pool, "_nodes", lambda: nodes)
    pool = RayPool.__new__(RayPool)
    pool._wanted, pool._pools = None, pools
    assert pool.shared_workers == workers  # at least one on each node
    pool._wanted = 12  # 'workers' of 'scoring', which are those of all pools
    assert pool.shared_workers == max(1, 12 // pools)


def test_ray_pool_that_loses_a_node_loses_no_verdict(cluster: Cluster) -> None:
    doomed = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    given = [
        Rollout(f"question {n}", "slow", {"reference": "slow" if n % 2 else "fast", "n": n})
        for n in range(60)
    ]
    with Rubric([entry("judge")], ray=cluster.address) as rubric:
        assert rubric.score(given[:1])[0].reward == 0
        killer = threading.Timer(1.5, cluster.remove_node, [doomed], {"allow_graceful": False})
        killer.start()
        judgements = rubric.score(given)
        killer.join()
        assert [judgement.reward for judgement in judgements] == [float(n % 2) for n in range(60)]
        assert [judgement.reward for judgement in rubric.score(given[:4])] == [0, 1, 0, 1]


@pytest.mark.slow
def test_ray_pool_that_loses_a_node_midway_gives_100_000_verdicts_in_order(cluster: Cluster) -> None:
    doomed = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    given = rollouts([f"right {n}" if n % 3 else f"wrong {n}" for n in range(100_000)])
    with Rubric([entry("judge")], ray=cluster.address) as rubric:
        rubric.score(rollouts(["a"] * 400))  # all workers have started
        killer = threading.Timer(2, cluster.remove_node, [doomed], {"allow_graceful": False})
        killer.start()
        judgements = rubric.score(given)
        assert not killer.is_alive()  # the node was lost before the end
    assert [judgement.reward for judgement in judgements] == [float(bool(n % 3)) for n in range(100_000)]


RUN = """\
name: x
scoring: {{ray: '{address}', workers: 3}}
stages:
  - id: judged
    use: ./stage.py:judge
    init: none
    data: [{{use: files, params: {{path: rows.jsonl}}}}]
    rewards: [{{use: './v.py:placed'}}]
"""

PLACED = """
import os
from pathlib import Path

def placed(completion, reference):
    # The process that started this worker is an actor, which says so in its title.
    title = Path(f"/proc/{os.getppid()}/cmdline").read_text()
    return float(completion == reference) if "RemoteWorker" in title else -1.0

class Single:
    max_workers = 1
    def __call__(self, completion, reference):
        value = placed(completion, reference)
        if value >= 0.0:
            with open(Path(__file__).with_name("copies"), "a") as file:
                file.write(f"{os.getpid()}\\n")
        return value
"""

STAGE = """
from guerdon import Rollout, StageResult

def judge(context):
    with context.open_rubric() as rubric:
        judgements = rubric.score([Rollout(row["prompt"], row["completion"], row) for row in context.rows()])
    return StageResult(metrics={"rewards": [judgement.reward for judgement in judgements]})

judge.needs = ("data", "rewards")
judge.distributed = True
"""


@pytest.fixture
def folder(tmp_path: Path, cluster: Cluster) -> Path:
    """A folder with rows, plugins and a manifest. The verifier knows whether a Ray actor started its worker."""
    rows = [{"prompt": "q", "completion": f"{n % 3}", "reference": "1"} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "v.py").write_text(PLACED)
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "m.yaml").write_text(RUN.format(address=cluster.address))
    return tmp_path


EXPECTED = [float(n % 3 == 1) for n in range(9)]


def test_score_with_ray_scores_on_the_cluster(
    warm_guerdon: WarmPython, folder: Path, cluster: Cluster
) -> None:
    options = ("--use", "./v.py:placed", "--ray", cluster.address, "-o", "scored.jsonl")
    done = warm_guerdon.run("-m", "guerdon", "score", "rows.jsonl", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = (folder / "scored.jsonl").read_text().splitlines()
    assert [json.loads(line)["reward"] for line in lines] == EXPECTED


@pytest.mark.slow
def test_serve_with_ray_scores_on_the_cluster(
    warm_guerdon: WarmPython, folder: Path, cluster: Cluster
) -> None:
    options = ("--use", "./v.py:placed", "--ray", cluster.address, "--port", "0")
    with warm_guerdon.start("-m", "guerdon", "serve", *options, cwd=folder) as server:
        url = server.printed(r"on (http\S+) ")[1]
        given = [{"completion": f"{n % 3}", "columns": {"reference": "1"}} for n in range(9)]
        answer = httpx.post(f"{url}/score", json={"rollouts": given}, timeout=120)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0, server.err()
    assert [result["reward"] for result in answer.json()["results"]] == EXPECTED


@pytest.mark.slow
def test_run_of_a_manifest_with_ray_scores_on_the_cluster(warm_guerdon: WarmPython, folder: Path) -> None:
    done = warm_guerdon.run("-m", "guerdon", "run", "m.yaml", "-o", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out/stages/judged/result.json").read_text())
    assert result["metrics"]["rewards"] == EXPECTED


@pytest.mark.slow
def test_processes_of_one_machine_share_the_workers_of_the_cluster(
    warm_guerdon: WarmPython, folder: Path
) -> None:
    manifest = folder / "m.yaml"
    manifest.write_text(manifest.read_text().replace("v.py:placed", "v.py:Single"))
    for done in warm_guerdon.launch(2, "-m", "guerdon", "run", "m.yaml", "-o", "out", cwd=folder):
        assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out/stages/judged/result.json").read_text())
    assert result["metrics"]["rewards"] == EXPECTED
    copies = (folder / "copies").read_text().splitlines()
    assert len(set(copies)) == 1  # max_workers: 1
    assert len(copies) == 3  # the rows of both processes, each kind once: they share the cache too
