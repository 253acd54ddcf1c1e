"""Standing: shrunken scores, by hand."""

import numpy as np
import pytest

from evo.algorithms.standing import Standing


def told(lifespans: dict[int, list[float]], weight: float) -> Standing:
    standing = Standing()
    standing.admit(lifespans)
    standing.merge({id_: np.array(values) for id_, values in lifespans.items()})
    standing.score(weight)
    return standing


def test_scores_by_hand() -> None:
    standing = told({0: [10.0, 10.0], 1: [40.0, 40.0]}, weight=2.0)
    # The members' mean is 25; two episodes against a prior that weighs two: half way.
    assert standing.scores == {0: 17.5, 1: 32.5}


def test_no_weight_no_shrinkage() -> None:
    assert told({0: [10.0], 1: [40.0]}, weight=0.0).scores == {0: 10.0, 1: 40.0}


def test_a_lucky_newcomer_does_not_displace_the_tested() -> None:
    standing = told({0: [50.0] * 8, 1: [10.0] * 8}, weight=8.0)
    for _ in range(4):
        standing.merge({0: np.full(8, 50.0), 1: np.full(8, 10.0)})
    standing.admit([0, 1, 2])
    standing.merge({0: np.full(8, 50.0), 1: np.full(8, 10.0), 2: np.full(8, 55.0)})
    standing.score(8.0)
    assert standing.evaluations[2].mean > standing.evaluations[0].mean
    assert standing.rank([0, 1, 2], 3) == [0, 2, 1]


def test_a_successor_is_drawn_to_the_score_that_it_inherits() -> None:
    standing = told({0: [60.0, 60.0], 1: [0.0, 0.0], 2: [60.0, 60.0]}, weight=2.0)
    assert standing.scores[2] == 50.0
    standing.succeed(2, 0)
    standing.score(2.0)
    assert standing.scores[2] == (60.0 + 50.0) / 2


def test_ties_go_to_more_episodes_then_to_the_lower_id() -> None:
    standing = told({5: [10.0], 3: [10.0], 4: [10.0, 10.0]}, weight=1.0)
    assert standing.rank([5, 3, 4], 3) == [4, 3, 5]


def test_the_untested_have_no_rank() -> None:
    assert told({0: [1.0], 1: []}, weight=1.0).rank([0, 1], 2) == [0]


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_state_is_complete(weight: float) -> None:
    standing = told({0: [1.0], 1: [2.0, 4.0]}, weight)
    standing.succeed(1, 0)
    copy = Standing()
    copy.restore(standing.state())
    standing.score(weight)
    copy.score(weight)
    assert copy.state() == standing.state()
