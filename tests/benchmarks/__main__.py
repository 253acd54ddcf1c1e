"""Measure: `python -m tests.benchmarks [--repeats 5] [part...]`."""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from transformers.utils import logging

from tests.benchmarks import decisions, environment, lineage, loop, noise, operators, selection, training
from tests.benchmarks.findings import Finding, into_page, load, save, table
from tests.benchmarks.peers import available

PARTS: dict[str, Callable[[int], list[Finding]]] = {
    "decisions": decisions.measure,
    "training": training.measure,
    "operators": operators.measure,
    "selection": selection.measure,
    "environment": environment.measure,
    "lineage": lineage.measure,
    "noise": noise.measure,
    "loop": loop.measure,
    "audit": loop.measure_audit,
    "thousand": loop.measure_thousand,
}
USUAL = [part for part in PARTS if part != "thousand"]
FOLDER = Path("outputs/benchmarks")


def main() -> None:
    """Measure the parts, print one table, and write each part's findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure how fast Forager is.")
    parser.add_argument("--repeats", type=int, default=5, help="the median of this many turns is told (default 5)")
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"of: {', '.join(PARTS)} (default: all but thousand, which is long)"
    )
    parser.add_argument(
        "--page", type=Path, help="a page with marks (docs/performance.md) to put into what all parts last found"
    )
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"part: expected one of {', '.join(PARTS)}, got {unknown[0]!r}")
    if given.repeats < 1:
        parser.error(f"--repeats: expected an integer of at least 1, got {given.repeats}")
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    if not available():
        print("vLLM, TRL and populora are left out: `make bench-peers` installs them", file=sys.stderr)
    found: list[Finding] = []
    for part in given.parts or USUAL:
        started = time.perf_counter()
        findings = PARTS[part](given.repeats)
        path = save(FOLDER, part, findings)
        print(f"{part}: {time.perf_counter() - started:.0f} s, {path}", file=sys.stderr, flush=True)
        found += findings
    print(table(found))
    if given.page:
        into_page(given.page, [finding for part in PARTS for finding in load(FOLDER, part)])


if __name__ == "__main__":
    main()
