"""The first ten minutes of a new user, timed: ``python tests/benchmarks/first_ten_minutes.py FOLDER``.

In an empty folder, with a fresh environment: README's first line, then what a new user tries next. Each command is
printed with its wall time, its exit status and the end of its output. ``--local-index`` keeps this machine's pip
settings; without it pip sees the public index alone.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

ROLLOUTS = (
    r'{"prompt": "2 + 2 =", "completion": "2 + 2 = \\boxed{4}", "reference": "4"}'
    "\n"
    r'{"prompt": "3 + 4 =", "completion": "I think it is 8.", "reference": "7"}'
    "\n"
)

COMMANDS = (
    "guerdon --help",
    "guerdon doctor",
    "guerdon plugins",
    "guerdon score rollouts.jsonl --use math -o scored.jsonl",
    "guerdon new verifier shout",
    "guerdon check r1-zero-mini",
    "guerdon run r1-zero-mini",
    "guerdon card runs/r1-zero-mini",
    "guerdon runn r1-zero-mini",
)


def first_line() -> str:
    """Return the install command of README's first line, with the checkout's paths."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- first line -->.*?```sh\n.*?(pip install .*?) &&", readme, re.DOTALL)
    assert match, "README's first line has no 'pip install … &&'"
    return match[1].replace("constraints.txt", f"{ROOT}/constraints.txt").replace("'.[", f"'{ROOT}[")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--local-index", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True)
    (folder / "rollouts.jsonl").write_text(ROLLOUTS, encoding="utf-8")
    variables = {**os.environ, "PATH": f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    if not arguments.local_index:
        for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
            variables.pop(name, None)
        variables["PIP_CONFIG_FILE"] = os.devnull
    started = time.monotonic()
    for command in (f"{sys.executable} -m venv .venv", f"{first_line()} --quiet", *COMMANDS):
        before = time.monotonic()
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        sys.stdout.write(f"{time.monotonic() - before:7.1f} s  exit {done.returncode}  {command}\n")
        for line in done.stdout.strip().splitlines()[-12:]:
            sys.stdout.write(f"    {line}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.monotonic() - started:7.1f} s  in all\n")


if __name__ == "__main__":
    main()
