import importlib
import inspect
import pickle
from pathlib import Path

import pytest

from guerdon import errors

ALL = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.GuerdonError)]
ARGUMENTS = {
    errors.MissingDependencyError: ("source 'hub'", "datasets", "train"),
    errors.RunInterruptedError: ("SIGTERM stopped it", 15),
}


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_errors_pickle_and_have_an_exit_code(error: type[errors.GuerdonError]) -> None:
    made = error(*ARGUMENTS.get(error, ("what",)))
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is error
    assert str(again) == str(made)
    assert again.exit_code == made.exit_code
    assert made.exit_code in (1, 2, 3, 128 + 15)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_of_the_docstring(error: type[errors.GuerdonError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_a_missing_dependency_names_the_command_that_brings_it() -> None:
    assert "pip install 'guerdon[train]'" in str(
        errors.MissingDependencyError("source 'hub'", "datasets", "train")
    )


@pytest.mark.parametrize(
    ("module", "place", "named"),
    [
        ("no_such_package.part", {"extra": "train"}, r"'no_such_package'.*'guerdon\[train\]'"),
        ("no_such_package", {"package": "no_such_package"}, "'no_such_package'.*pip install no-such-package"),
    ],
)
def test_library_of_a_feature_that_is_not_installed_says_how_to_install_it(
    module: str, place: dict[str, str], named: str
) -> None:
    with (
        pytest.raises(errors.MissingDependencyError, match=f"source 'hub' needs the package {named}"),
        errors.library_of("source 'hub'", **place),
    ):
        importlib.import_module(module)


@pytest.mark.parametrize("place", [{"extra": "train"}, {"package": "broken"}])
def test_library_of_a_feature_that_is_broken_raises_its_own_error(
    place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("from math import no_such_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no_such_name") as raised, errors.library_of("it", **place):
        importlib.import_module("broken")
    assert not isinstance(raised.value, errors.GuerdonError)


def test_library_of_a_package_that_lacks_another_raises_its_own_error() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match="no_such_package"),
        errors.library_of("it", package="another"),
    ):
        importlib.import_module("no_such_package")
