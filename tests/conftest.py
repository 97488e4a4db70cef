"""What tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A first call may import a library or compile a pattern, and CI machines are slow: time is no property under test.
# CI tries the same examples every time, so that a change is judged by what it changed; elsewhere they are new ones.
settings.register_profile("guerdon", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("guerdon")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data and graded cases, which stands beside the checkout."""
    folder = Path(os.environ.get("GUERDON_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder} (set GUERDON_SHARED to its folder)")
    return folder
