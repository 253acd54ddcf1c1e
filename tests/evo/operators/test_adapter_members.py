"""Every adapter crossover does in delta W what its definition says, against dense algebra for one couple."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.operators.adapter_crossover import (
    AdapterCrossover,
    DareCrossover,
    ExtrapolateCrossover,
    LayerwiseCrossover,
    SingularCrossover,
    SlerpCrossover,
    TiesCrossover,
    merge,
)
from fitness.adapter import Adapter, AdapterStack, LoraSpec
from fitness.errors import ConfigError
from tests.evo.samples import SPEC, dense, random_adapter, same

SEEDS = st.integers(0, 10_000)
NOTHING = random_adapter(0, 0)


def stack(*seeds: int, rank_used: int | None = None) -> AdapterStack:
    return AdapterStack.of([random_adapter(seed, rank_used) for seed in seeds])


def scaled(parent: Adapter, factor: float) -> Adapter:
    return Adapter(parent.spec, parent.a, {name: factor * up for name, up in parent.b.items()})


def cross(operator: AdapterCrossover, first: Adapter, second: Adapter, seed: int = 0) -> Adapter:
    return operator.cross(AdapterStack.of([first]), AdapterStack.of([second]), np.random.default_rng(seed))[0]


def truncated(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the best approximation of `rank`, by dense SVD (Eckart and Young 1936)."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def assert_dense(child: Adapter, name: str, expected: torch.Tensor) -> None:
    assert float((dense(child, name) - expected).norm() / expected.norm().clamp_min(1e-9)) < 1e-5


def arc(one: torch.Tensor, two: torch.Tensor, t: float) -> torch.Tensor:
    """Return the slerp of two matrices as vectors, from the textbook."""
    angle = torch.arccos((one * two).sum() / one.norm() / two.norm())
    return (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * two) / torch.sin(angle)


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_slerp_is_the_arc_between_the_dense_updates(seed: int, t: float) -> None:
    one, two = random_adapter(seed), random_adapter(seed + 1)
    child = cross(SlerpCrossover(point=t), one, two)
    for name in SPEC.modules:
        assert_dense(child, name, truncated(arc(dense(one, name), dense(two, name), t), SPEC.rank))


def test_slerp_keeps_the_length_that_a_mean_loses() -> None:
    one, two = random_adapter(0, 2), random_adapter(1, 2)
    for name in SPEC.modules:
        two.b[name].mul_(dense(one, name).norm() / dense(two, name).norm())
    child, mean = (
        cross(SlerpCrossover(point=0.5), one, two),
        merge([AdapterStack.of([x]) for x in (one, two)], (0.5,) * 2),
    )
    for name in SPEC.modules:
        assert float(dense(child, name).norm()) == pytest.approx(float(dense(one, name).norm()), rel=1e-5)
        assert float(dense(mean[0], name).norm()) < 0.85 * float(dense(one, name).norm())


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, -2.0, 0.0])
def test_slerp_is_a_line_where_there_is_no_arc(factor: float) -> None:
    one = random_adapter(0)
    child = cross(SlerpCrossover(point=0.25), one, scaled(one, factor))
    for name in SPEC.modules:
        assert_dense(child, name, (0.75 + 0.25 * factor) * dense(one, name))


def test_slerp_draws_its_point_and_its_split() -> None:
    """With nothing for a second parent the child is 1 - t times the first, and t times it beyond the split."""
    first, second = AdapterStack.of([random_adapter(0)] * 400), AdapterStack.of([NOTHING] * 400)

    def parts(operator: SlerpCrossover) -> np.ndarray:
        children = operator.cross(first, second, np.random.default_rng(0))
        return np.array(
            [[float(dense(c, n).norm() / dense(first[0], n).norm()) for n in SPEC.modules] for c in children]
        )

    drawn = parts(SlerpCrossover())
    assert np.ptp(drawn, axis=1).max() < 1e-5
    assert np.quantile(drawn[:, 0], [0.05, 0.5, 0.95]) == pytest.approx([0.05, 0.5, 0.95], abs=0.07)
    split = parts(SlerpCrossover(point=0.25, split=True))
    before = np.isclose(split, 0.75, atol=1e-4)
    assert np.allclose(split[~before], 0.25, atol=1e-4)
    assert (np.diff(before.astype(int), axis=1) <= 0).all()
    assert np.bincount(before.sum(axis=1), minlength=5) == pytest.approx([80] * 5, abs=30)


@given(SEEDS, st.floats(1, 1.5))
@settings(max_examples=15, deadline=None)
def test_extrapolation_goes_beyond_the_better(seed: int, eta: float) -> None:
    better, worse = random_adapter(seed), random_adapter(seed + 1)
    child = cross(ExtrapolateCrossover(eta=(eta, eta)), better, worse)
    for name in SPEC.modules:
        beyond = dense(better, name) + (eta - 1) * (dense(better, name) - dense(worse, name))
        assert_dense(child, name, truncated(beyond, SPEC.rank))


def test_extrapolation_draws_one_eta_for_each_couple() -> None:
    first, second = AdapterStack.of([random_adapter(0)] * 300), AdapterStack.of([NOTHING] * 300)
    children = ExtrapolateCrossover(eta=(1.0, 1.5)).cross(first, second, np.random.default_rng(0))
    eta = np.array([[float(dense(c, n).norm() / dense(first[0], n).norm()) for n in SPEC.modules] for c in children])
    assert np.ptp(eta, axis=1).max() < 1e-5
    assert np.quantile(eta[:, 0], [0.0, 0.5, 1.0]) == pytest.approx([1.0, 1.25, 1.5], abs=0.06)
    assert ExtrapolateCrossover.ordered


def test_layerwise_modules_are_whole() -> None:
    first, second = stack(*range(200)), stack(*range(200, 400))
    children, counts = LayerwiseCrossover(share=0.3).cross(first, second, np.random.default_rng(0)), []
    for one, two, child in zip(first, second, children, strict=True):
        mine = [torch.equal(child.a[n], one.a[n]) and torch.equal(child.b[n], one.b[n]) for n in SPEC.modules]
        yours = [torch.equal(child.a[n], two.a[n]) and torch.equal(child.b[n], two.b[n]) for n in SPEC.modules]
        assert [not m for m in mine] == yours
        counts.append(mine)
    assert np.mean(counts, axis=0) == pytest.approx([0.3] * 4, abs=0.1)
    assert same(LayerwiseCrossover(share=1.0).cross(first, second, np.random.default_rng(0)), first)


@given(SEEDS, st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_the_strongest_components_of_both(seed: int, given_by_first: int) -> None:
    one, two = random_adapter(seed), random_adapter(seed + 1)
    child = cross(SingularCrossover(share=given_by_first / 4, chosen="strongest"), one, two)
    for name in SPEC.modules:
        parts = truncated(dense(one, name), given_by_first) + truncated(dense(two, name), 4 - given_by_first)
        assert_dense(child, name, parts)


def test_random_components_are_every_choice_alike() -> None:
    """With nothing for a second parent the child's singular values are those that were chosen: 2 of 4."""
    first, second = AdapterStack.of([random_adapter(0)] * 300), AdapterStack.of([NOTHING] * 300)
    children = SingularCrossover(share=0.5).cross(first, second, np.random.default_rng(0))
    for name in SPEC.modules:
        values = torch.linalg.svdvals(dense(first[0], name))[:4]
        pairs = [tuple(values[list(pair)].tolist()) for pair in itertools.combinations(range(4), 2)]
        found = torch.linalg.svdvals(children.b[name].double() @ children.a[name].double() * SPEC.scaling)[:, :3]
        assert float(found[:, 2].max()) < 1e-4
        nearest = [int(np.argmin([abs(f[0] - p[0]) + abs(f[1] - p[1]) for p in pairs])) for f in found.tolist()]
        assert all(found[i, :2].tolist() == pytest.approx(pairs[k], rel=1e-4) for i, k in enumerate(nearest))
        assert np.bincount(nearest, minlength=6) == pytest.approx([50] * 6, abs=25)


def test_both_parents_fill_the_rank_between_them() -> None:
    """Taking the one component of the first parent out of the child leaves the three of the second."""
    one = random_adapter(0)
    child = cross(SingularCrossover(share=0.25), one, random_adapter(1))
    for name in SPEC.modules:
        assert float(torch.linalg.svdvals(dense(child, name))[3]) > 0.1
        u, s, vt = torch.linalg.svd(dense(one, name), full_matrices=False)
        without = [dense(child, name) - s[k] * torch.outer(u[:, k], vt[k]) for k in range(4)]
        assert sorted(int(torch.linalg.matrix_rank(rest, atol=1e-3)) for rest in without) == [3, 5, 5, 5]


def test_dare_keeps_the_mean_in_expectation() -> None:
    """Parents of rank 2 have 4 components in all, so that nothing is ever truncated."""
    one, two = random_adapter(0, 2), random_adapter(1, 2)
    first, second = AdapterStack.of([one] * 4000), AdapterStack.of([two] * 4000)
    children = DareCrossover(density=0.3).cross(first, second, np.random.default_rng(0))
    for name in SPEC.modules:
        deltas = SPEC.scaling * children.b[name].double() @ children.a[name].double()
        error = deltas.std(dim=0) / 4000**0.5
        away = (deltas.mean(dim=0) - (dense(one, name) + dense(two, name)) / 2) / error
        assert float(away.abs().max()) < 5
        assert float(away.pow(2).mean().sqrt()) < 2


def test_dare_of_everything_is_the_mean() -> None:
    first, second = stack(0, 1), stack(2, 3)
    children, mean = (
        DareCrossover(density=1.0).cross(first, second, np.random.default_rng(0)),
        merge((first, second), (0.5,) * 2),
    )
    for child, wanted in zip(children, mean, strict=True):
        for name in SPEC.modules:
            assert_dense(child, name, dense(wanted, name))


def test_dare_drops_components_and_scales_the_rest_up() -> None:
    first, second = AdapterStack.of([random_adapter(0)] * 200), AdapterStack.of([NOTHING] * 200)
    children = DareCrossover(density=0.5).cross(first, second, np.random.default_rng(0))
    values = torch.linalg.svdvals(dense(first[0], "up"))[:4].tolist()
    kept = torch.linalg.svdvals(SPEC.scaling * children.b["up"].double() @ children.a["up"].double())[:, :4]
    for row in kept.tolist():
        assert all(value < 1e-3 or min(abs(value - one) for one in values) < 1e-3 for value in row)
    assert float((kept > 1e-3).float().mean()) == pytest.approx(0.5, abs=0.06)


def test_ties_by_hand() -> None:
    """Half of each is trimmed: 4 and -3 stay of the first, 5 and 2 of the second; in conflict the larger sum wins."""
    spec = LoraSpec(rank=2, alpha=2.0, shapes=(("m", 2, 2),))
    one = Adapter(spec, {"m": torch.eye(2)}, {"m": torch.tensor([[4.0, -3.0], [1.0, 0.5]])})
    two = Adapter(spec, {"m": torch.eye(2)}, {"m": torch.tensor([[2.0, 5.0], [1.0, -1.5]])})
    child = cross(TiesCrossover(density=0.5), one, two)
    expected = torch.tensor([[3.0, 5.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(dense(child, "m"), expected, atol=1e-6, rtol=0)


def ties_of_lists(one: list[float], two: list[float], density: float) -> list[float]:
    """Return the merged vector, element by element."""
    count = max(1, round(density * len(one)))
    trimmed = []
    for vector in (one, two):
        order = sorted(range(len(vector)), key=lambda i: -abs(vector[i]))
        trimmed.append([vector[i] if i in order[:count] else 0.0 for i in range(len(vector))])
    merged = []
    for pair in zip(*trimmed, strict=True):
        agreed = [x for x in pair if x * sum(pair) > 0]
        merged.append(sum(agreed) / len(agreed) if agreed else 0.0)
    return merged


@given(SEEDS, st.sampled_from([0.01, 0.2, 0.5, 1.0]))
@settings(max_examples=15, deadline=None)
def test_ties_is_the_truncation_of_the_dense_merge(seed: int, density: float) -> None:
    one, two = random_adapter(seed), random_adapter(seed + 1)
    child = cross(TiesCrossover(density=density), one, two)
    for name in SPEC.modules:
        vectors = (dense(parent, name).flatten().tolist() for parent in (one, two))
        merged = torch.tensor(ties_of_lists(*vectors, density), dtype=torch.float64).view_as(dense(one, name))
        assert_dense(child, name, truncated(merged, SPEC.rank))


def test_ties_refuses_modules_too_large_for_it() -> None:
    with pytest.raises(ConfigError, match=r"largest: expected at least 120 for down of 12 x 10, got 119"):
        TiesCrossover(largest=119).cross(stack(0), stack(1), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: SlerpCrossover(point=1.5), "point: expected a number from 0 to 1, got 1.5"),
        (lambda: SlerpCrossover(split=1), "split: expected true or false, got 1"),  # type: ignore[arg-type]
        (lambda: LayerwiseCrossover(share=-0.1), "share: expected a number from 0 to 1, got -0.1"),
        (lambda: SingularCrossover(share=2.0), "share: expected a number from 0 to 1, got 2.0"),
        (lambda: SingularCrossover(chosen="best"), "chosen: expected strongest or random, got 'best'"),  # type: ignore[arg-type]
        (lambda: DareCrossover(density=0.0), "density: expected a number from 0.001 to 1, got 0.0"),
        (lambda: TiesCrossover(density=0.0), "density: expected a number from 1e-06 to 1, got 0.0"),
        (lambda: TiesCrossover(largest=0), "largest: expected an integer of at least 1, got 0"),
        (lambda: ExtrapolateCrossover(eta=(0.5, 1.5)), r"eta\[0\]: expected a number of at least 1, got 0.5"),
    ],
)
def test_bad_fields_are_refused(make: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make()  # type: ignore[operator]
