"""Who is fine-tuned: survivors, the best ever, the best of islands or of niches."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from evo.algorithms.dominated_novelty import DominatedNoveltyConfig
from evo.algorithms.elites import ELITES_OF, best_of_niches
from evo.algorithms.generational import GenerationalConfig
from evo.algorithms.islands import IslandsConfig
from evo.algorithms.map_elites import MapElitesConfig
from evo.algorithms.setting import PopulationConfig
from evo.algorithms.steady_state import SteadyStateConfig
from evo.genome import Genome
from fitness.errors import ConfigError
from tests.evo.algorithms.members import SIZE, build, generation, ones
from tests.evo.samples import random_adapter

FAMILY: dict[str, PopulationConfig] = {
    "survivors": GenerationalConfig(**SIZE),
    "survivors of islands": IslandsConfig(**SIZE, islands=2, every=2, elites_of="survivors"),
    "islands": IslandsConfig(**SIZE, islands=2, every=2),
    "hall_of_fame": GenerationalConfig(**SIZE, lifetime=2, elites_of="hall_of_fame"),
    "hall_of_fame, steady": SteadyStateConfig(**SIZE, elites_of="hall_of_fame"),
    "hall_of_fame of islands": IslandsConfig(
        **(SIZE | {"population": 16}), islands=2, every=2, elites_of="hall_of_fame"
    ),
    "hall_of_fame of an archive": MapElitesConfig(**SIZE, descriptors=(), bins=2, elites_of="hall_of_fame"),
    "niches": MapElitesConfig(**SIZE, descriptors=(), bins=8, elites_of="niches"),
    "niches without cells": DominatedNoveltyConfig(**SIZE, descriptors=(), elites_of="niches"),
}


@pytest.mark.parametrize("name", FAMILY)
def test_as_many_are_tuned_and_judged_beside_their_parents(name: str) -> None:
    config = FAMILY[name]
    algorithm, last = build(config), None
    for seed in range(8):
        genomes = generation(algorithm, seed, ones, noise=2.0)
        elites = algorithm.elites()
        tested = {one.id for one in genomes}
        assert len(genomes) == config.population
        assert 1 <= len({one.id for one in elites}) == len(elites) <= config.elites
        for parent in last or ():
            assert parent in tested
            assert any(one.parents == (parent,) and one.operator == "finetune" for one in genomes)
        assert len(algorithm.judgements) == len(last or ())
        last = [one.id for one in elites]
    assert len(elites) == config.elites


def worth(genome: Genome) -> float:
    return 100.0 - genome.id


def test_the_best_ever_returns_beside_its_child() -> None:
    algorithm = build(GenerationalConfig(**(SIZE | {"elites": 1}), lifetime=1, elites_of="hall_of_fame"))
    counts = []
    for seed in range(4):  # founder 0 is the best of all times, and everybody lives one generation
        genomes = algorithm.ask(np.random.default_rng(seed))
        algorithm.tell({one.id: [worth(one)] * 2 for one in genomes})
        counts.append(algorithm.evaluations[0].count)
        assert [one.id for one in algorithm.elites()] == [0]
        if seed:
            assert 0 in {one.id for one in genomes}
            assert [(one.parent, one.accepted) for one in algorithm.judgements] == [(0, False)]
            assert 0 not in {one.id for one in algorithm.survivors()}
        algorithm.adopt([(0, algorithm.tuned(0, random_adapter(seed)))])
    assert counts == [2, 4, 6, 8]  # what was known of it is not forgotten
    better = algorithm.ask(np.random.default_rng(9))
    child = next(one.id for one in better if one.operator == "finetune")
    algorithm.tell({one.id: [200.0 if one.id == child else worth(one)] * 2 for one in better})
    assert [one.id for one in algorithm.elites()] == [child]  # in its parent's place


def test_the_best_of_all_islands_or_of_each() -> None:
    found = {}
    for whose in ("survivors", "islands"):
        algorithm = build(IslandsConfig(**(SIZE | {"population": 16}), islands=2, elites_of=whose))
        genomes = algorithm.ask(np.random.default_rng(0))
        algorithm.tell({one.id: [worth(one)] for one in genomes})  # the first island's founders are all better
        found[whose] = [one.id for one in algorithm.elites()]
    assert found == {"survivors": [0, 1], "islands": [0, 8]}


def test_niches_are_as_far_apart_as_can_be_and_give_their_best() -> None:
    # On a line: 0.0 is best of all, 1.0 lies farthest from it, 0.5 from both; 0.9 and 0.6 are nearer to those.
    behaviours = np.array([0.0, 0.05, 0.9, 0.6, 1.0, 0.5])[:, None]
    assert best_of_niches(behaviours, 1) == [0]
    assert best_of_niches(behaviours, 2) == [0, 2]
    assert best_of_niches(behaviours, 3) == [0, 2, 3]
    assert best_of_niches(np.zeros((4, 2)), 3) == [0]
    assert best_of_niches(behaviours, 0) == []
    assert Counter(best_of_niches(np.random.default_rng(0).random((50, 3)), 10)).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (
            GenerationalConfig,
            {"elites_of": "islands"},
            "elites_of: .* GenerationalConfig has no islands, got 'islands'",
        ),
        (IslandsConfig, {"elites_of": "niches"}, "elites_of: .* IslandsConfig has no niches, got 'niches'"),
        (MapElitesConfig, {"elites_of": "islands"}, "elites_of: .* MapElitesConfig has no islands, got 'islands'"),
        (GenerationalConfig, {"elites_of": "best"}, f"elites_of: expected one of {', '.join(ELITES_OF)}, got 'best'"),
        (
            GenerationalConfig,
            {"elites_of": "hall_of_fame", "survivors": 9},
            "elites: expected room for 9 survivors and one tuned child for each elite, who may have left and returns",
        ),
        (
            MapElitesConfig,
            {"elites_of": "hall_of_fame", "elites": 3},
            "elites: expected fewer than a quarter of the population of 12",
        ),
    ],
)
def test_what_an_algorithm_has_not_is_refused(
    config: type[PopulationConfig], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**(SIZE | given))
