"""Proximal mutation: on a policy small enough to differentiate by hand, change goes where behaviour minds it least."""

import numpy as np
import pytest
import torch
from torch import Tensor

from evo.operators.adapter_mutation import GaussianMutation, ProximalMutation
from fitness.adapter import Adapter, AdapterStack, LoraSpec
from fitness.errors import AdapterError, ConfigError
from tests.evo.samples import copy_of, random_adapter, same

LINEAR = LoraSpec(rank=2, alpha=2.0, shapes=(("m", 2, 3),))
"""Three actions, two inputs: `pi = softmax(B A x)`, with A the identity."""
INPUTS = torch.tensor([[1.0, 0.0], [1.0, 0.1]], dtype=torch.float64)
"""The second input is all but never on."""


def policy(up: Tensor) -> Tensor:
    """Return the mean chances [3] of the actions over the inputs."""
    return torch.softmax(INPUTS @ up.T, dim=1).mean(dim=0)


def by_hand(up: Tensor) -> Tensor:
    """Return s of B [3, 2] from `d pi_a / d B_jk = mean of pi_a (1[a = j] - pi_j) x_k`."""
    chances = torch.softmax(INPUTS @ up.double().T, dim=1)
    slopes = chances[:, :, None] * (torch.eye(3) - chances[:, None, :])  # [n, a, j]
    return torch.einsum("naj,nk->ajk", slopes, INPUTS).div(2).square().sum(dim=0).sqrt()


def linear(seed: int, count: int) -> tuple[AdapterStack, AdapterStack]:
    """Return copies of one little policy, and its sensitivities."""
    up = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, 2)).astype(np.float32))
    one = AdapterStack.of([Adapter(LINEAR, {"m": torch.eye(2)}, {"m": up})] * count)
    s = by_hand(up).float().expand(count, 3, 2)
    return one, AdapterStack(LINEAR, {"m": torch.zeros(count, 2, 2)}, {"m": s})


@pytest.mark.parametrize("seed", range(4))
def test_the_formula_by_hand_is_the_gradient(seed: int) -> None:
    up = linear(seed, 1)[0].b["m"][0].double()
    gradients = torch.autograd.functional.jacobian(policy, up)
    torch.testing.assert_close(by_hand(up), gradients.square().sum(dim=0).sqrt())


@pytest.mark.parametrize("seed", range(4))
def test_behaviour_minds_it_less_than_gaussian_noise_of_that_length(seed: int) -> None:
    stack, s = linear(seed, 500)
    steps, before = np.full(500, 0.05), policy(stack.b["m"][0].double())
    minded = []
    for mutants in (
        ProximalMutation().mutate_sensed(stack, s, steps, np.random.default_rng(1)),
        GaussianMutation().mutate(stack, steps, np.random.default_rng(1)),
    ):
        change = (mutants.b["m"] - stack.b["m"]).double()
        unit = change / change.flatten(1).norm(dim=1)[:, None, None]
        minded.append(np.mean([float((policy(stack.b["m"][0] + 0.05 * one) - before).norm()) for one in unit]))
    assert minded[0] < 0.6 * minded[1]


def test_each_change_is_divided_by_the_relative_sensitivity() -> None:
    stack, s = linear(0, 3)
    steps = np.array([0.0, 0.1, 0.2])
    proximal = (
        ProximalMutation(floor=0.5).mutate_sensed(stack, s, steps, np.random.default_rng(0)).b["m"] - stack.b["m"]
    )
    gaussian = GaussianMutation().mutate(stack, steps, np.random.default_rng(0)).b["m"] - stack.b["m"]
    relative = (s.b["m"] / s.b["m"][0].square().mean().sqrt()).clamp_min(0.5)
    assert float(relative.min()) == 0.5
    assert float(relative.max()) > 1
    torch.testing.assert_close(proximal, gaussian / relative, atol=1e-6, rtol=1e-4)


def test_contract() -> None:
    stack = AdapterStack.of([random_adapter(seed) for seed in range(3)])
    s = AdapterStack.of([random_adapter(seed) for seed in range(3, 6)]).map(torch.abs)
    before, steps = copy_of(stack), np.array([0.1, 0.0, 1.0])
    operator = ProximalMutation(mutation=GaussianMutation(down=True))
    mutants = operator.mutate_sensed(stack, s, steps, np.random.default_rng(0))
    assert same(mutants, operator.mutate_sensed(stack, s, steps, np.random.default_rng(0)))
    assert same(stack, before)
    assert all(mutant.is_finite() for mutant in mutants)
    assert same(mutants.part(slice(1, 2)), stack.part(slice(1, 2)))
    assert not torch.equal(mutants.a["up"][0], stack.a["up"][0])


def test_where_nothing_is_known_it_is_the_other_mutation() -> None:
    stack = AdapterStack.of([random_adapter(0)])
    mutants = ProximalMutation().mutate_sensed(stack, stack.map(torch.zeros_like), np.ones(1), np.random.default_rng(0))
    wanted = GaussianMutation().mutate(stack, np.ones(1), np.random.default_rng(0))
    torch.testing.assert_close(mutants.b["up"], wanted.b["up"])


def test_what_does_not_fit_is_refused() -> None:
    stack = AdapterStack.of([random_adapter(0)])
    with pytest.raises(AdapterError, match=r"sensitivity: expected that of 1 adapters of .*, got 2 of"):
        ProximalMutation().mutate_sensed(
            stack, AdapterStack.of([random_adapter(0)] * 2), np.ones(1), np.random.default_rng(0)
        )
    with pytest.raises(ValueError, match="step_sizes: expected 1 numbers"):
        ProximalMutation().mutate_sensed(stack, stack, -np.ones(1), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="floor: expected a number of at least 1e-06, got 0"):
        ProximalMutation(floor=0.0)
