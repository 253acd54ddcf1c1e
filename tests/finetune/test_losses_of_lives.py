"""Losses of whole lives, and weights that imitate: hand-worked numbers and limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from finetune.losses import (
    discounted_positions,
    effective_share,
    exponential_weights,
    imitation,
    kl_divergence,
    of_taken,
    preference,
    regularised_weights,
    tempered_weights,
)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pair(*values: float) -> Tensor:
    return tensor(*values)[None, None]


def test_of_taken() -> None:
    scores = torch.arange(12.0).reshape(1, 4, 3)
    assert of_taken(scores, torch.tensor([[0, 2, 1, 0]])).tolist() == [[0.0, 5.0, 7.0, 9.0]]


def test_preference_by_hand() -> None:
    # better life: log-ratios .5 and .1 with weights 1 and .5; worse: -.2 with weight 1. Margin 2 (.5 + .05 + .2) = 1.5.
    loss = preference(pair(-0.5, -0.9, -1.2), pair(-1.0, -1.0, -1.0), pair(1.0, 0.5, -1.0), beta=2.0)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_at_the_reference_preference_is_log_two_and_pulls_by_half() -> None:
    start, weight = pair(-1.0, -2.0, -0.3), pair(1.0, 0.25, -0.5)
    now = start.clone().requires_grad_()
    loss = preference(now, start, weight, beta=0.4)
    assert float(loss.detach()) == pytest.approx(math.log(2))
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), now)[0], -0.5 * 0.4 * weight)


@given(st.floats(-8, 8), st.floats(-8, 8))
def test_what_is_preferred_already_pulls_less(one: float, two: float) -> None:
    low, high = sorted((one, two))
    losses = [float(preference(pair(gap, 0.0), pair(0.0, 0.0), pair(1.0, -1.0), beta=0.5)) for gap in (low, high)]
    assert losses[0] >= losses[1] > 0


def test_positions_by_hand() -> None:
    # gamma 1/2, T 3: 1, then (1/2)(1 - 1/4)/(7/8) = 3/7, then (1/4)(1/2)/(7/8) = 1/7
    places = discounted_positions(torch.arange(3), tensor(3.0), 0.5)
    torch.testing.assert_close(places, tensor(1, 3 / 7, 1 / 7))


def test_positions_in_their_limits() -> None:
    steps = torch.arange(5.0, dtype=torch.float64)
    torch.testing.assert_close(discounted_positions(steps, tensor(5.0), 1 - 1e-9), 1 - steps / 5, atol=1e-6, rtol=0)
    torch.testing.assert_close(discounted_positions(steps, tensor(5.0), 1e-9), (steps == 0).double(), atol=1e-6, rtol=0)


def test_long_lives_do_not_weigh_by_their_length() -> None:
    sums = [float(discounted_positions(torch.arange(n), tensor(float(n)), 0.9).sum()) for n in (100, 400)]
    assert sums[1] / sums[0] < 1.02  # four times the decisions, but what is discounted is bounded by 1 / (1 - gamma)
    assert sums[1] == pytest.approx(10, rel=0.01)


def test_imitation_by_hand() -> None:
    assert float(imitation(pair(-1.0, -3.0, -7.0), pair(3.0, 1.0, 0.0))) == pytest.approx(1.5)
    assert float(imitation(pair(-1.0, -3.0), pair(0.0, 0.0))) == 0


def test_regularised_weights_by_hand() -> None:
    advantage = tensor(-1.0, 0.0, 1.0, 9.0)
    torch.testing.assert_close(regularised_weights(advantage, 1.0, 20.0), tensor(math.exp(-1), 1, math.e, 20))
    assert regularised_weights(advantage, 0.0, 20.0).tolist() == [0, 0, 1, 1]


def test_a_small_temperature_is_nearly_binary() -> None:
    advantage = tensor(-0.5, 0.7, -0.1, 0.2)
    exponential = regularised_weights(advantage, 1e-3, 20.0)
    torch.testing.assert_close(exponential / 20, regularised_weights(advantage, 0.0, 20.0))


def test_the_temperature_rises_until_enough_counts_and_no_further() -> None:
    advantage = torch.cat([torch.linspace(-3, 0, 99), torch.tensor([30.0])]).double()[None]
    alone = effective_share(exponential_weights(advantage, 0.5, 1e30))
    weight = tempered_weights(advantage, 0.5, 1e30, 0.1)
    assert float(alone) == pytest.approx(0.01, abs=1e-6)
    assert 0.1 <= float(effective_share(weight)) < 0.2
    betas = [0.5 * 1.25**rises for rises in range(99)]
    enough = next(b for b in betas if effective_share(exponential_weights(advantage, b, 1e30)) >= 0.1)
    torch.testing.assert_close(weight, exponential_weights(advantage, enough, 1e30))


def test_the_temperature_rises_for_each_agent_alone() -> None:
    calm, wild = torch.linspace(-1, 1, 50)[None], torch.cat([torch.zeros(49), torch.tensor([50.0])])[None]
    both = tempered_weights(torch.cat([calm, wild]), 1.0, 1e30, 0.1)
    assert torch.equal(both[:1], exponential_weights(calm, 1.0, 1e30))
    torch.testing.assert_close(both[1:], tempered_weights(wild, 1.0, 1e30, 0.1))


def test_without_a_least_share_the_temperature_stays() -> None:
    advantage = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tempered_weights(advantage, 0.3, 20.0, 0.0), exponential_weights(advantage, 0.3, 20.0))


def test_what_is_not_a_number_is_handed_on_and_ends() -> None:
    weight = tempered_weights(torch.tensor([[0.0, float("nan")], [0.0, 1.0]]), 1.0, 20.0, 0.5)
    assert weight[0].isnan().all()
    assert weight[1].isfinite().all()


def test_divergence_from_the_teacher_is_zero_at_the_teacher_and_has_no_slope_there() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64).requires_grad_()
    teacher = logits.detach().log_softmax(dim=-1)
    loss = kl_divergence(logits.log_softmax(dim=-1), teacher).sum()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert float(torch.autograd.grad(loss, logits)[0].abs().max()) < 1e-12


def test_reverse_divergence_by_hand() -> None:
    pupil, teacher = tensor(0.5, 0.5).log(), tensor(0.9, 0.1).log()
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert float(kl_divergence(pupil, teacher)) == pytest.approx(expected)
