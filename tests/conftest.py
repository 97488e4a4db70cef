"""What tests of several rooms share."""

from __future__ import annotations

import gc
import importlib.abc
import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings

from guerdon.cli.main import main
from guerdon.scoring import worker_process
from guerdon_sandbox import BoxOptions, SandboxUnavailableError
from guerdon_sandbox.engine import Engine

if TYPE_CHECKING:
    from warm_python import Process, WarmPython

# The tests' models are tiny: threads would only wait for each other. torch reads this when it is imported, here and in
# the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

# TRL imports MLflow where it is installed, which is a sixth of its own import. The hook 'mlflow' does not read this.
os.environ["DISABLE_MLFLOW_INTEGRATION"] = "TRUE"

# A first call may import a library or compile a pattern, and CI machines are slow: time is no property under test.
# CI tries the same examples every time, so that a change is judged by what it changed; elsewhere they are new ones.
settings.register_profile("guerdon", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("guerdon")


TRAINING_LIBRARIES = {"accelerate", "datasets", "peft", "torch", "transformers", "triton", "trl", "vllm"}
HEAVY_MARKERS = {"docker", "gpu", "peer", "slow", "vllm"}
HEAVY_PLACES = {
    Path(__file__).parent / place
    for place in (
        *("core/adapters", "core/audit", "core/cli", "core/models", "core/options", "core/preflight"),
        *("core/report", "core/rubric", "core/run", "core/scoring", "core/serve", "core/testing"),
        *("core/tools", "core/view", "docs", "e2e"),
        *(
            "plugins/hooks",
            "plugins/stages",
            "plugins/test_built_ins_audit.py",
            "plugins/test_conformance.py",
        ),
        *("plugins/test_judges_audit.py", "plugins/test_recipes.py", "plugins/tools", "test_light.py"),
        *("plugins/verifiers/test_judge.py", "plugins/verifiers/test_remote.py"),
        *(f"plugins/verifiers/math/test_{name}.py" for name in ("against_sympy", "pair_fuzz")),
    )
}
"""Their tests train, audit, search for minutes, or start processes that import guerdon again."""


class TrainingLibrariesSkip(importlib.abc.MetaPathFinder):
    """Skips the test, or the module of tests, that imports a training library."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in TRAINING_LIBRARIES:
            pytest.skip(f"not light: it imports {fullname}", allow_module_level=True)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return more workers than cores: half of the time, tests wait for containers, processes and deadlines."""
    waiting = 1 if config.option.markexpr == "light" else 2
    return len(os.sched_getaffinity(0)) + waiting


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "light":
        sys.meta_path.insert(0, TrainingLibrariesSkip())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage meanwhile: thousands of tests and imported modules stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and "peer" in item.fixturenames:
        item.add_marker("peer")
    markers = {marker.name for marker in item.iter_markers()}
    trains = isinstance(item, pytest.Function) and "warm_python" in item.fixturenames
    if not trains and not markers & HEAVY_MARKERS and not is_heavy(item.path):
        item.add_marker("light")


@cache
def is_heavy(path: Path) -> bool:
    return not HEAVY_PLACES.isdisjoint({path, *path.parents})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, of what is selected: one that began last would run alone."""
    long = Counter(
        item.path for item in items if {"docker", "slow"} & {mark.name for mark in item.iter_markers()}
    )
    items.sort(key=lambda item: -long[item.path])


def pytest_collection_finish() -> None:
    leave_to_the_end()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        leave_to_the_end()


def leave_to_the_end() -> None:
    """Keep the libraries' objects out of later collections of garbage, which every stage of a run asks for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data and graded cases, which stands beside the checkout."""
    folder = Path(os.environ.get("GUERDON_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder} (set GUERDON_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A usable engine. CI must have one."""
    try:
        Engine().check(BoxOptions())
    except SandboxUnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _docker_tests_need_an_engine(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("docker_engine")


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sockets of the servers that all workers of pytest share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def warm_python(servers_folder: Path) -> Iterator[WarmPython]:
    """Starts Python with the training libraries imported already; ``warm_python.py`` says when to use it."""
    from warm_python import TRAINING, WarmPython

    with closing(WarmPython(TRAINING, servers_folder / "training")) as python:
        yield python


@pytest.fixture(scope="session")
def warm_guerdon(servers_folder: Path) -> WarmPython:
    """Starts Python with guerdon's commands imported already, and without the training libraries.

    It is left when this process ends, not before: rubrics that are still open close their workers then.
    """
    from warm_python import COMMANDS, WarmPython

    return WarmPython(COMMANDS, servers_folder / "commands")


@pytest.fixture(autouse=True, scope="session")
def _warm_workers(warm_guerdon: WarmPython) -> Iterator[None]:
    """Forks the workers that this process starts. Those of the commands that tests start are new interpreters."""
    with pytest.MonkeyPatch.context() as patch:

        def start(module: str, *descriptors: int) -> Process:
            return warm_guerdon.start("-m", module, descriptors=descriptors)

        patch.setattr(worker_process, "start_process", start)
        yield


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs a command in an empty folder, in this process; an error that it does not catch fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["guerdon", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert isinstance(stop.value.code, int)
        ended = Ended(stop.value.code, *capfd.readouterr())
        assert "Traceback" not in ended.out + ended.err
        return ended

    return run


@dataclass(frozen=True)
class Environment:
    """A fresh environment that sees this one's packages, guerdon among them, and can have more. It needs no network."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """With these, pip, pytest and guerdon are the environment's own, and pip asks no index."""
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        path = f"{self.folder / 'bin'}{os.pathsep}{clean['PATH']}"
        # PIP_NO_BUILD_ISOLATION says by "false" that there is none: https://github.com/pypa/pip/issues/5735
        return clean | {
            "PATH": path,
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "false",
            "PIP_NO_INDEX": "1",
        }

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=self.variables, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Makes fresh environments."""

    def make() -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, with_pip=False)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        # Editable installs are .pth files of this environment's folder, which a second environment has to name itself.
        here = Path(sysconfig.get_path("purelib"))
        lines = [
            str(here),
            *(line for pth in here.glob("_guerdon.pth") for line in pth.read_text().splitlines()),
        ]
        (site / "outer.pth").write_text("\n".join(lines) + "\n")
        for script, module in {"pip": "pip", "pytest": "pytest", "guerdon": "guerdon"}.items():
            path = folder / "bin" / script
            path.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
            path.chmod(0o755)
        return Environment(folder)

    return make


HTTP = (
    *("aiohttp==3.14.5", "aiohappyeyeballs==2.7.1", "aiosignal==1.4.0", "attrs==26.1.0", "frozenlist==1.8.0"),
    *("multidict==7.2.1", "propcache==0.5.4", "yarl==1.25.1"),
)
"""aiohttp and what it requires, for the peers that need it."""


class Peer:
    """A peer's own package, in a folder of its own beside this environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, script: str, cwd: Path, *arguments: str) -> list[Any]:
        """The lines of JSON that a script prints; what the peer itself logs is not JSON."""
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Peer]:
    """Installs a peer's distribution, and of what it requires only what is named: what the tested path imports."""

    @cache
    def install(*requirements: str, http: bool = False, any_python: bool = False) -> Peer:
        folder = tmp_path_factory.mktemp("peer")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        if any_python:  # the tested files need no newer Python, or are read and not imported
            command.append("--ignore-requires-python")
        done = subprocess.run(
            [*command, "--target", str(folder), *requirements, *(HTTP if http else ())],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Peer(folder)

    return install
