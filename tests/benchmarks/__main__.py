"""Measure everything: `python -m tests.benchmarks [--repeats 9] [environment] [engine]`."""

import argparse
import warnings

import torch
from transformers.utils import logging

from tests.benchmarks import engine, environment

PARTS = {"environment": environment.report, "engine": engine.report}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure how fast Forager is.")
    parser.add_argument("--repeats", type=int, default=9, help="the median of this many runs is told (default 9)")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of: {', '.join(PARTS)}")
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"part: expected one of {', '.join(PARTS)}, got {unknown[0]!r}")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    print("Rates per second of one core; medians.\n")
    for part in given.parts or PARTS:
        print(PARTS[part](given.repeats), flush=True)


if __name__ == "__main__":
    main()
