"""Diversity: equal to the pairwise definition, computed without forming pairs or delta W."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.diversity import adapter_diversity, strategy_diversity
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
