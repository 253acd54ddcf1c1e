"""How a forage percept reads: one line of plain words, slow-changing words first, what lies underfoot last.

Owns the wording and the manual. Lines are joined from phrases made once, so that a batch costs a few table look-ups.

Example: `autumn dusk energy low water good warmth fair health full gold 2 north wolf 3 east here pond`
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fitness.environments.forage.percept import LEVELS, Percept, Sight
from fitness.environments.forage.world import ACTIONS, COLOURS, SEASONS, TIMES, VITALS

_COMPASS = ACTIONS[:4]
Phrases = NDArray[np.object_]
LONGEST = 200
"""Characters that no line exceeds."""

MANUAL = (
    "You live in a small wild land that wraps around at its edges. Every step you choose one action: north, "
    "south, east or west moves you one cell, eat eats a ripe berry in your cell, drink drinks from a pond in your "
    "cell, rest stays. Energy and water fall with every step, a little less energy when you rest; berries give "
    "energy, ponds give water. What is ripe in your cell is eaten at once or falls; a bush bears again after a "
    "while. Nights are cold, winter nights most of all; the day warms you. Dens shelter you from the cold, and "
    "wolves do not enter them. Wolves hunt you and bite; health heals slowly. You die when energy, water, warmth "
    "or health is gone. You are told the season, the time of day, how your energy, water, warmth and health stand "
    "(full, good, fair, low, dire), then what you see, each with its distance in steps and the way to it: berries "
    "by their colour, the nearest first, then pond, den and wolf; and at the end what is here, in your own cell. "
    "Live as long as you can."
)
"""The rules in plain words, without the hidden ones."""


_THINGS = ("nothing", *COLOURS, "pond", "den")
_POND, _DEN = _THINGS.index("pond"), _THINGS.index("den")
_HERE: Phrases = np.array([[f" here {wolf}{thing}" for thing in _THINGS] for wolf in ("", "wolf ")], object)


@lru_cache
def _heads() -> Phrases:
    """Return the beginning of a line for every (season, time, four levels), in C order."""
    levels = [""]
    for vital in VITALS:
        levels = [f"{line} {vital} {level}" for line in levels for level in LEVELS]
    return np.array([f"{s} {t}{line}" for s in SEASONS for t in TIMES for line in levels], object)


@lru_cache
def _phrases(name: str, view: int) -> Phrases:
    """Return what is said of a thing: [0] and [1] nothing (not seen, or here), then by distance and direction."""
    seen = [f" {name} {d} {way}" for d in range(1, view + 1) for way in _COMPASS]
    return np.array(["", "", *seen], object)


def _index(sight: Sight) -> NDArray[np.int64]:
    """Return the position of a sight in its phrases."""
    return np.where(sight.distance <= 0, sight.distance + 1, 2 + 4 * (sight.distance - 1) + sight.direction)


def render(percept: Percept, view: int) -> list[str]:
    """Return one line per agent."""
    head = percept.season * len(TIMES) + percept.time
    for vital in range(len(VITALS)):
        head = head * len(LEVELS) + percept.levels[:, vital]
    berries = np.stack([_phrases(colour, view) for colour in COLOURS])
    said = np.where(percept.berry_colour >= 0, berries[percept.berry_colour, _index(percept.berry)], "")
    things = [
        _phrases(name, view)[_index(s)] for name, s in zip(("pond", "den", "wolf"), _others(percept), strict=True)
    ]
    parts = zip(_heads()[head], *said.T, *things, _underfoot(percept), strict=True)
    return ["".join(part) for part in parts]


def _underfoot(percept: Percept) -> Phrases:
    """Return what is said of the agent's own cell: a wolf, then the one thing that stands there, or nothing."""
    colour = np.where(percept.berry.distance[:, 0] == 0, percept.berry_colour[:, 0], -1)
    thing = np.select(
        [colour >= 0, percept.pond.distance == 0, percept.den.distance == 0], [1 + colour, _POND, _DEN], 0
    )
    said: Phrases = _HERE[(percept.wolf.distance == 0).astype(np.int64), thing]
    return said


def _others(percept: Percept) -> tuple[Sight, Sight, Sight]:
    """Return what is named after the berries, in order."""
    return percept.pond, percept.den, percept.wolf
