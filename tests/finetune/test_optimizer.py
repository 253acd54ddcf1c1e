"""The population's optimiser is P optimisers that share nothing."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.optimizer import PopulationAdamW

WEIGHTS = 22
RATES = (1e-3, 1e-2, 3e-2)
STEPS = 8


def draw(rng: np.random.Generator, size: float = 1.0) -> Tensor:
    return torch.from_numpy(rng.normal(0, size, (len(RATES), WEIGHTS)).astype(np.float32))


def start() -> Tensor:
    return draw(np.random.default_rng(0)).requires_grad_()


def gradient(step: int) -> Tensor:
    """Some steps have large gradients, which are clipped, and some small ones, which are not."""
    return draw(np.random.default_rng([1, step]), size=(0.01, 10.0)[step % 2])


def population(weights: Tensor, **options: float) -> PopulationAdamW:
    return PopulationAdamW(weights, torch.tensor(RATES), clip_norm=1.0, **options)


def alone(agent: int, steps: Sequence[int], weight_decay: float) -> Tensor:
    """What PyTorch's own AdamW makes of one agent that is active in `steps`."""
    weights = start().detach()[agent].clone().requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=RATES[agent], weight_decay=weight_decay)
    for step in steps:
        weights.grad = gradient(step)[agent]
        torch.nn.utils.clip_grad_norm_([weights], 1.0)
        optimizer.step()
    return weights


@pytest.fixture(params=[1 << 17, 50, 8])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move everyone at once, two agents at a time, or a third of an agent."""
    monkeypatch.setattr("finetune.optimizer._TOGETHER", request.param)


@pytest.mark.usefixtures("pieces")
def test_it_equals_one_adamw_per_agent() -> None:
    weights, everyone = start(), torch.ones(len(RATES), dtype=torch.bool)
    optimizer = population(weights, weight_decay=0.1)
    for step in range(STEPS):
        weights.grad = gradient(step)
        optimizer.step(everyone)
    for agent in range(len(RATES)):
        torch.testing.assert_close(weights[agent], alone(agent, range(STEPS), 0.1), atol=1e-7, rtol=2e-7)


@pytest.mark.usefixtures("pieces")
def test_each_agent_counts_its_own_steps() -> None:
    weights = start()
    optimizer = population(weights)
    for step in range(STEPS):
        weights.grad = gradient(step)
        optimizer.step(torch.tensor([True, step >= 5, step % 2 == 0]))
    for agent, steps in enumerate((range(STEPS), range(5, STEPS), range(0, STEPS, 2))):
        torch.testing.assert_close(weights[agent], alone(agent, steps, 0.0), atol=1e-7, rtol=2e-7)


@pytest.mark.usefixtures("pieces")
def test_a_masked_agent_keeps_every_bit() -> None:
    weights = start()
    optimizer = population(weights, weight_decay=0.5)
    for step in range(STEPS):
        weights.grad = gradient(step)
        optimizer.step(torch.tensor([True, False, True]))
    assert torch.equal(weights[1], start()[1])
    assert all(not torch.equal(weights[agent], start()[agent]) for agent in (0, 2))


def test_a_broken_gradient_harms_its_own_agent_only() -> None:
    for poison in (float("nan"), float("inf")):
        broken, whole, everyone = start(), start(), torch.ones(3, dtype=torch.bool)
        ours, reference = population(broken, weight_decay=0.1), population(whole, weight_decay=0.1)
        for step in range(3):
            whole.grad = gradient(step)
            reference.step(torch.tensor([True, True, False]))
            broken.grad = gradient(step)
            broken.grad[2, 0] = poison
            norm = ours.step(everyone)
            assert torch.isfinite(norm).tolist() == [True, True, False]
        assert torch.equal(broken, whole)
        broken.grad = gradient(3)
        ours.step(everyone)
        assert torch.isfinite(broken).all()


def test_the_norm_before_clipping_is_returned_and_the_gradient_is_cleared() -> None:
    weights = start()
    weights.grad = gradient(1)
    norm = population(weights).step(torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(norm, gradient(1).norm(dim=1))
    assert weights.grad is None


def test_without_a_gradient_nothing_moves() -> None:
    weights = start()
    population(weights).step(torch.ones(3, dtype=torch.bool))
    assert torch.equal(weights, start())
