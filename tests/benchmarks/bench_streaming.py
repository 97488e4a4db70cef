"""Seconds and memory of the start of a ``grpo`` stage, with its rows in memory and with ``streaming``.

    python tests/benchmarks/bench_streaming.py

Each run is a command of its own, ``guerdon run`` with one step of a random model. So its time includes the imports,
the checks and the checksum of the file. The time is that of the CPU, because a shared machine changes the other. The
second table reads all rows of the largest file as a stream, without a training. Its time is what a resume at the end of
the file adds.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

REWARD = "def letters(completion):\n    return sum(map(str.isascii, completion)) / 10\n"
BATCH = 32


def write_rows(path: Path, count: int) -> None:
    """Write questions of the size of GSM8K's."""
    words = (
        "A farmer has some boxes of apples, gives a part of them away and wants to know how many are left. "
        * 2
    )
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {"prompt": f"{number}: {words}", "reference": str(number), "task": "apples"}
            file.write(json.dumps(row) + "\n")


def run(folder: Path, rows: Path, *, streaming: bool) -> tuple[float, float]:
    """Return the CPU seconds of a run of one step, and its peak of memory in MB."""
    manifest = {
        "name": "streaming",
        "model": "./tiny",
        "scoring": {"workers": 1},
        "stages": [
            {
                "id": "rl",
                "use": "grpo",
                "data": [{"use": "files", "params": {"path": rows.name}}],
                "rewards": [{"use": "./m.py:letters"}],
                "params": {
                    "streaming": streaming,
                    "max_steps": 1,
                    "num_generations": 4,
                    "per_device_train_batch_size": BATCH,
                    "max_completion_length": 4,
                },
            }
        ],
    }
    (folder / "m.json").write_text(json.dumps(manifest))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, "-m", "guerdon", "run", "m.json", "-o", f"{out}/run"]
        with (folder / "output.txt").open("w") as output:
            child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit((folder / "output.txt").read_text()[-3000:])
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def resident() -> float:
    """Return this process's memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def read_all(rows: Path, count: int) -> tuple[float, list[float]]:
    """Return the CPU seconds to read all rows as a stream, and the memory at the first, middle and last batch in MB."""
    from guerdon.training.streaming import RowStream
    from guerdon_plugins.sources.files import Files

    stream = RowStream(lambda: iter(Files(str(rows))), BATCH, shuffle_seed=0)
    batches = count // BATCH
    began = time.process_time()
    memory = []
    for number in (0, batches // 2, batches - 1):
        stream.batch(number)
        memory.append(resident())
    return time.process_time() - began, memory


def told(line: str) -> None:
    """Print a line of a table."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "m.py").write_text(REWARD)
        fixtures = Path(__file__).parents[1] / "fixtures"
        save: Any = runpy.run_path(str(fixtures / "tiny_model.py"))["save_tiny_model"]
        save(folder / "tiny", max_position_embeddings=1024)
        told("| rows | in memory, CPU s | in memory, MB | streaming, CPU s | streaming, MB |")
        told("|---|---|---|---|---|")
        for count in arguments.rows:
            rows = folder / f"{count}.jsonl"
            write_rows(rows, count)
            cells = []
            for streaming in (False, True):
                measured = [run(folder, rows, streaming=streaming) for _ in range(arguments.runs)]
                seconds, peaks = zip(*measured, strict=True)
                cells += [f"{statistics.median(seconds):.1f}", f"{statistics.median(peaks):.0f}"]
            told(f"| {count:,} | {' | '.join(cells)} |")
        last = max(arguments.rows)
        took, memory = read_all(folder / f"{last}.jsonl", last)
        told("")
        told("| rows read | CPU s | MB at the first batch | in the middle | at the last batch |")
        told("|---|---|---|---|---|")
        told(f"| {last:,} | {took:.1f} | {' | '.join(f'{one:.0f}' for one in memory)} |")


if __name__ == "__main__":
    main()
