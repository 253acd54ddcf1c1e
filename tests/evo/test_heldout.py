"""Where a best genome's gain sits: its parts live in the worlds of the final table."""

from collections.abc import Sequence

import numpy as np
import pytest

from evo.heldout import Live, measure, split
from fitness.agent import Agent
from fitness.environments.base import Ints
from fitness.environments.forage.config import ForageConfig
from fitness.errors import EngineError
from fitness.records import Episodes, Fault
from fitness.rollout import Lives
from tests.evo.samples import random_adapter
from tests.finetune.lives import Life, record

SEEDS = np.arange(500_000_000, 500_000_010)
PLAIN, TUNED = random_adapter(0), random_adapter(1)
SPOKEN = record([Life(0, 0, ("day",), (0,), ((0.0,),))])


def agent(strategy: str, tuned: bool) -> Agent:
    return Agent(id=7, strategy=strategy, adapter=TUNED if tuned else PLAIN, temperature=1.0)


PARTS = {"neither": agent("plain", False), "prompt": agent("wise", False)}
PARTS |= {"weights": agent("plain", True), "both": agent("wise", True)}


def live_by_hand(lived: list[tuple[str, bool]], failing: int = 0) -> Live:
    """Return what lets agents live 30 steps, 10 more if wise, 20 more if tuned; and the first `failing` worlds fail."""

    def live(agents: Sequence[Agent], seeds: Ints) -> Lives:
        lived.extend((one.strategy, one.adapter is TUNED) for one in agents)
        steps = [30 + 10 * (one.strategy == "wise") + 20 * (one.adapter is TUNED) for one in agents]
        count = np.shape(seeds)[-1]
        ends = np.array((["failed"] * failing + ["died"] * count)[:count] * len(agents), object)
        lengths = np.repeat(steps, count).astype(np.int32)
        blank = np.array([""] * len(ends), object)
        ids = np.repeat([one.id for one in agents], count)
        episodes = Episodes(ids, np.broadcast_to(seeds, (len(agents), count)).ravel(), lengths, ends, blank, blank)
        return Lives(episodes, SPOKEN, (Fault("broken", failing),) if failing else ())

    return live


def test_each_part_is_measured_in_the_worlds_of_the_table() -> None:
    rng, lived = np.random.default_rng(0), list[tuple[str, bool]]()
    live = live_by_hand(lived)
    measured = measure(live, ForageConfig(), [PARTS["neither"]], PARTS["both"], SEEDS, rng)
    lived.clear()
    rows, faults = split(live, PARTS, SEEDS, measured, rng)
    assert lived == [("plain", False), ("wise", False), ("plain", True)]  # the best genome's lives are there already
    assert faults == ()
    assert [(name, row.lifespan, row.episodes) for name, row in rows] == [
        ("neither", 30, 10), ("prompt", 40, 10), ("weights", 50, 10), ("both", 60, 10)
    ]  # fmt: skip
    assert dict(rows)["both"].score == dict(measured.table)["evolved"].score
    (neither, prompt, weights, both) = (row.score for _, row in rows)
    assert prompt - neither == pytest.approx(both - weights)
    assert weights - neither == pytest.approx(2 * (prompt - neither))


def test_parts_that_are_the_same_are_lived_once() -> None:
    rng, lived = np.random.default_rng(0), list[tuple[str, bool]]()
    live = live_by_hand(lived)
    both = agent("wise", False)  # weights that nobody changed
    measured = measure(live, ForageConfig(), [PARTS["neither"]], both, SEEDS, rng)
    lived.clear()
    untuned = {"neither": agent("plain", False), "prompt": both, "weights": agent("plain", False), "both": both}
    rows = dict(split(live, untuned, SEEDS, measured, rng)[0])
    assert lived == [("plain", False)]
    assert rows["weights"].score == rows["neither"].score
    assert rows["prompt"].score == rows["both"].score


def test_a_world_in_which_a_part_failed_is_left_out_for_all_and_too_many_end_the_run() -> None:
    rng = np.random.default_rng(0)
    measured = measure(live_by_hand([]), ForageConfig(), [PARTS["neither"]], PARTS["both"], SEEDS, rng)
    rows, faults = split(live_by_hand([], failing=1), PARTS, SEEDS, measured, rng)
    assert {row.episodes for _, row in rows} == {9}
    assert faults == (Fault("broken", 1),) * 3
    with pytest.raises(EngineError, match="heldout: expected worlds in which no policy failed, got 8 of 10"):
        split(live_by_hand([], failing=2), PARTS, SEEDS, measured, rng)
