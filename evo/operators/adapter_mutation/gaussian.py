"""Gaussian noise on the factors, in proportion to what each module already holds."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.operators.adapter_mutation.base import AdapterMutation, as_steps
from fitness.adapter import AdapterStack
from fitness.checks import check_number
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GaussianMutation(AdapterMutation):
    """`B' = B + step * scale * N(0, 1)`, with one scale per adapter and module.

    The scale is the root mean square of B, but never less than a floor; else an adapter that starts at B = 0 could not
    move, and one that has moved a little would move ever less. The floor is chosen by its effect: noise of that size on
    B changes the module's output by `reach` (root mean square) for inputs of root mean square 1: `floor = reach /
    (scaling * sqrt(rank * in_features) * rms(A))`.
    """

    reach: float = 0.1
    """Output change at step size 1 where B is zero; a language model's projections put out about 1. Above 0."""
    down: bool = False
    """Whether A gets noise too, of step * rms(A). Off, adapters of a run keep aligned rows."""

    def __post_init__(self) -> None:
        """Refuse a reach that would leave all-zero adapters where they are."""
        check_number("reach", self.reach, 1e-9)
        if not isinstance(self.down, bool):
            raise ConfigError(f"down: expected true or false, got {self.down!r}")

    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the mutants; see `AdapterMutation.mutate`."""
        stack.check_uniform()
        steps = as_steps(step_sizes, len(stack))
        a, b = dict(stack.a), dict(stack.b)
        for name, fan_in, _ in stack.spec.shapes:
            down, up = stack.a[name], stack.b[name]
            gain = stack.spec.scaling * math.sqrt(stack.spec.rank * fan_in) * _rms(down)
            b[name] = up + steps * torch.maximum(_rms(up), self.reach / gain.clamp_min(1e-12)) * _noise(up, rng)
            a[name] = down + steps * _rms(down) * _noise(down, rng) if self.down else down
        return AdapterStack(stack.spec, a, b)


def _rms(factor: Tensor) -> Tensor:
    """Return the root mean square of each adapter's factor, [P, 1, 1]."""
    return factor.pow(2).mean(dim=(1, 2), keepdim=True).sqrt()


def _noise(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Return standard normal noise of the shape of `like`."""
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), dtype=np.float32))
