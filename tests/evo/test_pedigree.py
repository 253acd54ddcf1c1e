"""Descent: hand-worked trees and two-parent pedigrees, and the definitions word for word on drawn ones."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.lineage import Birth
from evo.pedigree import common_ancestor, common_ancestor_depth, effective_founders, founder_shares

Parents = dict[int, tuple[int, ...]]
FAMILY: Parents = {0: (), 1: (), 2: (), 3: (0, 1), 4: (0,), 5: (3, 4), 6: (3,), 7: (5, 6), 8: (2,)}
TIMES = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2, 7: 3, 8: 3}


def births(parents: Parents, times: dict[int, int] | None = None) -> dict[int, Birth]:
    told = times or dict.fromkeys(parents, 0)
    return {
        id_: Birth(id=id_, parents=parents[id_], time=told[id_], operator="mutation", strategy="rest.", adapter="00")
        for id_ in parents
    }


def ancestors(parents: Parents, id_: int) -> set[int]:
    return {id_}.union(*(ancestors(parents, parent) for parent in parents[id_]))


@pytest.mark.parametrize(
    ("living", "ancestor", "depth"),
    [
        ([7], 7, 0.0),
        ([5, 6], 3, 2.0),
        ([4, 6], 0, 3.0),  # through 4's only parent and one of 3's two
        ([5, 7], 5, 1.0),  # one of the living is the other's parent
        ([3, 4, 7], 0, 3.0),
        ([7, 8], None, math.nan),
        ([], None, math.nan),
    ],
)
def test_common_ancestor_by_hand(living: list[int], ancestor: int | None, depth: float) -> None:
    family = births(FAMILY, TIMES)
    assert common_ancestor(family, living) == ancestor
    assert common_ancestor_depth(family, living, 3) == pytest.approx(depth, nan_ok=True)


def test_founder_shares_by_hand() -> None:
    # 7 = (5 + 6)/2; 5 = (3 + 4)/2; 3 = 6 = (0 + 1)/2; 4 = 0: so 5 has 3/4 of 0, and 7 has 5/8 of 0 and 3/8 of 1.
    family = births(FAMILY)
    assert founder_shares(family, [7]) == pytest.approx({0: 5 / 8, 1: 3 / 8})
    assert effective_founders(family, [7]) == pytest.approx(64 / 34)
    assert founder_shares(family, [7, 8]) == pytest.approx({0: 5 / 16, 1: 3 / 16, 2: 1 / 2})
    assert (founder_shares(family, []), effective_founders(family, [])) == ({}, 0.0)


def test_effective_founders_of_equal_shares_are_the_founders() -> None:
    assert effective_founders(births(FAMILY), [0, 1, 2]) == pytest.approx(3.0)
    assert effective_founders(births(FAMILY), [4, 0]) == pytest.approx(1.0)


@st.composite
def pedigrees(draw: st.DrawFn) -> tuple[Parents, list[int]]:
    count = draw(st.integers(1, 14))
    parents: Parents = {}
    for id_ in range(count):
        older = st.integers(0, max(0, id_ - 1))
        parents[id_] = tuple(draw(st.lists(older, max_size=min(2, id_), unique=True)))
    return parents, sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))


@given(pedigrees())
@settings(deadline=None)
def test_equal_to_the_definitions(pedigree: tuple[Parents, list[int]]) -> None:
    parents, living = pedigree
    family = births(parents)
    common = set.intersection(*(ancestors(parents, id_) for id_ in living))
    assert common_ancestor(family, living) == max(common, default=None)
    shares = founder_shares(family, living)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {a for id_ in living for a in ancestors(parents, id_) if not parents[a]}
    assert 1.0 - 1e-9 <= effective_founders(family, living) <= len(shares) + 1e-9


def test_drift_loses_founders_and_finds_a_common_ancestor() -> None:
    rng = np.random.default_rng(0)
    parents: Parents = dict.fromkeys(range(16), ())
    times, effective, depths = dict.fromkeys(range(16), 0), [], []
    for generation in range(1, 60):
        for id_ in range(16 * generation, 16 * generation + 16):
            parents[id_] = (int(16 * (generation - 1) + rng.integers(16)),)
            times[id_] = generation
        living, family = list(range(16 * generation, 16 * generation + 16)), births(parents, times)
        effective.append(effective_founders(family, living))
        depths.append(common_ancestor_depth(family, living, generation))
    assert effective[0] > 6
    assert effective[-1] == pytest.approx(1.0)
    found = [depth for depth in depths if not math.isnan(depth)]
    assert len(found) > 10
    assert all(after <= before + 1 for before, after in pairwise(found))
