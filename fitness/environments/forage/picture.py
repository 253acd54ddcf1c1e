"""A map of forage for people: the whole torus as characters, one for each cell.

Owns the signs and what hides what: the agent stands before a wolf, and a wolf before what grows. Agents never see it.
"""

import numpy as np

from fitness.environments.forage.world import COLOURS, World
from fitness.records import Sign

_AGENT, _WOLF, _POND, _DEN, _BARE, _GROUND = range(6)
SIGNS = (
    Sign("@", "agent"),
    Sign("W", "wolf", "purple"),
    Sign("~", "pond", "teal"),
    Sign("^", "den", "brown"),
    Sign("'", "bare bush", "green"),
    Sign(".", "ground", "grey"),
    *(Sign(name[0], f"{name} berry", shade) for name, shade in zip(COLOURS, ("red", "blue", "orange"), strict=True)),
)
_BERRY = _GROUND + 1
_MARKS = np.array([sign.mark for sign in SIGNS])


def picture(world: World) -> list[str]:
    """Return each episode's map: lines from north to south."""
    size, rows = world.config.size, np.arange(world.num)[:, None]
    cells = np.full((world.num, size, size), _GROUND)
    bushes = np.where(world.ripe, _BERRY + world.colour, _BARE)
    layers = ((world.pond, _POND), (world.den, _DEN), (world.bush, bushes), (world.wolf, _WOLF))
    for things, sign in (*layers, (world.place[:, None], _AGENT)):
        cells[rows, things[..., 1], things[..., 0]] = sign
    return ["\n".join("".join(line) for line in grid) for grid in _MARKS[cells]]
