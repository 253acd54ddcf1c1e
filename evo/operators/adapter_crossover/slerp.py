"""Crossover along the arc between both updates, so that the child is no shorter than its parents."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.operators.adapter_crossover.base import AdapterCrossover, check_alike
from evo.operators.adapter_crossover.exact import merge_each
from fitness.adapter import AdapterStack
from fitness.checks import check_number
from fitness.errors import ConfigError

_STRAIGHT = 1e-3
"""Sine of the angle below which the arc is a line (it differs by less than its square) or, near 180 degrees, any."""


@dataclass(frozen=True, kw_only=True)
class SlerpCrossover(AdapterCrossover):
    """Spherical linear interpolation (Shoemake 1985, https://doi.org/10.1145/325334.325242) of each module's delta W.

    `delta = sin((1 - t) w) / sin(w) * delta_1 + sin(t w) / sin(w) * delta_2`, with w the angle between both as vectors;
    linear where w is next to 0 or 180 degrees or a delta W is zero. The mean of two unrelated updates is shorter than
    either by the square root of 2; this is not. The angle comes from the factors, and `merge` truncates the sum to rank
    r. With `split`, a child leans to one parent up to a random module and to the other from there on, as in M2N2
    (Abrantes et al. 2025, https://arxiv.org/abs/2508.16204), whose split may also fall within a matrix.
    """

    point: float | None = None
    """t, the way from the first parent (0) to the second (1); None: drawn for each couple."""
    split: bool = False
    """Whether modules, in the order of their names, have 1 - t instead of t from a random place on."""

    def __post_init__(self) -> None:
        """Refuse points off the arc."""
        if self.point is not None:
            check_number("point", self.point, 0.0, 1.0)
        if not isinstance(self.split, bool):
            raise ConfigError(f"split: expected true or false, got {self.split!r}")

    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`."""
        check_alike((first, second))
        couples, modules = len(first), first.spec.modules
        t = rng.random(couples) if self.point is None else np.full(couples, self.point)
        turn = rng.integers(len(modules) + 1, size=couples) if self.split else np.full(couples, len(modules))
        shares = {
            name: _shares(_cosine(first, second, name), np.where(place < turn, t, 1 - t))
            for place, name in enumerate(modules)
        }
        return merge_each(first, second, shares)


def _shares(cosine: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both parents' weights [2, C] at `t` [C]; see `SlerpCrossover`."""
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    sine = np.sin(angle)
    line = ~(sine > _STRAIGHT)
    arc = np.sin([(1 - t) * angle, t * angle]) / np.where(line, 1.0, sine)
    return np.where(line, [1 - t, t], arc)


def _cosine(first: AdapterStack, second: AdapterStack, name: str) -> NDArray[np.float64]:
    """Return the cosine [C] of the angle between both parents' delta W; 1 where one is zero."""
    one, two = ((stack.b[name].double(), stack.a[name].double()) for stack in (first, second))
    length = (_inner(one, one) * _inner(two, two)).sqrt()
    cosine = torch.where(length > 0, _inner(one, two) / length, 1.0)
    return cosine.numpy()


def _inner(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> Tensor:
    """Return the inner products [C] of `B1 A1` and `B2 A2`: the sum over `(B1^T B2) * (A1 A2^T)`."""
    (up, down), (other_up, other_down) = one, two
    return ((up.mT @ other_up) * (down @ other_down.mT)).sum(dim=(1, 2))
