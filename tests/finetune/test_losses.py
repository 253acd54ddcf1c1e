"""Every loss by hand-worked numbers and in its limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from finetune.losses import (
    Clip,
    clipped_policy_gradient,
    effective_share,
    entropy,
    exponential_weights,
    half_squared_error,
    importance_weights,
    kl_divergence,
    sampled_entropy,
    sampled_kl_divergence,
    tilted,
    weighted_likelihood,
)
from fitness.errors import ConfigError

CLIP = Clip(below=0.2, above=0.28)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def surrogate(ratio: float, advantage: float, weight: float = 1.0) -> tuple[float, float]:
    """Loss, and its gradient with respect to the log-probability."""
    now = row(math.log(ratio) - 1).requires_grad_()
    loss = clipped_policy_gradient(now, row(-1.0), row(advantage), row(weight), CLIP)
    loss.sum().backward()
    return float(loss.detach()), float(now.grad)


def test_half_a_squared_error_by_hand() -> None:
    value = row(3.0, -1.0).requires_grad_()
    loss = half_squared_error(value, row(1.0, -1.0))
    loss.sum().backward()
    assert loss.tolist() == [[2.0, 0.0]]
    assert value.grad.tolist() == [[2.0, 0.0]]


def test_importance_weights_by_hand() -> None:
    weights = importance_weights(row(0.5, 0.2, 0.9).log(), row(0.25, 0.4, 0.1).log(), cap=3.0)
    torch.testing.assert_close(weights, row(2.0, 0.5, 3.0))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),  # inside
        (1.5, 1.0, -1.28, 0.0),  # has risen enough
        (0.5, -1.0, 0.8, 0.0),  # has fallen enough
        (1.5, -1.0, 1.5, 1.5),  # has risen and should not have: comes back
        (0.5, 1.0, -0.5, -0.5),  # has fallen and should not have: comes back
    ],
)
def test_clipped_policy_gradient_by_hand(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    assert surrogate(ratio, advantage) == (pytest.approx(loss), pytest.approx(gradient))
    assert surrogate(ratio, advantage, weight=0.5) == (pytest.approx(loss / 2), pytest.approx(gradient / 2))


def test_at_the_start_the_gradient_is_weighted_reinforce() -> None:
    logits = torch.linspace(-1, 2, 15, dtype=torch.float64).reshape(1, 5, 3).requires_grad_()
    taken, advantage, weight = torch.tensor([[0, 1, 2, 0, 1]]), row(1, -2, 0.5, -0.1, 3), row(1, 0.5, 2, 1, 0.3)

    def chosen() -> Tensor:
        return torch.log_softmax(logits, dim=-1).gather(2, taken[..., None]).squeeze(2)

    loss = clipped_policy_gradient(chosen(), chosen().detach(), advantage, weight, CLIP).sum()
    ours = torch.autograd.grad(loss, logits)[0]
    reinforce = torch.autograd.grad(-(weight * advantage * chosen()).sum(), logits)[0]
    torch.testing.assert_close(ours, reinforce)


def test_exponential_weights_by_hand() -> None:
    raw = [1.0, math.e**2, 5.0]
    expected = row(*(value / (sum(raw) / 3) for value in raw))
    torch.testing.assert_close(
        exponential_weights(row(0.0, 1.0, 9.0), beta=0.5, cap=5.0 + 3.0)[:, :2].log().diff(), row(2.0)
    )
    torch.testing.assert_close(exponential_weights(row(0.0, 1.0, math.log(5.0) / 2), beta=0.5, cap=1e9), expected)


def test_exponential_weights_are_capped_and_have_mean_one_per_agent() -> None:
    advantage = torch.tensor([[0.0, 100.0, 200.0], [-1.0, -2.0, -3.0]])
    weights = exponential_weights(advantage, beta=1.0, cap=20.0)
    torch.testing.assert_close(weights[0], torch.tensor([3 / 41, 60 / 41, 60 / 41]))
    torch.testing.assert_close(weights.mean(dim=1), torch.ones(2))


def test_a_beta_that_leaves_no_weight_gives_zeros_and_not_nan() -> None:
    assert exponential_weights(torch.tensor([[-1.0, -2.0]]), beta=1e-3, cap=20.0).tolist() == [[0.0, 0.0]]


def test_without_preference_regression_is_supervised_fine_tuning() -> None:
    now = row(-0.5, -1.0, -2.0)
    weights = exponential_weights(row(-3.0, 0.0, 5.0), beta=1e12, cap=20.0)
    torch.testing.assert_close(weighted_likelihood(now, weights), -now)


def test_a_tilted_policy_by_hand() -> None:
    start = torch.tensor([[[0.5, 0.25, 0.25]]], dtype=torch.float64).log()
    aims = [tilted(start, torch.tensor([[0]]), row(a), beta=2.0, cap=4.0).exp() for a in (0.0, 2 * math.log(2), -99.0)]
    torch.testing.assert_close(aims[0], start.exp())  # worth nothing: stays
    torch.testing.assert_close(aims[1], torch.tensor([[[2 / 3, 1 / 6, 1 / 6]]], dtype=torch.float64))  # 1.0 : .25 : .25
    torch.testing.assert_close(
        aims[2], torch.tensor([[[0.2, 0.4, 0.4]]], dtype=torch.float64)
    )  # capped: .125 : .25 : .25


def test_weighted_likelihood_by_hand() -> None:
    torch.testing.assert_close(weighted_likelihood(row(-0.5, -1.0), row(2.0, 0.1)), row(1.0, 0.1))


def test_effective_share() -> None:
    weights = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 7.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0], [0.0] * 4])
    torch.testing.assert_close(effective_share(weights), torch.tensor([1.0, 0.25, 0.4, 0.0]))
    torch.testing.assert_close(effective_share(1e3 * weights), effective_share(weights))


def test_kl_divergence_by_hand() -> None:
    start, now = row(0.5, 0.5).log(), row(0.25, 0.75).log()
    torch.testing.assert_close(
        kl_divergence(start, now), torch.tensor([0.5 * math.log(2) + 0.5 * math.log(2 / 3)]).double()
    )
    assert kl_divergence(start, start).item() == 0


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=7))
def test_kl_divergence_is_never_negative(logits: list[tuple[float, float]]) -> None:
    start, now = torch.tensor(logits, dtype=torch.float64).T.log_softmax(dim=-1)
    assert float(kl_divergence(start, now)) >= -1e-12


def test_entropy() -> None:
    assert float(entropy(torch.full((7,), 1 / 7).log())) == pytest.approx(math.log(7))
    assert float(entropy(torch.tensor([0.0, -200.0, -200.0]))) == pytest.approx(0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"below": 1.0}, r"below: expected a number between 0 and 1, got 1\.0"),
        ({"above": 0.0}, r"above: expected a number above 0, got 0\.0"),
        ({"importance": -1.0}, r"importance: expected a number above 0, got -1\.0"),
    ],
)
def test_a_clip_out_of_range_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Clip(**fields)


START, NOW = row(0.5, 0.3, 0.15, 0.05).log(), row(0.25, 0.4, 0.3, 0.05).log()
"""Of four answers before and after training; the sum over all of them, each times its chance, is the mean."""


def test_what_was_said_tells_the_divergence() -> None:
    exact = kl_divergence(START, NOW)
    torch.testing.assert_close((START.exp() * sampled_kl_divergence(START, NOW, START)).sum(dim=1), exact)
    other = row(0.4, 0.2, 0.2, 0.2).log()  # said by somebody else: no weight comes near the cap
    torch.testing.assert_close((other.exp() * sampled_kl_divergence(START, NOW, other)).sum(dim=1), exact)
    assert (sampled_kl_divergence(START, NOW, START) >= 0).all()
    assert not sampled_kl_divergence(START, START, other).any()


def test_what_was_said_tells_the_entropy() -> None:
    often = START.repeat_interleave(torch.tensor([10, 6, 3, 1]), dim=1)  # each as often as its chance
    torch.testing.assert_close(sampled_entropy(often, often).mean(dim=1), entropy(START))
    certain = row(*([0.9999] * 2), *([1e-5] * 18)).log()  # now says what it seldom said, and hardly anything else
    assert float(sampled_entropy(certain, often.flip(1)).mean()) < 0.01 < float(entropy(START))
