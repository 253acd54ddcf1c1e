"""Job folders: the model, the adapters and what to do with them, in files that any package can read.

Owns the layout (`model/`, `adapters/0..P-1/`, `job.json`) on the writing side.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fitness.adapter import Adapter, save_adapter


@dataclass(frozen=True, kw_only=True)
class DecisionJob:
    """n decisions, one forward each."""

    prompts: Sequence[Sequence[int]]
    """n whole prompts, strategy first."""
    strategy_lengths: Sequence[int]
    """n; how many of a prompt's tokens are the strategy."""
    seats: Sequence[int]
    """n; whose adapter decides."""
    actions: Sequence[int]
    """Tokens to choose from."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One optimisation step for each of P adapters."""

    rows: Sequence[Sequence[Sequence[int]]]
    """P lists of n rows of tokens."""
    labels: Sequence[Sequence[int]]
    """P lists of the n tokens to be predicted after the rows."""
    learning_rate: float


def write_job(folder: Path, model: Path, adapters: Sequence[Adapter], job: DecisionJob | TrainingJob) -> Path:
    """Write a job and return its folder."""
    shutil.copytree(model, folder / "model")
    for index, adapter in enumerate(adapters):
        save_adapter(adapter, folder / "adapters" / str(index), str(folder / "model"))
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    return folder
