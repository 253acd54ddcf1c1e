"""Adapter mutation: noise of the size that was asked for, relative to what the module does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.operators.adapter_mutation import (
    AdapterMutation,
    GaussianMutation,
    LayerSelectiveMutation,
    SingularMaskMutation,
    SvdStructuredMutation,
)
from fitness.adapter import AdapterStack, LoraSpec, initial_adapter
from fitness.errors import ConfigError
from tests.evo.samples import SPEC, copy_of, dense, random_adapter, same

MUTATIONS = [
    GaussianMutation(),
    GaussianMutation(down=True),
    LayerSelectiveMutation(),
    LayerSelectiveMutation(share=1.0, mutation=SingularMaskMutation()),
    SingularMaskMutation(),
    SvdStructuredMutation(),
]
WIDE = LoraSpec(rank=8, alpha=16.0, shapes=(("m", 256, 256),))


@pytest.mark.parametrize("operator", MUTATIONS, ids=repr)
@given(seed=st.integers(0, 10_000), steps=st.lists(st.floats(0, 2), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_contract(operator: AdapterMutation, seed: int, steps: list[float]) -> None:
    stack = AdapterStack.of([random_adapter(seed), random_adapter(seed + 1, 2), initial_adapter(SPEC, 0)])
    before, sizes = copy_of(stack), np.array(steps)
    mutants = operator.mutate(stack, sizes, np.random.default_rng(seed))
    assert (len(mutants), mutants.spec) == (3, SPEC)
    assert all(mutant.is_finite() for mutant in mutants)
    assert same(mutants, operator.mutate(stack, sizes, np.random.default_rng(seed)))
    assert same(stack, before)
    assert sizes.tolist() == steps
    assert same(operator.mutate(stack, np.zeros(3), np.random.default_rng(seed)), stack)


def test_noise_is_relative_to_the_module() -> None:
    big = random_adapter(0, None, WIDE)
    stack = AdapterStack.of([big])
    mutant = GaussianMutation().mutate(stack, np.array([0.1]), np.random.default_rng(0))
    noise = (mutant.b["m"] - stack.b["m"]).pow(2).mean().sqrt()
    assert float(noise) == pytest.approx(0.1 * float(big.b["m"].pow(2).mean().sqrt()), rel=0.05)
    assert torch.equal(mutant.a["m"], stack.a["m"])


def test_step_one_on_an_untouched_adapter_moves_the_output_by_reach() -> None:
    stack = AdapterStack.of([initial_adapter(WIDE, 0)])
    mutant = GaussianMutation(reach=0.2).mutate(stack, np.array([1.0]), np.random.default_rng(0))[0]
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((500, 256)).astype(np.float32))
    change = WIDE.scaling * x @ mutant.a["m"].T @ mutant.b["m"].T
    assert float(change.pow(2).mean().sqrt()) == pytest.approx(0.2, rel=0.1)


def test_repeated_mutation_does_not_freeze_near_zero() -> None:
    stack, rng = AdapterStack.of([initial_adapter(WIDE, 0)]), np.random.default_rng(0)
    sizes = []
    for _ in range(25):
        stack = GaussianMutation().mutate(stack, np.array([0.1]), rng)
        sizes.append(float(stack.b["m"].pow(2).mean().sqrt()))
    assert sizes[-1] == pytest.approx(math.sqrt(25) * sizes[0], rel=0.1)


def test_down_factor_moves_only_if_asked() -> None:
    stack = AdapterStack.of([random_adapter(0)])
    moved = GaussianMutation(down=True).mutate(stack, np.array([0.1]), np.random.default_rng(0))
    assert not torch.equal(moved.a["up"], stack.a["up"])


@pytest.mark.parametrize("operator", MUTATIONS, ids=repr)
def test_each_adapter_has_a_step_size_of_its_own(operator: AdapterMutation) -> None:
    """What a step of 0 leaves alone, a larger step moves, and one larger still moves further on the whole."""
    stack = AdapterStack.of([random_adapter(0)] * 60)
    mutants = operator.mutate(stack, np.repeat([0.0, 0.1, 0.4], 20), np.random.default_rng(0))
    moved = [
        sum(float((dense(mutants[i], name) - dense(stack[i], name)).norm()) for name in SPEC.modules) for i in range(60)
    ]
    still, little, much = np.array(moved).reshape(3, 20).mean(axis=1)
    assert still == 0
    assert 2 * little < much


@pytest.mark.parametrize("operator", MUTATIONS, ids=repr)
@pytest.mark.parametrize("sizes", [[0.1], [0.1, -0.1], [0.1, math.nan]])
def test_bad_step_sizes_are_refused(operator: AdapterMutation, sizes: list[float]) -> None:
    stack = AdapterStack.of([random_adapter(0), random_adapter(1)])
    with pytest.raises(ValueError, match="step_sizes: expected"):
        operator.mutate(stack, np.array(sizes), np.random.default_rng(0))


def test_bad_fields_are_refused() -> None:
    with pytest.raises(ConfigError, match="reach: expected a number of at least 1e-09, got 0"):
        GaussianMutation(reach=0.0)
    with pytest.raises(ConfigError, match="down: expected true or false, got 1"):
        GaussianMutation(down=1)  # type: ignore[arg-type]
