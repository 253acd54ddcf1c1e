"""How often does a comparison find what is not there? `python -m tests.benchmarks.rates [--comparisons 1500]`.

Arms whose runs are drawn from the same normal distribution are compared as `forager compare` compares runs; whatever is
declared is then an error. Prints, for each number of seeds, how often each statistic errs.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from evo.report.differences import difference, mann_whitney, probability_of_improvement
from evo.report.statistics import Interval, stratified_interval

SEEDS = (5, 10)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of comparisons, 0 to 1; the nominal value of each is 0.05."""

    test: float
    """In which Mann and Whitney's p, of one pair alone, is below 0.05."""
    difference: float
    """In which the interval of the difference leaves out 0."""
    chance: float
    """In which the interval of the chance to be better leaves out 1/2."""
    score: float
    """In which the interval of the first arm's score leaves out the true one."""


def measure(seeds: int, comparisons: int, rng: np.random.Generator) -> Rates:
    """Return how often two arms of so many seeds each, which are the same, are said to differ."""
    found = np.zeros(4)
    for _ in range(comparisons):
        a, b = rng.normal(0, 1, (2, seeds))
        found += [
            mann_whitney([a], [b]) < 0.05,
            _leaves_out(difference([a], [b], rng), 0.0),
            _leaves_out(probability_of_improvement([a], [b], rng), 0.5),
            _leaves_out(stratified_interval([a], rng), 0.0),
        ]
    test, apart, chance, score = (found / comparisons).tolist()
    return Rates(test=test, difference=apart, chance=chance, score=score)


def _leaves_out(interval: Interval, truth: float) -> bool:
    return not interval.low <= truth <= interval.high


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rates", description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1500, help="of each number of seeds (default 1500)")
    comparisons = parser.parse_args().comparisons
    print("| seeds | p < 0.05 | difference without 0 | chance without 1/2 | score without the true one |")
    print("|---|---|---|---|---|")
    for seeds in SEEDS:
        rates = measure(seeds, comparisons, np.random.default_rng(seeds))
        shares = (rates.test, rates.difference, rates.chance, rates.score)
        print(f"| {seeds} | {' | '.join(f'{100 * share:.1f}%' for share in shares)} |")


if __name__ == "__main__":
    main()
