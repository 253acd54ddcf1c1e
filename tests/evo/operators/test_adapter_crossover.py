"""Adapter crossover: exact in delta W against dense algebra, with every direction left open to training."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.operators.adapter_crossover import (
    AdapterCrossover,
    DareCrossover,
    ExactCrossover,
    ExtrapolateCrossover,
    LayerwiseCrossover,
    SingularCrossover,
    SlerpCrossover,
    TiesCrossover,
    merge,
)
from fitness.adapter import Adapter, AdapterStack, LoraSpec, initial_adapter
from fitness.errors import AdapterError, ConfigError
from tests.evo.samples import SPEC, copy_of, dense, random_adapter, same

CROSSOVERS = [
    ExactCrossover(),
    ExactCrossover(weights=(0.7, 0.3), floor=0.0),
    SlerpCrossover(),
    SlerpCrossover(point=0.3, split=True),
    LayerwiseCrossover(),
    SingularCrossover(),
    SingularCrossover(share=0.7, chosen="strongest"),
    DareCrossover(),
    TiesCrossover(),
    ExtrapolateCrossover(),
]
NARROW = LoraSpec(rank=4, alpha=4.0, shapes=(("narrow", 3, 2), ("wide", 3, 9)))
SEEDS = st.integers(0, 10_000)


def stack(*seeds: int, rank_used: int | None = None) -> AdapterStack:
    return AdapterStack.of([random_adapter(seed, rank_used) for seed in seeds])


def truncated(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the best approximation of `rank`, by dense SVD (Eckart and Young 1936)."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


@pytest.mark.parametrize("operator", CROSSOVERS, ids=repr)
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_contract(operator: AdapterCrossover, seed: int) -> None:
    first, second = stack(seed, seed + 1, seed + 2), stack(seed + 3, seed + 4, seed + 5)
    before = copy_of(first), copy_of(second)
    children = operator.cross(first, second, np.random.default_rng(seed))
    assert (len(children), children.spec) == (3, SPEC)
    assert all(child.is_finite() for child in children)
    assert same(children, operator.cross(first, second, np.random.default_rng(seed)))
    assert same(first, before[0])
    assert same(second, before[1])


@pytest.mark.parametrize("operator", CROSSOVERS, ids=repr)
@given(seed=SEEDS, ranks=st.tuples(st.integers(0, 4), st.integers(0, 4)), spec=st.sampled_from([SPEC, NARROW]))
@settings(max_examples=15, deadline=None)
def test_every_direction_stays_open_to_training(
    operator: AdapterCrossover, seed: int, ranks: tuple[int, int], spec: LoraSpec
) -> None:
    """The gradients are `G A^T` and `B^T G`: a direction that neither factor knows gets none, whatever G is."""
    first, second = (AdapterStack.of([random_adapter(seed + i, rank, spec)]) for i, rank in enumerate(ranks))
    child = operator.cross(first, second, np.random.default_rng(seed))[0]
    assert child.is_finite()
    for name, fan_in, fan_out in spec.shapes:
        if min(fan_in, fan_out) < spec.rank:
            continue  # no r directions to be had
        known = child.a[name].double() @ child.a[name].double().T + child.b[name].double().T @ child.b[name].double()
        rows = min(parent.a[name][0].double().square().sum(dim=1).min() for parent in (first, second))
        assert torch.linalg.eigvalsh(known)[0] > 1e-6 * rows


@pytest.mark.parametrize("operator", CROSSOVERS, ids=repr)
def test_founders_have_a_founder(operator: AdapterCrossover) -> None:
    start = AdapterStack.of([initial_adapter(SPEC, 0)] * 3)
    assert same(operator.cross(start, start, np.random.default_rng(0)), start)


@pytest.mark.parametrize("operator", CROSSOVERS, ids=repr)
def test_parents_that_do_not_fit_are_refused(operator: AdapterCrossover) -> None:
    other, broken = LoraSpec(rank=2, alpha=8.0, shapes=SPEC.shapes), stack(1)
    broken.b["up"][0, 0, 0] = float("nan")
    for second, complaint in (
        (AdapterStack.of([random_adapter(0, None, other)]), r"parents\[1\]: expected 1 adapters"),
        (stack(0, 1), r"parents\[1\]: expected 1 adapters"),
        (broken, r"parents\[1\].up: expected finite factors"),
    ):
        with pytest.raises(AdapterError, match=complaint):
            operator.cross(stack(0), second, np.random.default_rng(0))


@given(SEEDS, st.floats(-1, 2), st.floats(-1, 2))
@settings(max_examples=25, deadline=None)
def test_equals_the_dense_truncation(seed: int, w1: float, w2: float) -> None:
    first, second = stack(seed, seed + 1), stack(seed + 2, seed + 3)
    children = merge((first, second), (w1, w2))
    for one, two, child in zip(first, second, children, strict=True):
        for name in SPEC.modules:
            expected = truncated(w1 * dense(one, name) + w2 * dense(two, name), SPEC.rank)
            error = (dense(child, name) - expected).norm() / expected.norm().clamp_min(1.0)
            assert error < 1e-5


def test_exact_when_the_rank_allows() -> None:
    first, second = stack(0, 1, rank_used=2), stack(2, 3, rank_used=2)
    for one, two, child in zip(first, second, merge((first, second), (0.5, 0.5)), strict=True):
        for name in SPEC.modules:
            torch.testing.assert_close(
                dense(child, name), 0.5 * dense(one, name) + 0.5 * dense(two, name), atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("rank_used", [1, 2, 4])
def test_averaging_factor_by_factor_is_worse(rank_used: int) -> None:
    """As PEFT's issue 3004 found: relative errors against the dense mean, over random parents."""
    first, second = stack(*range(50), rank_used=rank_used), stack(*range(50, 100), rank_used=rank_used)
    exact, errors = merge((first, second), (0.5, 0.5)), []
    for i in range(50):
        for name in SPEC.modules:
            wanted = 0.5 * dense(first[i], name) + 0.5 * dense(second[i], name)
            a, b = (first.a[name][i] + second.a[name][i]) / 2, (first.b[name][i] + second.b[name][i]) / 2
            factorwise = SPEC.scaling * b.double() @ a.double()
            errors.append([float((x - wanted).norm() / wanted.norm()) for x in (factorwise, dense(exact[i], name))])
    worse, ours = np.mean(errors, axis=0)
    print(f"rank {rank_used} of {SPEC.rank}: factor by factor {worse:.2f}, exact {ours:.6f}")
    assert worse > 0.6
    assert ours < (0.5 if rank_used > SPEC.rank // 2 else 1e-6)


def test_scaling_does_not_change_the_shares() -> None:
    for alpha in (1.0, 32.0):
        spec = LoraSpec(rank=2, alpha=alpha, shapes=(("m", 6, 5),))
        one, two = random_adapter(0, 1, spec), random_adapter(1, 1, spec)
        child = merge((AdapterStack.of([one]), AdapterStack.of([two])), (0.25, 0.75))[0]
        wanted = 0.25 * dense(one, "m") + 0.75 * dense(two, "m")
        torch.testing.assert_close(dense(child, "m"), wanted, atol=1e-5, rtol=1e-5)


def test_rank_one_by_hand() -> None:
    spec = LoraSpec(rank=1, alpha=1.0, shapes=(("m", 2, 2),))
    one = Adapter(spec, {"m": torch.tensor([[1.0, 0.0]])}, {"m": torch.tensor([[6.0], [0.0]])})
    two = Adapter(spec, {"m": torch.tensor([[0.0, 1.0]])}, {"m": torch.tensor([[0.0], [2.0]])})
    child = merge((AdapterStack.of([one]), AdapterStack.of([two])), (0.5, 0.5))[0]
    # 0.5 diag(6, 0) + 0.5 diag(0, 2) = diag(3, 1); its best rank one is diag(3, 0).
    torch.testing.assert_close(dense(child, "m"), torch.diag(torch.tensor([3.0, 0.0], dtype=torch.float64)))


def test_factors_are_balanced() -> None:
    child = merge((stack(0), stack(1)), (0.5, 0.5), floor=0.0)[0]
    for name in SPEC.modules:
        a, b = child.a[name], child.b[name]
        torch.testing.assert_close(a.norm(dim=1), b.norm(dim=0))
        torch.testing.assert_close(a @ a.T, torch.diag(a.norm(dim=1) ** 2), atol=1e-4, rtol=1e-4)


def test_two_untouched_parents_give_the_shared_start() -> None:
    start = initial_adapter(SPEC, 0)
    child = merge((AdapterStack.of([start]), AdapterStack.of([start])), (0.5, 0.5))[0]
    assert child.digest() == start.digest()


@pytest.mark.parametrize("rank_used", [1, 3, 4])
@pytest.mark.parametrize("swap", [False, True])
def test_one_untouched_parent_gives_the_share_of_the_other(rank_used: int, swap: bool) -> None:
    tuned, untouched = random_adapter(1, rank_used), initial_adapter(SPEC, 0)
    pair = (untouched, tuned) if swap else (tuned, untouched)
    child = merge([AdapterStack.of([one]) for one in pair], (0.5, 0.5))[0]
    for name in SPEC.modules:
        torch.testing.assert_close(dense(child, name), 0.5 * dense(tuned, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank_used", [0, 1, 2, 4])
def test_no_direction_is_dead(rank_used: int) -> None:
    """Where B's column is zero, gradient flows only through A's row: A must keep all its rank."""
    first, second = random_adapter(0, rank_used), random_adapter(1, 0)
    child = merge((AdapterStack.of([first]), AdapterStack.of([second])), (0.5, 0.5))[0]
    for name in SPEC.modules:
        singular = torch.linalg.svdvals(child.a[name].double())
        assert singular[-1] > 0.05 * torch.linalg.svdvals(first.a[name].double())[-1]
        zero = child.b[name].norm(dim=0) == 0
        assert int(zero.sum()) == SPEC.rank - rank_used
        rows = {tuple(row.tolist()) for row in first.a[name]}
        assert all(tuple(row.tolist()) in rows for row in child.a[name][zero])


def test_spare_rows_are_independent_of_sums_of_rows() -> None:
    """Two used directions, each the sum of two of the first parent's rows, leave only certain pairs to fill up with."""
    spec = LoraSpec(rank=4, alpha=4.0, shapes=(("m", 4, 4),))
    eye, b = torch.eye(4), torch.zeros(4, 4)
    b[0, 0] = b[0, 1] = b[1, 2] = b[1, 3] = 1.0
    parent = AdapterStack.of([Adapter(spec, {"m": eye}, {"m": b})])
    child = merge((parent, parent), (0.5, 0.5))[0]
    assert torch.linalg.matrix_rank(child.a["m"]) == 4
    torch.testing.assert_close(child.b["m"] @ child.a["m"], b)


def test_every_direction_of_a_crossed_child_can_be_trained() -> None:
    first, second = random_adapter(0, 1), random_adapter(1, 1)
    child = merge((AdapterStack.of([first]), AdapterStack.of([second])), (0.5, 0.5))[0]
    a, b = child.a["up"].clone().requires_grad_(), child.b["up"].clone().requires_grad_()
    x, target = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)), torch.ones(64, 14)
    (x @ a.T @ b.T - target).pow(2).mean().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert ((b.grad.norm(dim=0) > 1e-6) | (a.grad.norm(dim=1) > 1e-6)).all()


def test_weak_directions_get_rows_of_the_floor_and_keep_their_product() -> None:
    weak = random_adapter(0)
    weak = Adapter(SPEC, weak.a, {name: up * 1e-6 for name, up in weak.b.items()})
    pair = AdapterStack.of([weak])
    child = merge((pair, pair), (0.5, 0.5), floor=0.5)[0]
    for name in SPEC.modules:
        scale = weak.a[name].pow(2).sum(dim=1).mean().sqrt()
        torch.testing.assert_close(child.a[name].norm(dim=1), (0.5 * scale).expand(SPEC.rank))
        torch.testing.assert_close(dense(child, name), dense(weak, name), atol=1e-9, rtol=1e-4)


def test_modules_narrower_than_twice_the_rank_work() -> None:
    spec = LoraSpec(rank=4, alpha=4.0, shapes=(("narrow", 3, 2), ("wide", 3, 9)))
    one, two = random_adapter(0, None, spec), random_adapter(1, None, spec)
    child = merge((AdapterStack.of([one]), AdapterStack.of([two])), (0.5, 0.5))[0]
    for name in spec.modules:
        wanted = 0.5 * dense(one, name) + 0.5 * dense(two, name)
        torch.testing.assert_close(dense(child, name), wanted, atol=1e-5, rtol=1e-5)


def test_a_child_does_not_depend_on_who_shares_the_batch() -> None:
    alone = merge((stack(0), stack(1)), (0.5, 0.5))[0]
    together = merge((stack(5, 0, 7), stack(6, 1, 8)), (0.5, 0.5))[1]
    for name in SPEC.modules:
        torch.testing.assert_close(dense(alone, name), dense(together, name), atol=1e-6, rtol=1e-6)


def test_three_parents() -> None:
    parents = [stack(seed, rank_used=1) for seed in range(3)]
    child = merge(parents, (0.2, 0.3, 0.5))[0]
    for name in SPEC.modules:
        wanted = sum(w * dense(p[0], name) for w, p in zip((0.2, 0.3, 0.5), parents, strict=True))
        torch.testing.assert_close(dense(child, name), wanted, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_merged_is_refused() -> None:
    other = LoraSpec(rank=2, alpha=8.0, shapes=SPEC.shapes)
    with pytest.raises(AdapterError, match=r"parents\[1\]: expected 1 adapters"):
        merge((stack(0), AdapterStack.of([random_adapter(0, None, other)])), (0.5, 0.5))
    with pytest.raises(AdapterError, match=r"parents\[1\]: expected 1 adapters"):
        merge((stack(0), stack(0, 1)), (0.5, 0.5))
    with pytest.raises(AdapterError, match="weights: expected one for each of 2 parents, got 1"):
        merge((stack(0), stack(1)), (0.5,))
    broken = stack(1)
    broken.b["up"][0, 0, 0] = float("nan")
    with pytest.raises(AdapterError, match=r"parents\[1\].up: expected finite factors"):
        merge((stack(0), broken), (0.5, 0.5))


def test_bad_fields_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights: expected two finite numbers"):
        ExactCrossover(weights=(0.5, float("inf")))
    with pytest.raises(ConfigError, match="floor: expected a number of at least 0, got -1"):
        ExactCrossover(floor=-1)
