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
    with pytest.raises(ConfigError, match="share: expected a number from 1e-06 to 1, got 0"):
        LayerSelectiveMutation(share=0.0)
    with pytest.raises(ConfigError, match=r"share: expected a number from 1e-06 to 1, got 1\.5"):
        SingularMaskMutation(share=1.5)


def test_layer_selective_moves_its_share_of_modules_and_no_other() -> None:
    """A third of 4 modules is 2: which, each adapter draws anew."""
    stack, steps = AdapterStack.of([random_adapter(0)] * 120), np.full(120, 0.1)
    mutants = LayerSelectiveMutation().mutate(stack, steps, np.random.default_rng(0))
    moved = torch.stack([(mutants.b[n] != stack.b[n]).flatten(1).any(dim=1) for n in SPEC.modules], dim=1)
    assert moved.sum(dim=1).tolist() == [2] * 120
    assert moved.sum(dim=0).tolist() == pytest.approx([60] * 4, abs=20)
    gaussian = GaussianMutation().mutate(stack, steps, np.random.default_rng(0))
    for place, name in enumerate(SPEC.modules):
        assert torch.equal(mutants.b[name][moved[:, place]], gaussian.b[name][moved[:, place]])


def test_structured_mutation_scales_singular_values_and_turns_directions_by_the_step() -> None:
    """With two directions, the singular values' logarithms and the one angle are normal with the step's deviation."""
    spec = LoraSpec(rank=2, alpha=2.0, shapes=(("m", 12, 10),))
    one = random_adapter(0, None, spec)
    stack, u = AdapterStack.of([one] * 800), torch.linalg.svd(dense(one, "m"), full_matrices=False)
    mutants = SvdStructuredMutation().mutate(stack, np.full(800, 0.05), np.random.default_rng(0))
    deltas = mutants.b["m"].double() @ mutants.a["m"].double()
    logs = (torch.linalg.svdvals(deltas)[:, :2] / u.S[:2]).log()
    assert logs.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.01)
    assert logs.std(dim=0).tolist() == pytest.approx([0.05, 0.05], rel=0.15)
    turned = u.U[:, :2].T @ deltas @ u.Vh[:2].T / u.S[:2]  # a rotation times the new scales
    angles = torch.atan2(turned[:, 1, 0], turned[:, 0, 0])
    assert float(angles.std()) == pytest.approx(0.05, rel=0.15)
    inside = u.U[:, :2] @ u.U[:, :2].T @ deltas @ u.Vh[:2].T @ u.Vh[:2]
    torch.testing.assert_close(inside, deltas, atol=1e-5, rtol=1e-5)


def test_structured_mutation_leaves_zero_at_zero() -> None:
    stack = AdapterStack.of([initial_adapter(SPEC, 0)])
    assert same(SvdStructuredMutation().mutate(stack, np.array([1.0]), np.random.default_rng(0)), stack)


@pytest.mark.parametrize(("step", "left"), [(0.25, 0.75), (1.0, 0.0), (2.0, 0.0)])
def test_singular_mask_weakens_its_share_of_components(step: float, left: float) -> None:
    """A fifth of 4 is 1 component; the others keep their strength."""
    stack = AdapterStack.of([random_adapter(0)] * 60)
    mutants = SingularMaskMutation(share=0.2).mutate(stack, np.full(60, step), np.random.default_rng(0))
    for name in SPEC.modules:
        before = torch.linalg.svd(dense(stack[0], name), full_matrices=False)
        deltas = SPEC.scaling * mutants.b[name].double() @ mutants.a[name].double()
        strength = (before.U[:, :4].T @ deltas @ before.Vh[:4].T).diagonal(dim1=1, dim2=2) / before.S[:4]
        kept = strength > (1 + left) / 2
        torch.testing.assert_close(strength, torch.where(kept, 1.0, left).double(), atol=1e-5, rtol=0)
        assert (~kept).sum(dim=1).tolist() == [1] * 60
        assert (~kept).sum(dim=0).tolist() == pytest.approx([15] * 4, abs=11)
