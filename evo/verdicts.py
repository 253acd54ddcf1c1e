"""What was said of tuned adapters: by the trainer's guards at once, and by the trial beside their parents later.

Owns `Verdict`, a row of verdicts.parquet, and the counts of why adapters were refused. Does not own the guards
(`finetune.trainer`) or the trial (`evo.algorithms.base.judge`).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from evo.algorithms.base import Judgement
from evo.genome import Genome
from finetune.trainer import GUARDS, Training

REASONS = (*GUARDS, "worse")
"""Why a tuned adapter may be refused; the last is the trial's."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was said of one tuned adapter; NaN where nothing was measured."""

    generation: int
    """In which it was said."""
    parent: int
    """Id of the genome that was tuned."""
    child: int | None
    """Id of what came of it; None if the guards refused it, so that nothing did."""
    stage: str
    """"training" for the guards, "trial" for the worlds that parent and child shared."""
    accepted: bool
    """Whether it goes on."""
    reason: str
    """In words; empty where the guards had no objection."""
    loss: float = math.nan
    """Of training."""
    kl: float = math.nan
    """Mean divergence from the parent, nats a decision."""
    entropy: float = math.nan
    """Mean entropy of its decisions, nats."""
    effective_share: float = math.nan
    """Effective sample size of its training, as a share."""
    kept: float = math.nan
    """Share of the way from the parent that was left to it."""
    difference: float = math.nan
    """Mean lifespan beside the parent's, in steps."""
    standard_error: float = math.nan
    """Of that difference."""

    def row(self) -> dict[str, object]:
        """Return the row of the table `verdicts`, without its `run`."""
        return asdict(self)


def of_training(
    generation: int, elites: Sequence[Genome], training: Training | None, adopted: dict[int, int]
) -> list[Verdict]:
    """Return what the guards said; `adopted` names the child of each elite that has one."""
    return [
        Verdict(
            generation=generation,
            parent=elite.id,
            child=adopted.get(elite.id),
            stage="training",
            accepted=one.accepted,
            reason=one.reason,
            loss=one.loss,
            kl=one.kl,
            entropy=one.entropy,
            effective_share=one.effective_share,
            kept=one.kept,
        )
        for elite, one in zip(elites, training.tuned if training else (), strict=True)
    ]


def of_trials(generation: int, judgements: Sequence[Judgement]) -> list[Verdict]:
    """Return what the trials of a generation said."""
    return [
        Verdict(
            generation=generation,
            parent=one.parent,
            child=one.child,
            stage="trial",
            accepted=one.accepted,
            reason=one.reason,
            difference=one.difference,
            standard_error=one.standard_error,
        )
        for one in judgements
    ]


def refusals(verdicts: Sequence[Verdict]) -> tuple[tuple[str, int], ...]:
    """Count why adapters were refused, by `REASONS`."""
    refused = [one for one in verdicts if not one.accepted]
    said = ["worse" if one.stage == "trial" else next(r for r in GUARDS if one.reason.startswith(r)) for one in refused]
    return tuple((reason, said.count(reason)) for reason in REASONS)
