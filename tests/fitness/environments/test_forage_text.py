"""What agents of forage read: exact lines, their order, and what they must never be told."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.percept import LEVELS, perceive
from fitness.environments.forage.policies import GRAMMAR
from fitness.environments.forage.text import LONGEST, MANUAL, render
from fitness.environments.forage.world import ACTIONS, COLOURS, SEASONS, TIMES, VITALS, World
from tests.fitness.environments.forage_views import random_views, view

LINE = re.compile(
    rf"({'|'.join(SEASONS)}) ({'|'.join(TIMES)})"
    + "".join(rf" {vital} ({'|'.join(LEVELS)})" for vital in VITALS)
    + rf"( ({'|'.join(COLOURS)}) \d+ ({'|'.join(ACTIONS[:4])})){{0,3}}"
    + "".join(rf"( {thing} \d+ ({'|'.join(ACTIONS[:4])}))?" for thing in ("pond", "den", "wolf"))
    + rf" here (wolf )?({'|'.join(COLOURS)}|pond|den|nothing)"
)


def line_of(world: World) -> str:
    return render(perceive(world), world.config.view)[0]


def meadow(bushes: list[tuple[str, int, int]], **knobs: int) -> World:
    """Return a world with an agent at (5, 5), bushes as given, and a pond, a den and a wolf out of view."""
    config = ForageConfig(**{"size": 20, "bushes": len(bushes), "ponds": 1, "dens": 1, "wolves": 1, **knobs})
    world = World(config, num_envs=1)
    world.reset(np.array([0]), np.array([0]))
    world.place[:], world.first_season[:] = (5, 5), 0
    world.pond[:] = world.den[:] = world.wolf[:] = (15, 15)
    world.bush[0] = [(x, y) for _, x, y in bushes]
    world.colour[0] = [COLOURS.index(colour) for colour, _, _ in bushes]
    return world


def test_a_line_by_hand() -> None:
    seen = view(
        season="autumn",
        time="dusk",
        levels="low good fair full",
        berries=[("gold", 2, "north"), ("red", 4, "west")],
        pond=(0, "east"),
        wolf=(3, "east"),
    )
    assert render(seen, 4) == [
        "autumn dusk energy low water good warmth fair health full gold 2 north red 4 west wolf 3 east here pond"
    ]


def test_a_line_with_nothing_in_view() -> None:
    assert render(view(season="winter", time="night", levels="dire dire dire dire"), 4) == [
        "winter night energy dire water dire warmth dire health dire here nothing"
    ]


def test_a_line_of_a_world_by_hand() -> None:
    world = meadow([("red", 5, 5), ("blue", 7, 6), ("gold", 5, 9), ("gold", 5, 3), ("red", 5, 4)])
    world.pond[:], world.den[:], world.wolf[:] = (1, 5), (6, 7), (5, 5)
    world.vitals[:] = (0.1, 0.2, 0.55, 0.99)
    world.first_season[:], world.clock[:] = SEASONS.index("summer"), 23
    assert line_of(world) == (
        "summer dusk energy dire water low warmth fair health full"
        " gold 2 north blue 3 east pond 4 west den 3 south here wolf red"
    )


@pytest.mark.parametrize(
    ("vital", "level"),
    [(0.001, "dire"), (0.199, "dire"), (0.201, "low"), (0.5, "fair"), (0.61, "good"), (0.801, "full"), (1.0, "full")],
)
def test_levels_are_fifths(vital: float, level: str) -> None:
    world = meadow([("gold", 15, 15)])
    world.vitals[:] = vital
    assert line_of(world) == f"spring day energy {level} water {level} warmth {level} health {level} here nothing"


@pytest.mark.parametrize("thing", ["pond", "den", "gold"])
def test_what_is_underfoot_is_told_last(thing: str) -> None:
    world = meadow([("gold", 5, 5) if thing == "gold" else ("gold", 15, 15), ("blue", 6, 5)])
    if thing != "gold":
        getattr(world, thing)[:] = (5, 5)
    assert line_of(world).endswith(f"health full blue 1 east here {thing}")


def test_things_beyond_the_view_are_not_told() -> None:
    world = meadow([("gold", 7, 7), ("blue", 5, 10), ("red", 8, 7)])
    assert line_of(world).endswith("full gold 4 east here nothing")
    assert line_of(meadow([("gold", 7, 7)], view=3)).endswith("health full here nothing")
    assert line_of(meadow([("gold", 7, 7), ("blue", 5, 10)], view=5)).endswith(" gold 4 east blue 5 south here nothing")


def test_things_are_seen_across_the_edges() -> None:
    world = meadow([("gold", 19, 0)])
    world.place[:] = (0, 1)
    world.pond[:] = (0, 19)
    assert line_of(world).endswith("health full gold 2 west pond 2 north here nothing")


def test_bare_bushes_are_not_told() -> None:
    world = meadow([("gold", 5, 6), ("gold", 5, 8)])
    world.ripe_at[0, 0] = 3
    assert line_of(world).endswith(" gold 3 south here nothing")
    world.clock[:] = 3
    assert line_of(world).endswith(" gold 1 south here nothing")


@pytest.mark.parametrize("order", [("red", "blue", "gold"), ("gold", "red", "blue"), ("blue", "gold", "red")])
def test_equally_near_berries_stand_in_the_order_of_their_bushes(order: tuple[str, ...]) -> None:
    places = [(5, 7), (7, 5), (3, 5)]
    world = meadow([(colour, x, y) for colour, (x, y) in zip(order, places, strict=True)])
    assert line_of(world).endswith(f" {order[0]} 2 south {order[1]} 2 east {order[2]} 2 west here nothing")


def test_no_colour_is_named_first_more_often_than_its_share_of_bushes_tells() -> None:
    env = ForageVectorEnv(num_envs=4000)
    env.begin(np.arange(4000), np.arange(4000))
    env.world.colour = np.tile(np.arange(21) % 3, (4000, 1))[:, :20]  # Shares of 7, 7 and 6 bushes.
    first = env.percept().berry_colour[:, 0]
    assert np.bincount(first[first >= 0], minlength=3) / (first >= 0).sum() == pytest.approx(
        [0.35, 0.35, 0.3], abs=0.04
    )


@given(seed=st.integers(0, 2**32))
def test_every_line_follows_the_pattern_and_fits(seed: int) -> None:
    for line in render(random_views(np.random.default_rng(seed), 50), 4):
        assert LINE.fullmatch(line)
        assert len(line) <= LONGEST


def test_the_longest_line_fits_whatever_the_size() -> None:
    far = (100, "north")
    seen = view(
        season="autumn",
        time="night",
        levels="full dire good good",
        berries=[("gold", 100, "north"), ("blue", 100, "south"), ("red", 100, "north")],
        pond=far,
        den=far,
        wolf=far,
    )
    assert len(render(seen, 100)[0]) <= LONGEST


# What must stay hidden


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


GIVEN_AWAY = {*COLOURS, "poison", "poisonous", "safe", "dusk", "evening", "sunset", "before", "autumn", "early", "late"}


def test_the_manual_tells_no_hidden_rule() -> None:
    assert not words(MANUAL) & GIVEN_AWAY
    assert not words(MANUAL) & {*SEASONS} - {"winter"}


def test_strategies_tell_no_hidden_rule() -> None:
    clauses = " ".join(clause for slot in GRAMMAR.slots for clause in slot.clauses)
    assert not words(clauses) & (GIVEN_AWAY | {*SEASONS})


def test_the_manual_names_what_agents_read_and_do() -> None:
    assert {*ACTIONS, *LEVELS, *VITALS, "pond", "den", "wolf", "berries"} <= words(MANUAL)
