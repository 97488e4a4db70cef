"""Judge pairs of answers made by grammar, whose truth mpmath or their construction knows; count what is wrong.

python tests/benchmarks/bench_math_fuzz.py [--pairs 100000] [--seed 0] [--show 20]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins" / "verifiers" / "math"))


def main() -> None:
    """Print a table of families: pairs, false positives, false negatives, unreadable."""
    from pair_fuzz import pairs

    from guerdon_plugins.verifiers.math import MathOutcome, compare

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--show", type=int, default=20, help="how many wrong verdicts to print")
    options = arguments.parse_args()
    counts: dict[str, Counter[str]] = {}
    times: list[float] = []
    shown = 0
    for pair in pairs(options.seed, options.pairs):
        started = time.process_time()
        verdict = compare(pair.answer, pair.reference)
        times.append(time.process_time() - started)
        count = counts.setdefault(pair.family, Counter())
        kind = "equal" if pair.equal else "different"
        count[kind] += 1
        wrong = ""
        if verdict.outcome is MathOutcome.UNPARSEABLE_REFERENCE:
            wrong = "refused"
        elif bool(verdict) != pair.equal:
            wrong = "false negative" if pair.equal else "false positive"
        if wrong:
            count[wrong] += 1
            if shown < options.show:
                shown += 1
                what = f"{pair.reference}  ~  {pair.answer}"
                sys.stderr.write(f"{wrong}, {pair.family}: {what}: {verdict.reason} {verdict.witness}\n")
    columns = ("equal", "different", "false positive", "false negative", "refused")
    sys.stdout.write(f"| family | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n")
    for family, count in sorted(counts.items()):
        sys.stdout.write(f"| {family} | {' | '.join(f'{count[column]:,}' for column in columns)} |\n")
    total = sum(counts.values(), Counter())
    sys.stdout.write(f"| all | {' | '.join(f'{total[column]:,}' for column in columns)} |\n")
    times.sort()
    rate, p99 = len(times) / sum(times), 1000 * times[int(0.99 * len(times))]
    sys.stdout.write(
        f"\n{rate:,.0f} verdicts per CPU-second, p99 {p99:.1f} CPU-ms, slowest {1000 * times[-1]:.0f} CPU-ms\n"
    )


if __name__ == "__main__":
    main()
