"""Objectives and the yardstick, worked by hand."""

import numpy as np
import pytest

from fitness.environments.forage.config import ForageConfig
from fitness.errors import ConfigError
from fitness.objectives import Lifespan, Yardstick
from fitness.records import Episodes


def episodes(*rows: tuple[int, int, str]) -> Episodes:
    """Return episodes of (agent, length, end)."""
    agent, length, end = zip(*rows, strict=True)
    n = len(rows)
    return Episodes(
        np.array(agent),
        np.arange(n),
        np.array(length, np.int32),
        np.array(end, object),
        np.array(["thirst" if e == "died" else "" for e in end], object),
        np.full(n, "", object),
    )


LIVES = episodes((4, 10, "died"), (2, 128, "outlived"), (4, 3, "failed"), (4, 20, "died"), (9, 7, "failed"))


def test_lifespan_counts_steps_and_leaves_failures_out() -> None:
    np.testing.assert_array_equal(Lifespan().values(LIVES), [10.0, 128.0, np.nan, 20.0, np.nan])


def test_values_by_agent_keep_the_order_of_episodes() -> None:
    by_agent = {id: values.tolist() for id, values in Lifespan().by_agent(LIVES).items()}
    assert {id: [x for x in values if x == x] for id, values in by_agent.items()} == {
        2: [128.0],
        4: [10.0, 20.0],
        9: [],
    }


def test_the_score_is_zero_for_chance_and_one_for_the_expert() -> None:
    yardstick = Yardstick(random=25.0, expert=115.0)
    assert [yardstick.score(lifespan) for lifespan in (25.0, 115.0, 70.0, 16.0, 124.0)] == [0, 1, 0.5, -0.1, 1.1]


def test_the_yardstick_is_measured_on_the_given_worlds() -> None:
    config = ForageConfig(horizon=40)
    one, two = (Yardstick.measure(config, np.arange(first, first + 200)) for first in (0, 200))
    both = Yardstick.measure(config, np.arange(400))
    assert both.random == pytest.approx((one.random + two.random) / 2)
    assert both.expert == pytest.approx((one.expert + two.expert) / 2)
    assert both.random < both.expert <= 40
    assert Yardstick.measure(config, np.arange(400)) == both


def test_a_world_in_which_knowledge_is_worth_nothing_is_no_yardstick() -> None:
    with pytest.raises(ConfigError, match=r"environment: expected an expert .* got mean lifespans of 1\.0 and 1\.0"):
        Yardstick.measure(ForageConfig(horizon=1), np.arange(4))
