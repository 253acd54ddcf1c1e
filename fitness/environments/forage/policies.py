"""Scripted lives: the strategy grammar's meaning, a random policy, and the expert that knows the hidden rules.

Owns what a strategy's clauses make a wanderer do. Wanderers are what the organism learns to obey in pre-training;
none of them looks at a berry's colour, at the season, or at dusk. All policies see a `Percept`, no more than the text
says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.environments.forage.percept import Percept
from fitness.environments.forage.world import (
    AUTUMN,
    BLUE,
    DAY,
    DRINK,
    EAST,
    EAT,
    NIGHT,
    NORTH,
    RED,
    REST,
    SOUTH,
    WEST,
)  # fmt: skip
from fitness.environments.grammar import Grammar, Slot

Ints = NDArray[np.int64]
_OPPOSITE = np.array([SOUTH, NORTH, WEST, EAST])

GRAMMAR = Grammar(
    (
        Slot("wolf", ("ignore wolves", "flee wolves near", "flee wolves far")),
        Slot("eat", ("eat when dire", "eat when low", "eat when fair", "eat when good")),
        Slot("drink", ("drink when dire", "drink when low", "drink when fair", "drink when good")),
        Slot("den", ("never den", "den when cold", "den at night")),
        Slot("first", ("food first", "water first")),
        Slot("search", ("search north", "search south", "search east", "search west")),
        Slot("idle", ("then rest", "then roam")),
    )
)
"""Strategies that agents are told; 2,304 of them."""
_WOLF, _EAT, _DRINK, _DEN, _FIRST, _SEARCH, _IDLE = range(7)
_FLEE_WITHIN = np.array([-1, 1, 3])
_EXPERT = (0, 3, 2, 2, 1, 0, 1)
_COLD_LEVEL = 2


@dataclass(frozen=True)
class Traits:
    """Strategies of n wanderers as clause indices, [n, 7] in the grammar's order."""

    clauses: Ints

    @classmethod
    def of(cls, strategies: list[tuple[str, ...]]) -> "Traits":
        """Look the clauses of parsed strategies up."""
        return cls(
            np.array([[s.clauses.index(c) for s, c in zip(GRAMMAR.slots, one, strict=True)] for one in strategies])
        )

    def texts(self) -> list[str]:
        """Return the strategies as agents read them."""
        words = [np.array(slot.clauses, object)[self.clauses[:, i]] for i, slot in enumerate(GRAMMAR.slots)]
        return [GRAMMAR.render(clauses) for clauses in zip(*words, strict=True)]


def obey(traits: Traits, percept: Percept) -> Ints:
    """Return the one action [n] that each strategy asks for."""
    clause = traits.clauses.T
    edible = percept.berry_colour >= 0
    sheltering = np.where(
        clause[_DEN] == 2, percept.time == NIGHT, (clause[_DEN] == 1) & (percept.levels[:, 2] <= _COLD_LEVEL)
    )
    return _decide(percept, clause, edible, sheltering)


def expert(percept: Percept) -> Ints:
    """Return the expert's action [n]: a sound strategy plus the three hidden rules."""
    clause = np.repeat(np.array(_EXPERT)[:, None], len(percept.season), axis=1)
    poison = (percept.berry_colour == RED) | ((percept.berry_colour == BLUE) & (percept.season == AUTUMN)[:, None])
    edible = (percept.berry_colour >= 0) & ~poison
    return _decide(percept, clause, edible, percept.time != DAY)


def _decide(percept: Percept, clause: Ints, edible: NDArray[np.bool_], sheltering: NDArray[np.bool_]) -> Ints:
    """Apply a strategy's order of concerns: wolves, the den, then the more pressing of food and water, then idling.

    Args:
        percept: n views.
        clause: [7, n] clause indices.
        edible: [n, 3] which of the berries in view count as food.
        sheltering: [n] who wants to be in a den now.
    """
    search = clause[_SEARCH]
    food = _go_or(EAT, *_first(percept, edible), search)
    water = _go_or(DRINK, percept.pond.distance, percept.pond.direction, search)
    hungry = percept.levels[:, 0] <= clause[_EAT]
    thirsty = percept.levels[:, 1] <= clause[_DRINK]
    water_first = np.where(
        clause[_FIRST] == 1, percept.levels[:, 1] <= percept.levels[:, 0], percept.levels[:, 1] < percept.levels[:, 0]
    )
    need = np.where(hungry & thirsty, np.where(water_first, water, food), np.where(hungry, food, water))
    action = np.where(hungry | thirsty, need, np.where(clause[_IDLE] == 0, REST, search))
    den = np.where(percept.den.distance == 0, REST, percept.den.direction)
    pressing = (hungry & (percept.levels[:, 0] == 0)) | (thirsty & (percept.levels[:, 1] == 0))
    action = np.where(sheltering & ~pressing & (percept.den.distance >= 0), den, action)
    flees = (percept.wolf.distance >= 0) & (percept.wolf.distance <= _FLEE_WITHIN[clause[_WOLF]])
    flees &= percept.den.distance != 0
    return np.where(flees, _OPPOSITE[percept.wolf.direction], action)


def _first(percept: Percept, edible: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return distance [n] and direction [n] of the nearest edible berry, distance -1 where there is none."""
    index = edible.argmax(axis=1)[:, None]
    distance = np.take_along_axis(percept.berry.distance, index, axis=1)[:, 0]
    direction = np.take_along_axis(percept.berry.direction, index, axis=1)[:, 0]
    return np.where(edible.any(axis=1), distance, -1), direction


def _go_or(act: int, distance: Ints, direction: Ints, search: Ints) -> Ints:
    """Return `act` where the thing is underfoot, the way to it where it is seen, else the direction of search."""
    return np.where(distance == 0, act, np.where(distance > 0, direction, search))
