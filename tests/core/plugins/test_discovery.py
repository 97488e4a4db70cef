import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from guerdon.errors import DuplicatePluginError, MissingDependencyError, PluginLoadError, PluginNotFoundError
from guerdon.plugins import discovery
from guerdon.plugins.discovery import SCORERS, Kind, find_plugin, installed_plugins, load_plugin


def install(folder: Path, name: str, entry_points: dict[str, dict[str, str]], module: str = "") -> None:
    """A distribution as pip would leave it."""
    info = folder / f"{name.replace('-', '_')}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in entry_points.items()
    )
    (info / "entry_points.txt").write_text(text)
    (folder / f"{name.replace('-', '_')}.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_built_ins_are_found_like_any_plugin() -> None:
    names = {plugin.name for plugin in installed_plugins(Kind.VERIFIER)}
    assert {"math", "format", "language"} <= names
    assert find_plugin("math", SCORERS) == find_plugin("guerdon/math", SCORERS)


def test_listing_imports_no_plugin(site: Path) -> None:
    install(
        site, "loud-plugin", {"guerdon.verifiers": {"loud": "loud_plugin:f"}}, "raise SystemExit('imported')"
    )
    code = (
        "import sys; from guerdon.plugins.discovery import *; print([p.name for p in installed_plugins()]);"
    )
    code += (
        "assert not any(m.split('.')[0] in ('guerdon_plugins', 'torch', 'loud_plugin') for m in sys.modules)"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'loud'" in listed.stdout


def test_installed_plugins_sees_what_is_installed_after_the_first_look(site: Path) -> None:
    assert "late" not in {plugin.name for plugin in installed_plugins()}
    install(site, "late-plugin", {"guerdon.verifiers": {"late": "late_plugin:f"}})
    assert find_plugin("late", SCORERS).distribution == "late-plugin"


def test_find_plugin_of_an_import_string_names_the_distribution_that_records_the_module(site: Path) -> None:
    install(site, "recorded-plugin", {}, "def f(completion): ...")
    (site / "recorded_plugin-1.5.dist-info" / "RECORD").write_text("recorded_plugin.py,sha256=x,1\n")
    (site / "recorded_plugin_more.py").write_text("def f(completion): ...")
    assert find_plugin("recorded_plugin:f", SCORERS).origin == "recorded-plugin 1.5"
    assert find_plugin("recorded_plugin_more:f", SCORERS).distribution == "-"


def test_a_broken_plugin_is_an_error_only_for_who_asks(site: Path) -> None:
    install(
        site,
        "broken-plugin",
        {"guerdon.verifiers": {"broken": "broken_plugin:f", "gone": "broken_plugin.gone:f"}},
        "1 / 0",
    )
    broken = find_plugin("broken", SCORERS)
    with pytest.raises(PluginLoadError, match=r"verifier 'broken' \(broken-plugin 1.5\).*ZeroDivisionError"):
        load_plugin(broken)
    with pytest.raises(PluginLoadError):
        load_plugin(find_plugin("gone", SCORERS))
    assert load_plugin(find_plugin("format", SCORERS)).__name__ == "Format"


def test_a_plugin_that_lacks_its_extra_names_the_command(site: Path) -> None:
    install(
        site, "needy-plugin", {"guerdon.verifiers": {"needy": "needy_plugin:f"}}, "import nowhere_to_be_found"
    )
    with (site / "needy_plugin-1.5.dist-info" / "METADATA").open("a") as metadata:
        metadata.write('Requires-Dist: nowhere-to-be-found>=2; extra == "judge"\n')
    with pytest.raises(MissingDependencyError, match=r"pip install 'needy-plugin\[judge\]'"):
        load_plugin(find_plugin("needy", SCORERS))


def test_two_plugins_of_one_name_need_the_qualified_name(site: Path) -> None:
    for name in ("one-dist", "two-dist"):
        install(
            site,
            name,
            {"guerdon.verifiers": {"same": f"{name.replace('-', '_')}:f"}},
            "def f(completion): return 1",
        )
    with pytest.raises(DuplicatePluginError, match=r"one-dist/same .*two-dist/same"):
        find_plugin("same", SCORERS)
    assert find_plugin("two-dist/same", SCORERS).target == "two_dist:f"


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(PluginNotFoundError, match="Did you mean 'format'"):
        find_plugin("fromat", SCORERS)
    with pytest.raises(PluginNotFoundError, match="does not exist"):
        find_plugin("./nowhere.py:f", SCORERS)


def test_a_name_of_another_kind_says_what_it_is() -> None:
    with pytest.raises(PluginNotFoundError, match=r"named 'grpo', which is stage 'grpo' \(guerdon "):
        find_plugin("grpo", SCORERS)
    with pytest.raises(PluginNotFoundError, match=r"'guerdon plugins' lists them all\.$"):
        find_plugin("math", [Kind.RECIPE])


def test_installed_plugins_reads_each_distribution_once(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    kinds = ("verifiers", "rewards", "sources", "stages")
    install(site, "many-plugin", {f"guerdon.{kind}": {"a": "many:a", "b": "many:b"} for kind in kinds})
    parsed: list[str] = []
    of = discovery._name_and_version

    def counted(distribution: metadata.Distribution | None) -> tuple[str, str]:
        name, version = of(distribution)
        parsed.append(name)
        return name, version

    monkeypatch.setattr(discovery, "_name_and_version", counted)
    assert len([plugin for plugin in installed_plugins() if plugin.distribution == "many-plugin"]) == 8
    assert parsed.count("many-plugin") == 1
    assert "pytest" not in parsed  # it registers no plugin


def test_import_strings_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Outer:\n    def f(completion): return 1\n")
    found = find_plugin("./mine.py:Outer.f", SCORERS, tmp_path)
    assert load_plugin(found)("x") == 1
    assert found.distribution == "file"
    before = found.version
    (tmp_path / "mine.py").write_text("def f(completion): return 2\n")
    assert find_plugin("./mine.py:f", SCORERS, tmp_path).version != before
    stdlib = find_plugin("operator:eq", SCORERS)
    assert (stdlib.distribution, load_plugin(stdlib)(1, 1)) == ("-", True)
    assert find_plugin("pluggy:HookspecMarker", SCORERS).distribution == "pluggy"


def test_a_module_of_no_distribution_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "rewards.py").write_text("def f(completion): return 1\n")
    before = find_plugin("package.rewards:f", SCORERS, tmp_path)
    (tmp_path / "package" / "rewards.py").write_text("def f(completion): return 2\n")
    after = find_plugin("package.rewards:f", SCORERS, tmp_path)
    assert before.version != after.version != "-"


def test_a_file_may_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_plugin.py").write_text("VALUE = 7\n")
    (tmp_path / "a_plugin.py").write_text(
        "from neighbour_of_a_plugin import VALUE\ndef f(completion): return VALUE\n"
    )
    assert load_plugin(find_plugin("./a_plugin.py:f", SCORERS, tmp_path), tmp_path)("x") == 7


@pytest.mark.parametrize(
    ("spec", "fix"),
    [
        ("./no.py", r"Write \./no\.py:NAME\."),
        ("m.py", r"Write m\.py:NAME\."),
        ("./rows.jsonl:x", r"Write \./file\.py:NAME or package\.module:NAME"),
        ("..x:f", "package.module:NAME"),
        (":f", "package.module:NAME"),
    ],
)
def test_find_plugin_of_a_spec_that_cannot_be_imported_says_what_to_write(spec: str, fix: str) -> None:
    with pytest.raises(PluginNotFoundError, match=fix) as raised:
        find_plugin(spec, SCORERS)
    assert "Installed" not in str(raised.value)
