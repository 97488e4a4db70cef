"""``pytest -m light`` needs no training library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
COLLECT = """
import sys
import pytest

class Collected:
    def pytest_collection_finish(self, session):
        rooms = {str(item.path.parent.relative_to(sys.argv[1])) for item in session.items}
        assert {"core/offline", "plugins/verifiers", "sandbox"} <= rooms, rooms
        assert not rooms & {"core/cli", "core/models", "core/rubric", "docs", "e2e", "plugins/stages"}, rooms

code = pytest.main(["-n0", "-q", "-m", "light", "--collect-only", "-p", "no:cacheprovider", sys.argv[1]], [Collected()])
loaded = sys.modules.keys() & {"accelerate", "datasets", "peft", "torch", "transformers", "triton", "trl", "vllm"}
assert not loaded, loaded
sys.exit(code)
"""


def test_light_collection_imports_no_training_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, str(TESTS)],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_light_test_that_imports_a_training_library_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_module.py").write_text("import torch.nn\ndef test_a(): pass\n")
    (tmp_path / "test_function.py").write_text(
        "def test_b(): import transformers\ndef test_c(): import json\n"
    )
    options = ["-n0", "-q", "-rs", "-m", "light", "-o", f"pythonpath={TESTS / 'fixtures'}"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed, 2 skipped" in done.stdout
    assert "not light: it imports torch" in done.stdout
    assert "not light: it imports transformers" in done.stdout
