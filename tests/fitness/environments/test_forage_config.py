"""The knobs of forage: what is out of range is refused by name."""

import math
from typing import Any

import numpy as np
import pytest

from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.world import World
from fitness.errors import ConfigError


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("size", 5, "an integer of at least 6"),
        ("size", 12.0, "an integer of at least 6"),
        ("horizon", 0, "an integer of at least 1"),
        ("horizon", True, "an integer of at least 1"),
        ("bushes", 0, "an integer of at least 1"),
        ("ponds", 0, "an integer of at least 1"),
        ("dens", -1, "an integer of at least 1"),
        ("wolves", -1, "an integer of at least 0"),
        ("view", 0, "an integer of at least 1"),
        ("view", "4", "an integer of at least 1"),
        ("scarcity", 0.0, "a number above 0"),
        ("scarcity", -1.0, "a number above 0"),
        ("scarcity", math.nan, "a number above 0"),
        ("scarcity", math.inf, "a number above 0"),
        ("scarcity", 1e9, "a number above 0 and at most 1000"),
        ("scarcity", "much", "a number above 0"),
        ("scarcity", True, "a number above 0"),
    ],
)
def test_a_knob_out_of_range_is_named(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^environment\.{field}: expected {expected}.*, got {value!r}$"):
        ForageConfig(**{field: value})


@pytest.mark.parametrize(("knobs", "things"), [({"size": 101}, 34), ({"size": 6, "bushes": 23}, 37)])
def test_everything_needs_a_cell_of_its_own(knobs: dict[str, int], things: int) -> None:
    message = rf"environment\.size: expected at most 100 and a cell for each of {things} things, got {knobs['size']}"
    with pytest.raises(ConfigError, match=message):
        ForageConfig(**knobs)


def test_a_full_world_has_one_thing_per_cell() -> None:
    world = World(ForageConfig(size=6, bushes=22), num_envs=1)
    world.reset(np.zeros(1, np.int64), np.zeros(1, np.int64))
    cells = {tuple(xy) for things in (world.bush, world.pond, world.den, world.wolf) for xy in things[0].tolist()}
    assert cells | {tuple(world.place[0].tolist())} == {(x, y) for x in range(6) for y in range(6)}


def test_unknown_knobs_are_refused() -> None:
    with pytest.raises(TypeError, match="bears"):
        ForageConfig(bears=1)  # type: ignore[call-arg]
