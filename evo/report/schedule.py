"""How the best genome came to be trained as it is: the replay of a run's population-based training.

Owns `schedule`: every training whose weights the best genome still has from its first parents, with the learning rate
and the beta that its ancestor had bred at that time. A single agent that is trained by it has the history of the best,
as the replay of Jaderberg et al. 2017 (https://arxiv.org/abs/1711.09846, section 4.4) has it. Trainings that were not
inherited are no part of it: with `inheritance` "baldwinian" or "none" it is empty.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.report.ancestry import rank, trace
from evo.report.reading import read_run, read_settings
from fitness.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One training on the line of descent.

    Example: `Turn(generation=4, genome=57, learning_rate=0.0021, beta=0.4)`
    """

    generation: int
    """Whose lives were trained on."""
    genome: int
    """Whom training made."""
    learning_rate: float
    """Peak of the trainer's, at that time."""
    beta: float | None
    """The method's; None where it has none."""


def schedule(folder: Path) -> tuple[Turn, ...]:
    """Return what the weights of a run's best genome were trained with, first to last.

    Args:
        folder: of a run; of one that goes on, the best is the last generation's.

    Raises:
        OutputError: it is no run's, its files cannot be read, or nobody has lived yet.
    """
    rows = read_run(folder).genomes
    if not rows:
        raise OutputError(f"{folder}: expected a run in which somebody has lived, got none")
    method: dict[str, Any] = read_settings(folder).get("finetune") or {}
    peak, beta = method.get("trainer", {}).get("learning_rate", float("nan")), method.get("beta")
    tuned = [one for one in trace(rows, _best(folder, rank(rows)[0].id)) if one.last.operator == "finetune"]
    return tuple(
        Turn(
            generation=one.born - 1,
            genome=one.last.id,
            learning_rate=peak * one.last.rate,
            beta=None if beta is None else beta * one.last.beta,
        )
        for one in tuned
    )


def told(turns: Iterable[Turn]) -> str:
    """Return a Markdown table of trainings."""
    lines = ["| generation | genome | learning rate | beta |", "|---|---|---|---|"]
    for turn in turns:
        beta = "" if turn.beta is None else f"{turn.beta:.4g}"
        lines.append(f"| {turn.generation} | {turn.genome} | {turn.learning_rate:.4g} | {beta} |")
    return "\n".join(lines)


def _best(folder: Path, otherwise: int) -> int:
    """Return the genome that a finished run names as its best."""
    path = folder / "best.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["genome"]) if path.is_file() else otherwise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: expected the best genome of a run, got {error}") from error
