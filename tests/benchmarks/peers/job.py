"""What a job folder holds, as the rivals read it, and what a rival is.

Owns the reading of `model/`, `adapters/0..P-1/` and `job.json`. Runs in the peers' Python.
"""

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor

_PREFIX = "base_model.model."


class Rival(Protocol):
    """One way to do a job, made from the job's folder."""

    def prepare(self) -> None:
        """Bring everything to the same start before each run; not part of the job's time."""

    def work(self) -> Any:
        """Do the whole job once and return its numbers, as JSON can hold them."""


class Job:
    """A job folder."""

    def __init__(self, folder: Path) -> None:
        self.model = folder / "model"
        self.told: dict[str, Any] = json.loads((folder / "job.json").read_text())
        self.adapters = sorted((folder / "adapters").iterdir(), key=lambda place: int(place.name))

    def config(self) -> dict[str, Any]:
        """Return the first adapter's settings, which all share."""
        settings: dict[str, Any] = json.loads((self.adapters[0] / "adapter_config.json").read_text())
        return settings

    def factors(self, index: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return one adapter's down and up matrices by module name, as PEFT shapes them."""
        tensors = load_file(self.adapters[index] / "adapter_model.safetensors")
        down, up = (
            {k[len(_PREFIX) : -len(end)]: t for k, t in tensors.items() if k.endswith(end)}
            for end in (".lora_A.weight", ".lora_B.weight")
        )
        return down, up


def left_padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask [n, T] of ragged rows that all end at the last position."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
