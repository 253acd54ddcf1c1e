"""Diversity: equal to the pairwise definition, computed without forming pairs or delta W."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from evo.diversity import adapter_diversity, behaviour_diversity, edit_distance, strategy_diversity, text_diversity
from evo.genome import Genome
from fitness.adapter import initial_adapter
from tests.evo.samples import SPEC, dense, genome, random_adapter


def population(seeds: list[int]) -> list[Genome]:
    return [genome(seed, adapter=random_adapter(seed)) for seed in seeds]


def pairwise_strategy(genomes: list[Genome]) -> float:
    pairs = list(itertools.combinations(genomes, 2))
    differing = (sum(x != y for x, y in zip(a.genes, b.genes, strict=True)) / len(a.genes) for a, b in pairs)
    return sum(differing) / len(pairs)


def pairwise_adapter(genomes: list[Genome]) -> float:
    pairs = list(itertools.combinations([genome.adapter for genome in genomes], 2))
    distances = (
        math.sqrt(sum(float((dense(a, n) - dense(b, n)).pow(2).sum()) for n in SPEC.modules)) for a, b in pairs
    )
    return sum(distances) / len(pairs)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_equal_to_the_definition(seeds: list[int]) -> None:
    genomes = population(seeds)
    assert strategy_diversity(genomes) == pytest.approx(pairwise_strategy(genomes))
    assert adapter_diversity(genomes) == pytest.approx(pairwise_adapter(genomes), rel=1e-6, abs=1e-5)


def test_by_hand() -> None:
    genes = [("a 0",) * 8, ("a 0",) * 8, ("a 0",) * 4 + ("a 1",) * 4]
    assert strategy_diversity([genome(i, genes=g) for i, g in enumerate(genes)]) == pytest.approx((0 + 0.5 + 0.5) / 3)


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_differs_alone(count: int) -> None:
    genomes = population(list(range(count)))
    assert (strategy_diversity(genomes), adapter_diversity(genomes)) == (0.0, 0.0)


def test_untouched_adapters_do_not_differ_whatever_their_down_factors() -> None:
    assert adapter_diversity([genome(i, adapter=initial_adapter(SPEC, i)) for i in range(4)]) == 0.0


def test_of_many_adapters_evenly_spaced_ones_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    genomes = population(list(range(6)))
    monkeypatch.setattr("evo.diversity._COMPARED", 3)
    assert adapter_diversity(genomes) == pytest.approx(pairwise_adapter(genomes[::2]), rel=1e-6)


def table_of_edits(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, token in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (token != wanted))
    return row[-1]


@given(st.text("abc", max_size=80), st.text("abc", max_size=80))
@settings(deadline=None)
def test_edit_distance_is_that_of_the_table(one: str, other: str) -> None:
    assert edit_distance(one, other) == table_of_edits(one, other)


def test_texts_by_hand() -> None:
    assert edit_distance("kitten", "sitting") == 3
    # Tokens: "eat when low ." is 4, "eat berries when low ." 5 (one insertion), "flee ." 2 (two deletions, one change).
    texts = ["eat when low.", "eat berries when low.", "flee."]
    assert text_diversity(texts) == pytest.approx((1 / 5 + 3 / 4 + 4 / 5) / 3)
    assert (text_diversity([]), text_diversity(["a"]), text_diversity(["", ""]), text_diversity(["", "a"])) == (
        0,
        0,
        0,
        1,
    )


def test_of_many_texts_evenly_spaced_ones_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evo.diversity._COMPARED_TEXTS", 2)
    assert text_diversity(["a", "x", "b c", "y"]) == 1.0
    assert text_diversity(["a", "x", "a", "y"]) == 0.0


def test_behaviour_by_hand() -> None:
    sure, other, torn = [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]
    with np.errstate(divide="ignore"):
        apart = np.log([[sure, sure], [other, sure]])
        near = np.log([[sure], [torn]])
    assert behaviour_diversity(apart) == pytest.approx((1.0 + 0.0) / 2)
    # The mixture (3/4, 1/4) has 2 - 3/4 log2 3 bits; the two have 0 and 1.
    assert behaviour_diversity(near) == pytest.approx(2 - 0.75 * math.log2(3) - 0.5)
    assert behaviour_diversity(apart[:1]) == 0.0


@given(st.integers(0, 99), st.integers(2, 6))
@settings(deadline=None)
def test_behaviour_is_the_mean_over_pairs(seed: int, members: int) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.full(4, 0.3), (members, 3)) + 1e-12
    pairs = itertools.combinations(chances, 2)
    expected = np.mean([jensenshannon(*pair, axis=1, base=2) ** 2 for pair in pairs])
    assert behaviour_diversity(np.log(chances)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 3)])
def test_what_is_no_distribution_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="log_probabilities: expected distributions of shape"):
        behaviour_diversity(np.zeros(shape))
