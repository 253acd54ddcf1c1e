"""Crossover that is exact in delta W: the child's update is the weighted sum of its parents' updates.

Averaging factor by factor is not: `(B1 + B2)/2 @ (A1 + A2)/2` has cross terms that belong to neither parent. Here the
sum is taken of the products. Stacked factors `[w1 B1, w2 B2] [A1; A2]` are that sum; a QR of each side and an SVD of
the small core (2r x 2r) give its best approximation of rank r, exact whenever its rank is at most r, without ever
forming delta W.

Owns `merge` (any number of parents, batched over couples and over modules of one shape) and the operator on it.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evo.operators.adapter_crossover.base import AdapterCrossover
from fitness.adapter import AdapterStack, LoraSpec
from fitness.checks import check_number
from fitness.errors import AdapterError, ConfigError

_RELATIVE_RANK = 1e-7
"""Singular values below this share of the largest are lost in float32 anyway: they count as zero."""


@dataclass(frozen=True, kw_only=True)
class ExactCrossover(AdapterCrossover):
    """`delta_child = w1 * delta_1 + w2 * delta_2`, truncated to rank r where it must be."""

    weights: tuple[float, float] = (0.5, 0.5)
    """Share of the first and of the second parent; any finite numbers (beyond 0..1 extrapolates)."""
    floor: float = 0.1
    """Least length of a row of the child's A, relative to the first parent's; at least 0. See `merge`."""

    def __post_init__(self) -> None:
        """Refuse weights and floors that are no finite numbers."""
        if len(self.weights) != 2 or not all(math.isfinite(weight) for weight in self.weights):
            raise ConfigError(f"weights: expected two finite numbers, got {self.weights!r}")
        check_number("floor", self.floor, 0.0)

    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`. No chance in it."""
        return merge((first, second), self.weights, self.floor)


def merge(parents: Sequence[AdapterStack], weights: Sequence[float], floor: float = 0.1) -> AdapterStack:
    """Return the stack whose i-th delta W is the weighted sum of the parents' i-th, to rank r.

    The factors are balanced (B = U sqrt(S), A = sqrt(S) V^T), with one care for the gradient steps that follow. A
    direction in which both factors vanish gets no gradient and would be lost for good. So a row of A that would be
    shorter than `floor` times the first parent's root-mean-square row is lengthened to that (its column of B shortened,
    the product kept), and where the sum has rank q < r, the r - q spare rows are rows of the first parent's A that are
    independent of the rest, with columns of zeros in B: capacity as at birth. If every parent's B is zero, the child is
    the first parent.

    Args:
        parents: K stacks of C adapters each, of one spec; scaling (alpha / rank) is common and so drops out.
        weights: K finite numbers.
        floor: see above; 0 for strictly balanced factors.

    Raises:
        AdapterError: stacks of different specs or lengths, or factors that are not finite.
    """
    _check(parents, weights)
    spec = parents[0].spec
    a: dict[str, Tensor] = {}
    b: dict[str, Tensor] = {}
    for modules in _by_shape(spec):
        ups = [torch.stack([p.b[name] for name in modules]).double() for p in parents]
        downs = [torch.stack([p.a[name] for name in modules]).double() for p in parents]
        up, down = _merge_factors(ups, downs, weights, floor)
        for position, name in enumerate(modules):
            a[name], b[name] = down[position].float(), up[position].float()
    return AdapterStack(spec, a, b)


def _merge_factors(
    ups: Sequence[Tensor], downs: Sequence[Tensor], weights: Sequence[float], floor: float
) -> tuple[Tensor, Tensor]:
    """Return factors (up [..., out, r], down [..., r, in]) of `sum_k weights[k] * ups[k] @ downs[k]`."""
    rank = downs[0].shape[-2]
    q_up, r_up = torch.linalg.qr(torch.cat([w * up for w, up in zip(weights, ups, strict=True)], dim=-1))
    q_down, r_down = torch.linalg.qr(torch.cat(list(downs), dim=-2).mT)
    u, s, vt = torch.linalg.svd(r_up @ r_down.mT, full_matrices=False)
    left, right = _pad(q_up @ u, rank).mT, _pad(q_down @ vt.mT, rank).mT  # rows: singular directions
    strength = _pad(s[..., None, :], rank)[..., 0, :]
    alive = strength > _RELATIVE_RANK * strength[..., :1]
    length = torch.maximum(strength.sqrt(), floor * _row_scale(downs[0]))
    directions = right * alive[..., None]
    up = left * (torch.where(alive, strength / length.clamp_min(1e-300), 0.0))[..., None]
    spare = _spare_rows(downs[0], directions, alive.sum(dim=-1))
    down = torch.where(alive[..., None], directions * length[..., None], spare)
    return up.mT, down


def _spare_rows(rows: Tensor, directions: Tensor, used: Tensor) -> Tensor:
    """Return [..., r, in] whose places from `used` on hold the r - used rows most independent of `directions`.

    Gram-Schmidt with pivoting: take the row with the longest rest, remove its part from the others, repeat. The chosen
    rows come back unchanged and in their own order, so with `used` = 0 the result is `rows`.

    Args:
        rows: [..., r, in] candidates.
        directions: [..., r, in] orthonormal rows already in use, zeros elsewhere.
        used: [...] number of directions in use.
    """
    rank = rows.shape[-2]
    rest = rows - (rows @ directions.mT) @ directions
    turn = torch.full(rows.shape[:-1], rank, dtype=torch.int64)
    for step in range(rank):
        lengths = torch.where(turn == rank, rest.norm(dim=-1), -1.0)
        pick = lengths.argmax(dim=-1, keepdim=True)
        turn = turn.scatter(-1, pick, step)
        pivot = rest.gather(-2, pick[..., None].expand(*pick.shape, rest.shape[-1]))
        unit = pivot / pivot.norm(dim=-1, keepdim=True).clamp_min(1e-300)
        rest = rest - (rest @ unit.mT) @ unit
    kept = turn < (rank - used)[..., None]
    order = torch.argsort(kept.to(torch.int8), dim=-1, stable=True)
    return rows.gather(-2, order[..., None].expand_as(rows))


def _row_scale(down: Tensor) -> Tensor:
    """Return the root-mean-square length of the rows [..., 1]."""
    return down.pow(2).sum(dim=-1).mean(dim=-1, keepdim=True).sqrt()


def _pad(columns: Tensor, rank: int) -> Tensor:
    """Return the first `rank` columns, with zeros where there are fewer (a module narrower than the rank)."""
    kept = columns[..., :rank]
    return torch.nn.functional.pad(kept, (0, rank - kept.shape[-1]))


def _by_shape(spec: LoraSpec) -> list[list[str]]:
    """Return the modules grouped by shape, so that each group is one batch."""
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, fan_in, fan_out in spec.shapes:
        groups[fan_in, fan_out].append(name)
    return list(groups.values())


def _check(parents: Sequence[AdapterStack], weights: Sequence[float]) -> None:
    """Raise unless the stacks can be merged."""
    if not parents or len(weights) != len(parents):
        raise AdapterError(f"weights: expected one for each of {len(parents)} parents, got {len(weights)}")
    for position, parent in enumerate(parents):
        parent.check_uniform()
        if parent.spec != parents[0].spec or len(parent) != len(parents[0]):
            raise AdapterError(
                f"parents[{position}]: expected {len(parents[0])} adapters of {parents[0].spec}, "
                f"got {len(parent)} of {parent.spec}"
            )
        for name in parent.spec.modules:
            if not (torch.isfinite(parent.a[name]).all() and torch.isfinite(parent.b[name]).all()):
                raise AdapterError(f"parents[{position}].{name}: expected finite factors, got NaN or infinity")
