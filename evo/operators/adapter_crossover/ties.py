"""Crossover that settles conflicts of sign element by element: TIES, on the dense delta W."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evo.operators.adapter_crossover.base import AdapterCrossover, check_alike, check_finite
from evo.operators.adapter_crossover.exact import merge
from fitness.adapter import AdapterStack
from fitness.checks import check_integer, check_number
from fitness.errors import ConfigError

_TOGETHER = 1 << 24
"""Elements of delta W that are worked on together, in double precision."""


@dataclass(frozen=True, kw_only=True)
class TiesCrossover(AdapterCrossover):
    """Trim, elect sign, disjoint mean (Yadav et al. 2023, https://arxiv.org/abs/2306.01708), then back to rank r.

    Each parent keeps the `density` of its elements that are largest by magnitude; an element's sign is that of the sum
    of what was kept; the child's element is the mean of the parents that kept it with this sign. What comes out has
    full rank: the child is its best approximation of rank r, by eigenvectors of the smaller Gram matrix. An adapter
    that is far from low rank after trimming loses much there; `ExactCrossover` loses least.
    """

    density: float = 0.2
    """Share of each module's elements that a parent keeps; above 0, at most 1."""
    largest: int = 1 << 21
    """Most elements (in x out) that a module may have: the work grows with in x out x the lesser of both."""

    def __post_init__(self) -> None:
        """Refuse densities at which nothing is left, and sizes that fit no module."""
        check_number("density", self.density, 1e-6, 1.0)
        check_integer("largest", self.largest, 1)

    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`. No chance in it.

        Raises:
            ConfigError: a module is larger than `largest`.
        """
        check_alike((first, second))
        check_finite((first, second))
        a, b = {}, {}
        for name, fan_in, fan_out in first.spec.shapes:
            if fan_in * fan_out > self.largest:
                raise ConfigError(
                    f"largest: expected at least {fan_in * fan_out} for {name} of {fan_in} x {fan_out}, "
                    f"got {self.largest}"
                )
            pieces = zip(*(_pieces(p, name, fan_in * fan_out) for p in (first, second)), strict=True)
            parts = [_factors(self._elect(torch.stack(deltas)), first.spec.rank) for deltas in pieces]
            b[name], a[name] = (torch.cat(side).float() for side in zip(*parts, strict=True))
        # The first parent counts nothing here: it gives the measure of A's rows, and rows where rank is to spare.
        return merge((first, AdapterStack(first.spec, a, b)), (0.0, 1.0))

    def _elect(self, deltas: Tensor) -> Tensor:
        """Return the merged [n, out, in] of both parents' [2, n, out, in]."""
        sizes = deltas.abs().flatten(2).numpy()
        place = sizes.shape[2] - max(1, round(self.density * sizes.shape[2]))
        least = torch.from_numpy(np.partition(sizes, place, axis=2)[..., place, None, None])  # PyTorch is slower here
        kept = torch.where(deltas.abs() >= least, deltas, 0.0)
        sign = kept.sum(dim=0).sign()
        agree = (kept.sign() == sign) & (sign != 0)
        return (kept * agree).sum(dim=0) / agree.sum(dim=0).clamp_min(1)


def _pieces(stack: AdapterStack, name: str, elements: int) -> Iterator[Tensor]:
    """Yield `B A` [n, out, in] in double precision, of as many adapters at a time as memory should hold."""
    size = max(1, _TOGETHER // elements)
    for up, down in zip(stack.b[name].split(size), stack.a[name].split(size), strict=True):
        yield up.double() @ down.double()


def _factors(dense: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return B [n, out, r] and A [n, r, in] of the best approximation of rank r: `M` projected on singular vectors."""
    if dense.shape[1] > dense.shape[2]:
        up, down = _factors(dense.mT, rank)
        return down.mT, up.mT
    vectors = torch.linalg.eigh(dense @ dense.mT).eigenvectors[:, :, -rank:]
    up = torch.nn.functional.pad(vectors, (0, rank - vectors.shape[2]))
    return up, up.mT @ dense
