"""The population's optimiser is P optimisers that share nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from finetune.optimizer import PopulationAdamW

SHAPES = ((4, 3), (5, 2))
RATES = (1e-3, 1e-2, 3e-2)
STEPS = 8


def draw(rng: np.random.Generator, size: float = 1.0) -> list[Tensor]:
    return [torch.from_numpy(rng.normal(0, size, (len(RATES), *shape)).astype(np.float32)) for shape in SHAPES]


def start() -> list[Tensor]:
    return [factor.requires_grad_() for factor in draw(np.random.default_rng(0))]


def gradients(step: int) -> list[Tensor]:
    """Some steps have large gradients, which are clipped, and some small ones, which are not."""
    return draw(np.random.default_rng([1, step]), size=(0.01, 10.0)[step % 2])


def set_gradients(factors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for factor, value in zip(factors, values, strict=True):
        factor.grad = value.clone()


def population(factors: list[Tensor], **options: float) -> PopulationAdamW:
    return PopulationAdamW(factors, torch.tensor(RATES), clip_norm=1.0, **options)


def alone(agent: int, steps: Sequence[int], weight_decay: float) -> list[Tensor]:
    """What PyTorch's own AdamW makes of one agent that is active in `steps`."""
    factors = [factor.detach()[agent].clone().requires_grad_() for factor in start()]
    optimizer = torch.optim.AdamW(factors, lr=RATES[agent], weight_decay=weight_decay)
    for step in steps:
        set_gradients(factors, [gradient[agent] for gradient in gradients(step)])
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        optimizer.step()
    return factors


def test_it_equals_one_adamw_per_agent() -> None:
    factors, everyone = start(), torch.ones(len(RATES), dtype=torch.bool)
    optimizer = population(factors, weight_decay=0.1)
    for step in range(STEPS):
        set_gradients(factors, gradients(step))
        optimizer.step(everyone)
    for agent in range(len(RATES)):
        for ours, theirs in zip(factors, alone(agent, range(STEPS), 0.1), strict=True):
            torch.testing.assert_close(ours[agent], theirs, atol=1e-7, rtol=2e-7)


def test_each_agent_counts_its_own_steps() -> None:
    factors = start()
    optimizer = population(factors)
    for step in range(STEPS):
        set_gradients(factors, gradients(step))
        optimizer.step(torch.tensor([True, step >= 5, step % 2 == 0]))
    for agent, steps in enumerate((range(STEPS), range(5, STEPS), range(0, STEPS, 2))):
        for ours, theirs in zip(factors, alone(agent, steps, 0.0), strict=True):
            torch.testing.assert_close(ours[agent], theirs, atol=1e-7, rtol=2e-7)


def test_a_masked_agent_keeps_every_bit() -> None:
    factors = start()
    optimizer = population(factors, weight_decay=0.5)
    for step in range(STEPS):
        set_gradients(factors, gradients(step))
        optimizer.step(torch.tensor([True, False, True]))
    for factor, before in zip(factors, start(), strict=True):
        assert torch.equal(factor[1], before[1])
        assert not torch.equal(factor[0], before[0])


def test_a_broken_gradient_harms_its_own_agent_only() -> None:
    for poison in (float("nan"), float("inf")):
        broken, whole, everyone = start(), start(), torch.ones(3, dtype=torch.bool)
        ours, reference = population(broken, weight_decay=0.1), population(whole, weight_decay=0.1)
        for step in range(3):
            set_gradients(whole, gradients(step))
            reference.step(torch.tensor([True, True, False]))
            set_gradients(broken, gradients(step))
            broken[1].grad[2, 0, 0] = poison
            norm = ours.step(everyone)
            assert torch.isfinite(norm).tolist() == [True, True, False]
        assert all(torch.equal(a, b) for a, b in zip(broken, whole, strict=True))
        set_gradients(broken, gradients(3))
        ours.step(everyone)
        assert all(torch.isfinite(factor).all() for factor in broken)


def test_the_norm_before_clipping_is_returned_and_gradients_are_cleared() -> None:
    factors = start()
    set_gradients(factors, gradients(1))
    norm = population(factors).step(torch.ones(3, dtype=torch.bool))
    expected = torch.cat([gradient.flatten(1) for gradient in gradients(1)], dim=1).norm(dim=1)
    torch.testing.assert_close(norm, expected)
    assert all(factor.grad is None for factor in factors)


def test_a_factor_without_gradient_counts_as_zero() -> None:
    factors = start()
    factors[0].grad = gradients(0)[0]
    population(factors).step(torch.ones(3, dtype=torch.bool))
    assert torch.equal(factors[1], start()[1])
