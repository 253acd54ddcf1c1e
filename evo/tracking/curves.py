"""What is logged of a generation, and under which name.

Owns the names of all curves and the numbers behind them. Does not own where they go (wandb.py) or what a dashboard
shows of them (workspace.py). To log one more number of a generation, add it to `curves`; to have it against decisions
as well, add its last name to `BY_DECISIONS`.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from evo.records import GenerationRecord, GenomeRow, Seconds, Summary
from evo.report.ancestry import Ancestor

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the members' scores over all their worlds so far, from the lowest."""
BANDS = tuple(f"q{round(100 * share):02d}" for share in QUANTILES)
BY_DECISIONS = ("best", "median", "mean", "mean_lifespan", *BANDS)
"""Curves `population/NAME` that are logged as `by_decisions/NAME`, too: over what was spent, not over generations."""
AXES = ("generation", "decisions")
"""Step metrics; `decisions` are those taken since the run began."""

GENOMES = ("genome", "parents", "operator", "strategy", "adapter", "fitness", "count", "standard_error", "score")
"""Columns of a table of genomes."""
LINEAGE = ("genome", "born", "last", *GENOMES[1:])
"""Columns of the table of everybody who ever lived: with the generations of birth and of the last life."""


def quantiles(rows: Iterable[GenomeRow]) -> tuple[float, ...]:
    """Return the quantiles of the members' scores, one for each of `QUANTILES`; NaN if nobody has one.

    Example: five members with scores 0, 1, 2, 3, 4 give (0.2, 1.0, 2.0, 3.0, 3.8).
    """
    scores = [row.score for row in rows if math.isfinite(row.score)]
    return tuple(np.quantile(scores, QUANTILES).tolist()) if scores else (math.nan,) * len(QUANTILES)


def curves(record: GenerationRecord, rows: Sequence[GenomeRow]) -> dict[str, float]:
    """Return all numbers of a generation by name, its axes among them."""
    own = {
        "population/best": record.best,
        "population/median": record.median,
        "population/mean": record.mean,
        "population/best_lifespan": record.best_lifespan,
        "population/mean_lifespan": record.mean_lifespan,
        **{f"population/{name}": value for name, value in zip(BANDS, quantiles(rows), strict=True)},
        "population/strategy_diversity": record.strategy_diversity,
        "population/text_diversity": record.text_diversity,
        "population/adapter_diversity": record.adapter_diversity,
        "population/behaviour_diversity": record.behaviour_diversity,
        "population/founders": record.founders,
        "population/ancestor": record.ancestor,
        "population/copies": record.copies,
        "population/genomes": record.genomes,
        "population/episodes": record.episodes,
        "population/decisions": record.decisions,
        "population/forward_flops": record.forward_flops,
        "population/training_flops": record.training_flops,
        "population/unreadable": record.unreadable,
        **{f"deaths/{cause}": count for cause, count in record.deaths},
        "finetune/ess": record.ess,
        "finetune/explained": record.explained,
        "finetune/loss": record.loss,
        "finetune/kl": record.kl,
        "finetune/accepted": record.accepted,
        "finetune/refused": record.refused,
        **{f"finetune/refused/{reason}": count for reason, count in record.refusals},
        "finetune/shrunk": record.shrunk,
        "operators/screened": record.screened,
        "operators/screen_rank": record.screen_rank,
        "operators/written": record.written,
        "operators/unusable": record.unusable,
        "seconds/generation": record.seconds,
        "seconds/rollout": record.rollout_seconds,
        "seconds/finetune": record.finetune_seconds,
        "seconds/model": record.model_seconds,
    }
    spent = {f"by_decisions/{name}": own[f"population/{name}"] for name in BY_DECISIONS}
    return {"generation": record.generation, "decisions": record.decisions, **own, **spent}


def results(summary: Summary, seconds: Seconds) -> dict[str, float]:
    """Return what a run came to and what it spent, by name."""
    values: dict[str, float] = {}
    for policy, result in summary.heldout:
        low, high = result.ci
        values |= {
            f"heldout/{policy}/score": result.score,
            f"heldout/{policy}/ci_low": low,
            f"heldout/{policy}/ci_high": high,
            f"heldout/{policy}/lifespan": result.lifespan,
            f"heldout/{policy}/episodes": result.episodes,
        }
    budget = summary.budget
    return values | {
        "budget/decisions": budget.decisions,
        "budget/forward_flops": budget.forward_flops,
        "budget/training_flops": budget.training_flops,
        "budget/wall_seconds": seconds.wall,
        "budget/model_seconds": seconds.model,
    }


def genome_cells(row: GenomeRow) -> list[object]:
    """Return a row of the table of genomes, in the order of `GENOMES`."""
    parents = " ".join(str(parent) for parent in row.parents)
    made = (row.id, parents, row.operator, row.strategy, row.adapter)
    return [*made, row.fitness, row.count, row.standard_error, row.score]


def lineage_cells(ancestor: Ancestor) -> list[object]:
    """Return a row of the table of everybody, in the order of `LINEAGE`."""
    identity, *rest = genome_cells(ancestor.last)
    return [identity, ancestor.born, ancestor.last.generation, *rest]
