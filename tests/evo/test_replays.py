"""Which lives are kept: typical ones, the longest, a death of each cause; what cannot be shown costs no run its end."""

import numpy as np
import pytest

from evo.replays import choose, keep
from fitness.engines.scripted import ScriptedEngine
from fitness.environments.forage.config import ForageConfig
from fitness.records import Episodes
from fitness.rollout import Lives
from tests.fitness.test_rollout import AGENTS, FOREST, SEEDS, live, wander


def lives(agent: int, *told: tuple[int, str]) -> Lives:
    """Return lives of (length, how they ended) on seeds that are counted."""
    ends = ["outlived" if how == "" else "failed" if how == "failed" else "died" for _, how in told]
    episodes = Episodes(
        agent=np.full(len(told), agent),
        seed=np.arange(len(told)),
        length=np.array([length for length, _ in told], np.int32),
        end=np.array(ends, object),
        cause=np.array(["" if how == "failed" else how for _, how in told], object),
        error=np.array(["x" if how == "failed" else "" for _, how in told], object),
    )
    return Lives(episodes, live(AGENTS[:1], SEEDS[:1]).transitions)


def test_typical_is_the_median_and_each_cause_is_shown_once() -> None:
    bred = lives(5, (30, "wolf"), (10, "wolf"), (99, ""), (20, "wolf"), (40, "cold"), (500, "failed"))
    born = lives(1, (3, "wolf"), (9, "thirst"), (5, "thirst"), (4, "thirst"), (2, "cold"))
    found = [(one.title, one.lives is bred, one.row) for one in choose(born, bred, ("thirst", "cold", "wolf"))]
    assert found == [
        ("best genome: a typical life", True, 0),
        ("best genome: its longest life", True, 2),
        ("a founder: a typical life", False, 3),
        ("best genome: a typical death by cold", True, 4),
        ("best genome: a typical death by wolf", True, 3),
        ("a founder: a typical death by thirst", False, 2),
    ]


def test_no_life_is_shown_twice() -> None:
    (only,) = choose(lives(1, (1, "failed")), lives(5, (7, "wolf")), ("wolf",))
    assert only.title == "best genome: a typical life"


@pytest.mark.fault(
    "a life that is to be looked at cannot be lived again",
    "it is left out of `replays.parquet` and listed in `faults.parquet`; the run ends as it would have",
)
def test_a_life_that_cannot_be_lived_again_is_a_fault_and_the_others_are_kept() -> None:
    lived = live()
    chosen = choose(lived, lived, ())
    kept, faults = keep(ScriptedEngine(wander), FOREST, AGENTS, chosen)
    assert [one.title for one in kept] == [one.title for one in chosen]
    assert not faults
    kept, faults = keep(ScriptedEngine(wander), ForageConfig(horizon=60, wolves=3), AGENTS, chosen)
    assert not kept
    assert len(faults) == len(chosen)
    assert all("expected the life of genome" in fault.reason for fault in faults)
