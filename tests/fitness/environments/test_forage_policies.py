"""What strategies make a wanderer do, clause by clause, and what no wanderer looks at."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.environments.forage.percept import Percept
from fitness.environments.forage.policies import GRAMMAR, Traits, expert, obey
from fitness.environments.forage.world import ACTIONS, COLOURS, DAY, DUSK, NIGHT, SEASONS
from tests.fitness.environments.forage_views import Thing, random_views, view

PLAIN = {
    "wolf": "ignore wolves",
    "eat": "eat when dire",
    "drink": "drink when dire",
    "den": "never den",
    "first": "food first",
    "search": "search north",
    "idle": "then rest",
}
GOLD = [("gold", 2, "south")]
LEVELS = ("dire", "low", "fair", "good", "full")
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


def asked(clauses: dict[str, str], **seen: Any) -> str:
    """Return the action that the plain strategy with other `clauses` asks for in a view."""
    strategy = tuple({**PLAIN, **clauses}[slot.name] for slot in GRAMMAR.slots)
    return ACTIONS[obey(Traits.of([strategy]), view(**seen))[0]]


def knowing(**seen: Any) -> str:
    return ACTIONS[expert(view(**seen))[0]]


def test_traits_read_as_the_strategies_that_they_are() -> None:
    rng = np.random.default_rng(0)
    strategies = [GRAMMAR.random(rng) for _ in range(20)]
    assert Traits.of(strategies).texts() == [GRAMMAR.render(strategy) for strategy in strategies]


# Eating and drinking


@pytest.mark.parametrize("threshold", LEVELS[:4])
@pytest.mark.parametrize("level", LEVELS)
def test_food_is_sought_at_the_told_level_and_below(threshold: str, level: str) -> None:
    expected = "south" if LEVELS.index(level) <= LEVELS.index(threshold) else "rest"
    assert asked({"eat": f"eat when {threshold}"}, levels=f"{level} full full full", berries=GOLD) == expected


@pytest.mark.parametrize("threshold", LEVELS[:4])
@pytest.mark.parametrize("level", LEVELS)
def test_water_is_sought_at_the_told_level_and_below(threshold: str, level: str) -> None:
    expected = "east" if LEVELS.index(level) <= LEVELS.index(threshold) else "rest"
    assert asked({"drink": f"drink when {threshold}"}, levels=f"full {level} full full", pond=(1, "east")) == expected


def test_what_is_underfoot_is_taken() -> None:
    assert asked({}, levels="dire full full full", berries=[("gold", 0, "east")]) == "eat"
    assert asked({}, levels="full dire full full", pond=(0, "east")) == "drink"


def test_the_nearest_berry_is_food_whatever_its_colour() -> None:
    berries = [("red", 1, "west"), ("gold", 2, "south")]
    assert asked({}, season="autumn", levels="dire full full full", berries=berries) == "west"


@pytest.mark.parametrize("way", ACTIONS[:4])
def test_what_is_not_in_view_is_searched_in_the_told_direction(way: str) -> None:
    search = {"search": f"search {way}"}
    assert asked(search, levels="dire full full full", pond=(2, "north")) == way
    assert asked(search, levels="full dire full full", berries=GOLD) == way


def test_the_more_pressing_need_comes_first_and_the_strategy_breaks_ties() -> None:
    both = {"eat": "eat when good", "drink": "drink when good"}
    seen: dict[str, Any] = {"berries": GOLD, "pond": (2, "east")}
    for first, tie in (("food first", "south"), ("water first", "east")):
        clauses = {**both, "first": first}
        assert asked(clauses, levels="low fair full full", **seen) == "south"
        assert asked(clauses, levels="fair low full full", **seen) == "east"
        assert asked(clauses, levels="low low full full", **seen) == tie


def test_only_needs_are_compared() -> None:
    clauses = {"drink": "drink when good"}
    assert asked(clauses, levels="low good full full", berries=GOLD, pond=(2, "east")) == "east"


# Idling


@pytest.mark.parametrize("way", ACTIONS[:4])
def test_who_needs_nothing_rests_or_roams(way: str) -> None:
    seen: dict[str, Any] = {"berries": GOLD, "pond": (0, "east")}
    assert asked({"search": f"search {way}"}, **seen) == "rest"
    assert asked({"search": f"search {way}", "idle": "then roam"}, **seen) == way


# Dens


@pytest.mark.parametrize(
    ("clause", "time", "warmth", "goes"),
    [
        ("never den", "night", "dire", False),
        ("den when cold", "day", "fair", True),
        ("den when cold", "night", "low", True),
        ("den when cold", "night", "good", False),
        ("den at night", "night", "full", True),
        ("den at night", "dusk", "dire", False),
        ("den at night", "day", "dire", False),
    ],
)
def test_when_a_den_is_sought(clause: str, time: str, warmth: str, goes: bool) -> None:
    clauses = {"den": clause, "eat": "eat when low"}
    seen: dict[str, Any] = {"time": time, "levels": f"low full {warmth} full", "berries": GOLD}
    assert asked(clauses, den=(2, "west"), **seen) == ("west" if goes else "south")
    assert asked(clauses, den=(0, "west"), **seen) == ("rest" if goes else "south")
    assert asked(clauses, **seen) == "south"


def test_a_den_waits_for_who_is_about_to_die_of_hunger_or_thirst() -> None:
    clauses = {"den": "den at night"}
    seen: dict[str, Any] = {"time": "night", "den": (0, "west"), "berries": GOLD, "pond": (2, "east")}
    assert asked(clauses, levels="dire full full full", **seen) == "south"
    assert asked(clauses, levels="full dire full full", **seen) == "east"
    assert asked({**clauses, "eat": "eat when low"}, levels="low full full full", **seen) == "rest"


# Wolves


@pytest.mark.parametrize(
    ("clause", "distance", "flees"),
    [
        ("ignore wolves", 0, False),
        ("ignore wolves", 1, False),
        ("flee wolves near", 0, True),
        ("flee wolves near", 1, True),
        ("flee wolves near", 2, False),
        ("flee wolves far", 3, True),
        ("flee wolves far", 4, False),
    ],
)
@pytest.mark.parametrize("way", ACTIONS[:4])
def test_when_and_where_to_wolves_are_fled(clause: str, distance: int, flees: bool, way: str) -> None:
    levels = "dire full full full"
    expected = OPPOSITE[way] if flees else "eat"
    assert asked({"wolf": clause}, levels=levels, berries=[("gold", 0, "east")], wolf=(distance, way)) == expected


def test_nobody_flees_out_of_a_den() -> None:
    assert asked({"wolf": "flee wolves far"}, den=(0, "east"), wolf=(1, "east")) == "rest"


def test_wolves_come_before_the_night() -> None:
    clauses = {"wolf": "flee wolves far", "den": "den at night"}
    assert asked(clauses, time="night", den=(2, "north"), wolf=(2, "north")) == "south"


# What no wanderer looks at


def disguised(seen: Percept, rng: np.random.Generator) -> Percept:
    """Return the same views under other colours and seasons, day and dusk exchanged."""
    names = np.append(rng.permutation(len(COLOURS)), -1)
    time = np.where(seen.time == DAY, DUSK, np.where(seen.time == DUSK, DAY, NIGHT))
    season = rng.integers(0, len(SEASONS), len(seen.season))
    return replace(seen, season=season, time=time, berry_colour=names[seen.berry_colour])


@given(seed=st.integers(0, 2**32))
def test_wanderers_ignore_colours_seasons_and_dusk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = random_views(rng, 100)
    traits = Traits.of([GRAMMAR.random(rng) for _ in range(100)])
    np.testing.assert_array_equal(obey(traits, seen), obey(traits, disguised(seen, rng)))


def test_the_expert_looks_at_all_three() -> None:
    rng = np.random.default_rng(0)
    seen = random_views(rng, 5000)
    assert (expert(seen) != expert(disguised(seen, rng))).mean() > 0.1


# What the expert knows


@pytest.mark.parametrize("season", SEASONS)
def test_the_expert_eats_no_red_and_no_blue_in_autumn(season: str) -> None:
    seen: dict[str, Any] = {"season": season, "levels": "low full full full"}
    berries = [("red", 0, "east"), ("blue", 1, "west"), ("gold", 2, "south")]
    assert knowing(berries=berries, **seen) == ("south" if season == "autumn" else "west")
    assert knowing(berries=berries[:2], **seen) == ("north" if season == "autumn" else "west")
    assert knowing(berries=berries[2:], **seen) == "south"


@pytest.mark.parametrize(("time", "action"), [("day", "south"), ("dusk", "west"), ("night", "west")])
def test_the_expert_is_in_its_den_before_the_night(time: str, action: str) -> None:
    den: Thing = (2, "west")
    assert knowing(time=time, levels="low full full full", berries=GOLD, den=den) == action
