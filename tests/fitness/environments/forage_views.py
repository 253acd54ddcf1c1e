"""Views of forage made by hand or at random; what the tests of texts and policies share."""

from collections.abc import Sequence

import numpy as np

from fitness.environments.forage.percept import LEVELS, Percept, Sight
from fitness.environments.forage.world import ACTIONS, COLOURS, SEASONS, TIMES

Thing = tuple[int, str] | None
"""Distance in steps and the way to it; None where there is none in view."""


def view(
    *,
    season: str = "spring",
    time: str = "day",
    levels: str = "full full full full",
    berries: Sequence[tuple[str, int, str]] = (),
    pond: Thing = None,
    den: Thing = None,
    wolf: Thing = None,
) -> Percept:
    """Return one view; `levels` are those of energy, water, warmth and health."""
    colours = [COLOURS.index(colour) for colour, _, _ in berries] + [-1] * (3 - len(berries))
    sights = [_numbers((distance, way)) for _, distance, way in berries] + [(-1, 0)] * (3 - len(berries))
    return Percept(
        np.array([SEASONS.index(season)]),
        np.array([TIMES.index(time)]),
        np.array([[LEVELS.index(level) for level in levels.split()]]),
        np.array([colours]),
        Sight(*(np.array([column]) for column in zip(*sights, strict=True))),
        *(Sight(*(np.array([number]) for number in _numbers(thing))) for thing in (pond, den, wolf)),
    )


def random_views(rng: np.random.Generator, count: int) -> Percept:
    """Return views of which every part is drawn freely."""
    colour = rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    seen = np.arange(3) < rng.integers(0, 4, (count, 1))
    distance = np.sort(rng.integers(0, 5, (count, 3)), axis=1)
    return Percept(
        rng.integers(0, len(SEASONS), count),
        rng.integers(0, len(TIMES), count),
        rng.integers(0, len(LEVELS), (count, 4)),
        np.where(seen, colour, -1),
        Sight(np.where(seen, distance, -1), rng.integers(0, 4, (count, 3))),
        *(Sight(rng.integers(-1, 5, count), rng.integers(0, 4, count)) for _ in range(3)),
    )


def _numbers(thing: Thing) -> tuple[int, int]:
    return (-1, 0) if thing is None else (thing[0], ACTIONS.index(thing[1]))
