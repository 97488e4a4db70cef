"""The command line among wrong plugins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[1] / "fixtures" / "wrong_plugins.py"


@pytest.fixture
def guerdon(call: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The command line, in a folder with the wrong plugins."""
    shutil.copy(PLUGINS, tmp_path / "p.py")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return call
