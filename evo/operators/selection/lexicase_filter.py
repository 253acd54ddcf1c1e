"""The filter of lexicase selection, for many pools in one pass of numpy.

Owns speed. Pools lie one behind another in one flat array, so a step of all parents is a dozen calls of numpy whatever
their number. Only as many first steps are made as there are worlds to begin with; what they leave is shared by all
parents that begin alike.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**20
"""Members of pools that are filtered at once: more no longer fit into the processor's cache."""
_SPARSE = 4
"""Counting by a table of all levels is given up for sorting where it has this many times more cells than members."""

Indices = NDArray[np.int64]


class Pools(NamedTuple):
    """Those who are still there, pool by pool.

    Example: `Pools(kinds=np.array([0, 4, 4]), starts=np.array([0, 2]), sizes=np.array([2, 1]))` is {0, 4} and {4}.
    """

    kinds: Indices
    """[total] all pools, one behind another."""
    starts: Indices
    """[p] where each pool begins."""
    sizes: Indices
    """[p] how many are in each, at least 1."""

    @classmethod
    def join(cls, pools: "list[Pools]") -> "Pools":
        """Return all pools of a list as one."""
        sizes = np.concatenate([one.sizes for one in pools])
        return cls(np.concatenate([one.kinds for one in pools]), np.cumsum(sizes) - sizes, sizes)

    def take(self, which: Indices) -> "Pools":
        """Return the pools at positions `which`, in this order; a pool can be taken more than once."""
        if np.array_equal(which, np.arange(len(self.sizes))):
            return self
        sizes = self.sizes[which]
        starts = np.cumsum(sizes) - sizes
        places = np.arange(sizes.sum()) + np.repeat(self.starts[which] - starts, sizes)
        return Pools(self.kinds[places], starts, sizes)


class Filter:
    """Narrows pools of kinds of members down to those near the best, world after world."""

    def __init__(self, values: NDArray[np.float64], counts: Indices, epsilon: float | Literal["auto"]) -> None:
        """Take what there is to be seen.

        Args:
            values: [q, k] fitness of each kind in each world.
            counts: [q] how many members are of each kind.
            epsilon: as in `Lexicase`.
        """
        self._values = np.ascontiguousarray(values.T)
        self._counts = counts
        self._epsilon = epsilon
        if epsilon == "auto":
            self._levels, self._level = _levels(self._values)

    def narrow(self, orders: Indices) -> Pools:
        """Return the pool that each order of the worlds [count, k] leaves."""
        everyone = Pools(np.arange(len(self._counts)), np.array([0]), np.array([len(self._counts)]))
        worlds, begin = np.unique(orders[:, 0], return_inverse=True)
        first = Pools.join([everyone.take(worlds[:0]), *(self._pass(everyone, world) for world in worlds[:, None])])
        alike = np.lexsort(orders.T[1::-1])
        blocks = np.cumsum(first.sizes[begin[alike]]) // _BLOCK
        parts = np.split(alike, np.flatnonzero(np.diff(blocks)) + 1)
        left = Pools.join([self._narrow(first, begin[part], orders[part]) for part in parts])
        return left.take(np.argsort(alike))

    def _narrow(self, pools: Pools, at: Indices, orders: Indices) -> Pools:
        """Return what is left of pools, of which each order has one, `at`, after all worlds but the first."""
        num_worlds = orders.shape[1]
        for worlds in orders.T[1:]:
            if pools.sizes.max(initial=1) == 1:
                break
            pairs, at = np.unique(at * num_worlds + worlds, return_inverse=True)
            pools = self._pass(pools.take(pairs // num_worlds), pairs % num_worlds)
        return pools.take(at)

    def _pass(self, pools: Pools, worlds: Indices) -> Pools:
        """Return the pools without those who are too far behind the best of their pool in its world."""
        values = self._values.ravel()[np.repeat(worlds * len(self._counts), pools.sizes) + pools.kinds]
        best = np.maximum.reduceat(values, pools.starts)
        behind = self._spread(pools, worlds, values, best) if self._epsilon == "auto" else self._epsilon
        kept = np.flatnonzero(values >= np.repeat(best - behind, pools.sizes))
        ends = np.searchsorted(kept, pools.starts + pools.sizes)
        sizes = np.diff(ends, prepend=0)
        return Pools(pools.kinds[kept], ends - sizes, sizes)

    def _spread(
        self, pools: Pools, worlds: Indices, values: NDArray[np.float64], best: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return each pool's median distance to its median [p]: 0 where more than half are as good as the best."""
        counts = self._counts[pools.kinds]
        at_best = np.add.reduceat(counts * (values == np.repeat(best, pools.sizes)), pools.starts)
        open_ = np.flatnonzero(2 * at_best <= np.add.reduceat(counts, pools.starts))
        spread = np.zeros(len(worlds))
        if len(open_):
            spread[open_] = self._median_distance(pools.take(open_), worlds[open_])
        return spread

    def _median_distance(self, pools: Pools, worlds: Indices) -> NDArray[np.float64]:
        """Return each pool's median distance to its median [p], by counting its levels."""
        width = self._levels.shape[1]
        places = np.repeat(worlds * len(self._counts), pools.sizes) + pools.kinds
        cells = np.repeat(np.arange(len(worlds)) * width, pools.sizes) + self._level.ravel()[places]
        cells, counts = _count(cells, self._counts[pools.kinds], len(worlds) * width)
        owners = cells // width
        values = self._levels[worlds[owners], cells % width]
        starts = np.searchsorted(owners, np.arange(len(worlds)))
        apart = np.abs(values - _medians(values, counts, starts)[owners])
        order = np.lexsort((apart, owners))
        return _medians(apart[order], counts[order], starts)


def _levels(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Indices]:
    """Return the distinct values of each row, ascending, and the place of each value [k, q] among them."""
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    rank = np.cumsum(np.diff(ascending, axis=1, prepend=ascending[:, :1]) > 0, axis=1, dtype=np.int64)
    levels, level = np.zeros((len(values), rank.max() + 1)), np.empty_like(rank)
    np.put_along_axis(levels, rank, ascending, axis=1)
    np.put_along_axis(level, order, rank, axis=1)
    return levels, level


def _count(cells: Indices, counts: Indices, num_cells: int) -> tuple[Indices, Indices]:
    """Return the cells that occur, ascending, and the sum of the counts in each."""
    if num_cells <= _SPARSE * len(cells):
        table = np.bincount(cells, counts).astype(np.int64)
        found = np.flatnonzero(table)
        return found, table[found]
    found, which = np.unique(cells, return_inverse=True)
    return found, np.bincount(which, counts).astype(np.int64)


def _medians(values: NDArray[np.float64], counts: Indices, starts: Indices) -> NDArray[np.float64]:
    """Return the median of each run of `values`, ascending in each, where each value counts `counts` times."""
    edges = np.cumsum(counts)
    totals = np.add.reduceat(counts, starts)
    begins = edges[starts] - counts[starts]
    low = np.searchsorted(edges, begins + (totals - 1) // 2, side="right")
    high = np.searchsorted(edges, begins + totals // 2, side="right")
    medians: NDArray[np.float64] = (values[low] + values[high]) / 2
    return medians
