import inspect
import pickle

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
