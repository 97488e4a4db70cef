"""``load_object``: an object that a plugin's param names."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon.errors import PluginLoadError, PluginNotFoundError
from guerdon.plugins.objects import load_object


def test_load_object_reads_import_strings_and_files(tmp_path: Path) -> None:
    (tmp_path / "own_scorers.py").write_text("class Scorers:\n    best = 7\n")
    assert load_object("json.decoder:JSONDecoder.decode").__name__ == "decode"
    assert load_object("./own_scorers.py:Scorers.best", tmp_path) == 7
    assert load_object("own_scorers:Scorers.best", tmp_path) == 7


@pytest.mark.parametrize("name", ["json", "", "./own_scorers.py", "a b:c", "./nowhere.py:x"])
def test_load_object_without_an_object_says_what_to_write(name: str, tmp_path: Path) -> None:
    with pytest.raises(PluginNotFoundError, match=r"Write|does not exist"):
        load_object(name, tmp_path)


def test_load_object_of_a_package_that_gives_names_of_its_modules_lists_them() -> None:
    with pytest.raises(PluginLoadError, match=r"defines no 'lods'\. Did you mean 'loads'\?"):
        load_object("json:lods")
    with pytest.raises(
        PluginLoadError, match=r"asyncio defines no .Lok.\. Did you mean .Lock.\? It defines: [A-Z]"
    ):
        load_object("asyncio:Lok")
