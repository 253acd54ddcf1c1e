"""What an agent sees of forage: the batch of partial views that texts and scripted policies are both made from.

Owns `Percept` and its computation from a `World`. Scripted policies, the expert included, see no more than the text
says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.environments.forage.world import COLOURS, EAST, NORTH, SOUTH, WEST, World, wrap

LEVELS = ("dire", "low", "fair", "good", "full")
_FAR = 9999
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sight:
    """The nearest thing of a kind in view; distance -1 where there is none, direction as a move's index."""

    distance: Ints
    direction: Ints


@dataclass(frozen=True)
class Percept:
    """Views of n agents.

    Example: level 1 ("low") of energy, the nearest berry blue and two steps north: `levels[i, 0] == 1`,
    `berry_colour[i, 0] == 1`, `berry.distance[i, 0] == 2`, `berry.direction[i, 0] == 0`.
    """

    season: Ints
    time: Ints
    levels: Ints
    """[n, 4] index into LEVELS of energy, water, warmth, health."""
    berry_colour: Ints
    """[n, 3] the nearest ripe berry of each colour in view, nearest first; -1 where there are fewer."""
    berry: Sight
    """[n, 3] in the order of `berry_colour`."""
    pond: Sight
    den: Sight
    wolf: Sight


def perceive(world: World) -> Percept:
    """Return what each of the n agents sees now."""
    colour, berry = _berries(world)
    levels = np.clip((world.vitals * len(LEVELS)).astype(np.int64), 0, len(LEVELS) - 1)
    return Percept(
        world.season, world.time, levels, colour, berry,
        _nearest(world, world.pond), _nearest(world, world.den), _nearest(world, world.wolf),
    )  # fmt: skip


def _offsets(world: World, things: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return the way [n, k, 2] to each thing and its length [n, k] in steps."""
    gap = wrap(things - world.place[:, None, :], world.config.size)
    distance = np.abs(gap[..., 0]) + np.abs(gap[..., 1])
    return gap, np.where(distance <= world.config.view, distance, _FAR)


def _sight(gap: NDArray[np.int16], distance: NDArray[np.int16], pick: Ints) -> Sight:
    """Read off the picked things: pick [n, j] into gap [n, k, 2] and distance [n, k]."""
    far = np.take_along_axis(distance, pick, axis=1)
    x = np.take_along_axis(gap[..., 0], pick, axis=1)
    y = np.take_along_axis(gap[..., 1], pick, axis=1)
    along_x = np.abs(x) >= np.abs(y)
    direction = np.where(along_x, np.where(x >= 0, EAST, WEST), np.where(y >= 0, SOUTH, NORTH))
    return Sight(np.where(far == _FAR, -1, far).astype(np.int64), direction.astype(np.int64))


def _nearest(world: World, things: NDArray[np.int16]) -> Sight:
    """Return the nearest of one kind of thing, arrays [n]."""
    if things.shape[1] == 0:
        return Sight(np.full(world.num, -1, np.int64), np.zeros(world.num, np.int64))
    gap, distance = _offsets(world, things)
    sight = _sight(gap, distance, distance.argmin(axis=1)[:, None])
    return Sight(sight.distance[:, 0], sight.direction[:, 0])


def _berries(world: World) -> tuple[Ints, Sight]:
    """Return colours [n, 3] and sights [n, 3] of the nearest ripe berry of each colour, nearest first.

    Equally near berries are ordered by their bush, which knows nothing of colours.
    """
    gap, distance = _offsets(world, world.bush)
    distance = np.where(world.ripe, distance, _FAR)
    bushes = distance.shape[1]
    rank = distance.astype(np.int64) * bushes + np.arange(bushes)
    by_colour = [np.where(world.colour == c, rank, _FAR * bushes) for c in range(len(COLOURS))]
    pick = np.stack([r.argmin(axis=1) for r in by_colour], axis=1)
    best = np.stack([r.min(axis=1) for r in by_colour], axis=1)
    order = best.argsort(axis=1, kind="stable")
    pick, seen = np.take_along_axis(pick, order, axis=1), np.take_along_axis(best, order, axis=1) < _FAR * bushes
    sight = _sight(gap, np.where(world.ripe, distance, _FAR), pick)
    seen &= sight.distance >= 0
    return np.where(seen, order, -1), Sight(np.where(seen, sight.distance, -1), sight.direction)
