"""Crossover that is exact in delta W: the child's update is the weighted sum of its parents' updates.

Averaging factor by factor is not: `(B1 + B2)/2 @ (A1 + A2)/2` has cross terms that belong to neither parent. Here the
sum is taken of the products. Stacked factors `U V = [w1 B1, w2 B2] [A1; A2]` are that sum; its best approximation of
rank r, exact whenever its rank is at most r, comes from the Gram matrices `U^T U` and `V V^T` (2r x 2r, in double
precision), without ever forming delta W.

Owns `merge` (any number of parents, batched over couples) and the operator on it; others in this folder end in it too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.operators.adapter_crossover.base import AdapterCrossover, check_alike, check_finite
from fitness.adapter import AdapterStack
from fitness.checks import check_number
from fitness.cores import side_by_side
from fitness.errors import AdapterError, ConfigError

_RELATIVE_RANK = 1e-6
"""Singular values below this share of the largest are next to lost in float32: they count as zero."""
_SAFE = 1e-4
"""Ratio of a Gram matrix's pivots above which its Cholesky factor is as exact as its eigenvectors, and faster."""
_NULL = 1e-7
"""Rows of A that lie within this share of the others' span add no direction."""
_TOGETHER = 1 << 20
"""Numbers that a core takes at a time: what its cache holds."""

Array = NDArray[np.float64]


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
    if not parents or len(weights) != len(parents):
        raise AdapterError(f"weights: expected one for each of {len(parents)} parents, got {len(weights)}")
    check_alike(parents)
    spec, couples = parents[0].spec, len(parents[0])
    a = {name: torch.empty_like(factor) for name, factor in parents[0].a.items()}
    b = {name: torch.empty_like(factor) for name, factor in parents[0].b.items()}

    def cross(piece: tuple[str, slice]) -> None:
        name, members = piece
        ups = [parent.b[name][members] for parent in parents]
        downs = [parent.a[name][members] for parent in parents]
        try:
            _merge_factors(ups, downs, share, floor, (b[name][members], a[name][members]))
        except FloatingPointError:
            check_finite(parents, [name])
            raise

    pieces, share = [], np.repeat(np.asarray(weights, dtype=np.float64), spec.rank)
    for name, fan_in, fan_out in spec.shapes:
        size = max(1, _TOGETHER // (len(parents) * spec.rank * (fan_in + fan_out)))
        pieces += [(name, slice(first, first + size)) for first in range(0, couples, size)]
    side_by_side(cross, pieces, lone=1)
    return AdapterStack(spec, a, b)


def merge_each(first: AdapterStack, second: AdapterStack, shares: Mapping[str, Array]) -> AdapterStack:
    """Return `merge` of both, with weights of each couple's own.

    Args:
        first: C adapters.
        second: as many, of the same spec.
        shares: module -> finite [2, C] weights of the first and of the second parent.

    Raises:
        AdapterError: as `merge`.
    """
    check_alike((first, second))
    scaled = []
    for parent, side in ((first, 0), (second, 1)):
        columns = {name: torch.from_numpy(share[side]).float()[:, None, None] for name, share in shares.items()}
        scaled.append(AdapterStack(parent.spec, parent.a, {name: up * columns[name] for name, up in parent.b.items()}))
    return merge(scaled, (1.0, 1.0))


def _merge_factors(
    ups: Sequence[Tensor], downs: Sequence[Tensor], share: Array, floor: float, out: tuple[Tensor, Tensor]
) -> None:
    """Write factors (up [n, out, r], down [n, r, in]) of n weighted sums of products into `out`.

    Args:
        ups: the K parents' up factors [n, out, r].
        downs: their down factors [n, r, in].
        share: [K r] each parent's weight, r times.
        floor: see `merge`.
        out: where to.

    Raises:
        FloatingPointError: a factor is not finite.
    """
    up, down = out
    rank = down.shape[1]
    gram_up, gram_down = _gram([factor.mT for factor in ups]), _gram(downs)
    if not (np.isfinite(gram_up).all() and np.isfinite(gram_down).all()):
        raise FloatingPointError
    left, right, strength = _principal(gram_up * np.outer(share, share), gram_down, rank)
    # Of what cancels out, only rounding is left: its own largest value is no measure then.
    scale = np.sqrt(np.max(_squares(gram_up) * share**2, axis=1) * np.max(_squares(gram_down), axis=1))
    alive = strength > np.maximum(_RELATIVE_RANK * strength[:, :1], _NULL * scale[:, None])
    row = np.sqrt(_squares(gram_down)[:, :rank].mean(axis=1, keepdims=True))
    length = np.where(alive, np.maximum(np.sqrt(strength), floor * row), 1.0)
    mix_up = torch.from_numpy(share[:, None] * left * (alive / length)[:, None, :]).float().split(rank, dim=1)
    mix_down = torch.from_numpy(right * (alive * length)[:, None, :]).float().mT.split(rank, dim=2)
    for k in range(len(ups)):
        torch.baddbmm(up, ups[k], mix_up[k], beta=float(k > 0), out=up)
        torch.baddbmm(down, mix_down[k], downs[k], beta=float(k > 0), out=down)
    short = np.flatnonzero(~alive.all(axis=1))
    if len(short):
        rows, found = torch.cat([factor[short] for factor in downs], dim=1).double(), torch.from_numpy(alive[short])
        directions = torch.from_numpy(right[short] * alive[short, None, :]).mT @ rows
        spare = _spare_rows(rows[:, :rank], directions, found.sum(dim=1))
        down[short] = torch.where(found[..., None], down[short], spare.float())


def _gram(factors: Sequence[Tensor]) -> Array:
    """Return the products [n, K r, K r] of all rows of the K factors [n, r, d] with each other."""
    rows = np.concatenate([factor.numpy() for factor in factors], axis=1, dtype=np.float64)
    products: Array = rows @ rows.swapaxes(1, 2)
    return products


def _squares(gram: Array) -> Array:
    """Return the squared lengths [n, k] of the rows."""
    squares: Array = gram.diagonal(axis1=1, axis2=2)
    return squares


def _principal(gram_up: Array, gram_down: Array, rank: int) -> tuple[Array, Array, Array]:
    """Return what turns the stacked factors `U V` into the first singular directions of their product.

    With `V V^T = H H^T`, the eigenvectors W of `H^T U^T U H` give the left ones, `U (H W)`, and the eigenvalues are the
    squared singular values. The right ones are the product's transpose applied to the left ones: `(U H W)^T U V`.

    Returns:
        left [n, K r, r]: `ups @ left` are left singular vectors times their singular value. right [n, K r, r]:
        `right^T @ downs` are right singular vectors; zero where there is nothing. strength [n, r]: singular values, the
        largest first.
    """
    half = _root(gram_down)
    squared, turn = _eigen(half.swapaxes(1, 2) @ gram_up @ half)
    turn, squared = turn[:, :, : -rank - 1 : -1], np.maximum(squared[:, : -rank - 1 : -1], 0.0)
    left = half @ turn
    over = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > (_RELATIVE_RANK**2) * squared[:, :1])
    return left, gram_up @ left * over[:, None, :], np.sqrt(squared)


def _root(gram: Array) -> Array:
    """Return H [n, k, k] with `H H^T = gram`, each found without regard to the others."""
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(gram))
    half: Array = factor.numpy()
    pivots = half.diagonal(axis1=1, axis2=2)
    # Where rows depend on others, as when both parents have one A, those directions must be left out.
    unsafe = np.flatnonzero(failed.numpy().astype(bool) | ~(pivots.min(axis=1) > _SAFE * pivots.max(axis=1)))
    if len(unsafe):
        lengths, basis = _eigen(gram[unsafe])
        root = np.sqrt(np.maximum(lengths, 0.0))
        half[unsafe] = basis * np.where(root > _NULL * root[:, -1:], root, 0.0)[:, None, :]
    return half


def _eigen(symmetric: Array) -> tuple[Array, Array]:
    """Return eigenvalues [n, k], the smallest first, and eigenvectors in columns; PyTorch is faster here than NumPy."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(symmetric))
    return values.numpy(), vectors.numpy()


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
