"""What is better: the numbers of a run that a study can raise or lower.

Owns reading them from a run's folder. By default that is `median_score`, of the last generation on the worlds that it
lived in: whoever chooses settings by held-out worlds has no held-out worlds left. To add a goal, add a `Goal` to
`GOALS`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evo.records import GenerationRecord, Summary
from evo.report.reading import read_generations, read_summary
from fitness.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run came to."""

    generations: tuple[GenerationRecord, ...]
    """At least one, in order."""
    summary: Summary

    @property
    def last(self) -> GenerationRecord:
        """The last generation, which lives in `finals` times as many worlds."""
        return self.generations[-1]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One number to raise or to lower."""

    about: str
    """In a few words."""
    direction: Literal["maximize", "minimize"]
    """maximize or minimize, as Optuna calls it."""
    read: Callable[[Outcome], float]
    """Reads the number; NaN if there is none."""


def _evolved(outcome: Outcome) -> float:
    return dict(outcome.summary.heldout)["evolved"].score


GOALS: Mapping[str, Goal] = {
    "median_score": Goal(
        about="median score of the last generation, on its own worlds",
        direction="maximize",
        read=lambda run: run.last.median,
    ),
    "mean_score": Goal(
        about="mean score of the last generation, on its own worlds",
        direction="maximize",
        read=lambda run: run.last.mean,
    ),
    "best_score": Goal(
        about="best score of the last generation, on its own worlds; the more genomes, the luckier the best",
        direction="maximize",
        read=lambda run: run.last.best,
    ),
    "heldout_score": Goal(
        about="score of the evolved genome on held-out worlds, which then are held out no more",
        direction="maximize",
        read=_evolved,
    ),
    "flops": Goal(
        about="floating-point operations of deciding and of training",
        direction="minimize",
        read=lambda run: run.summary.budget.forward_flops + run.summary.budget.training_flops,
    ),
    "decisions": Goal(
        about="decisions taken", direction="minimize", read=lambda run: float(run.summary.budget.decisions)
    ),
    "seconds": Goal(
        about="seconds of all generations, on this machine and beside whatever else it does",
        direction="minimize",
        read=lambda run: math.fsum(one.seconds for one in run.generations),
    ),
}


def read_outcome(folder: Path) -> Outcome:
    """Return what the finished run in `folder` came to.

    Raises:
        OutputError: a file of it is missing or cannot be read.
    """
    generations, summary = read_generations(folder), read_summary(folder)
    if summary is None or not generations:
        raise OutputError(f"{folder}: expected a finished run, got one without summary.json or generations.parquet")
    return Outcome(generations=generations, summary=summary)
