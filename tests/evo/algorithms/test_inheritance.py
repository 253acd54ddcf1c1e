"""What becomes of tuned weights: inherited, only lived with, or measured and forgotten."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evo.algorithms.base import Algorithm, Judgement
from evo.algorithms.dominated_novelty import DominatedNoveltyConfig
from evo.algorithms.generational import GenerationalConfig
from evo.algorithms.inheritance import INHERITANCES, settle
from evo.operators.variation import Variation
from fitness.errors import ConfigError
from tests.evo.algorithms.members import MEMBERS, SIZE, behave, build, generation, ones
from tests.evo.samples import random_adapter

BREEDERS = ("generational", "comma", "steady_state", "islands", "map_elites", "dominated_novelty")


def verdict(child: int, parent: int, accepted: bool) -> Judgement:
    return Judgement(parent=parent, child=child, accepted=accepted, difference=0.0, standard_error=0.0, reason="")


def test_what_follows_from_verdicts() -> None:
    verdicts = [verdict(8, 1, True), verdict(9, 2, True), verdict(10, 3, False)]  # 8 was rewritten, the others tuned
    found = {name: settle(name, verdicts, tuned=[9, 10]) for name in INHERITANCES}
    assert {name: one.heirs for name, one in found.items()} == {
        "lamarckian": ((8, 1), (9, 2)), "baldwinian": ((8, 1),), "none": ((8, 1),)
    }  # fmt: skip
    assert {name: one.lent for name, one in found.items()} == {"lamarckian": (), "baldwinian": ((9, 2),), "none": ()}
    assert {name: set(one.leaving) for name, one in found.items()} == {
        "lamarckian": {1, 2, 10}, "baldwinian": {1, 9, 10}, "none": {1, 9, 10}
    }  # fmt: skip
    assert {name: set(one.apart) for name, one in found.items()} == {
        "lamarckian": set(), "baldwinian": {9, 10}, "none": {9, 10}
    }  # fmt: skip


@pytest.mark.parametrize("name", BREEDERS)
@pytest.mark.parametrize("inheritance", INHERITANCES)
def test_trained_weights_are_inherited_or_never_are(name: str, inheritance: str) -> None:
    variation = Variation(crossover_rate=0.0, adapter_mutation_rate=0.0)
    algorithm = build(replace(MEMBERS[name], inheritance=inheritance), random_adapter(999), variation)
    trained = {random_adapter(id_).digest() for id_ in range(200)}
    tested = survived = inherited = 0
    for seed in range(6):
        genomes = generation(algorithm, seed, ones, noise=0.1)
        tested += len(algorithm.judgements)
        survived += sum(one.operator == "finetune" for one in algorithm.survivors())
        inherited += sum(one.adapter.digest() in trained for one in genomes if one.operator != "finetune")
    assert tested == 5 * SIZE["elites"]  # at the same cost under all three
    assert (survived > 0) == (inheritance == "lamarckian")
    assert (inherited > 0) == (inheritance == "lamarckian")


def after_training(inheritance: str, gain: float) -> tuple[Algorithm, int, int]:
    """Return an algorithm whose best founder lived 100 steps, then 90 beside a tuned child that lived `gain` more."""
    config = GenerationalConfig(**(SIZE | {"elites": 1}), survivors=2, tolerance=0.0, inheritance=inheritance)
    algorithm = build(config)
    founders = algorithm.ask(np.random.default_rng(0))
    algorithm.tell({one.id: [100.0 if one is founders[0] else 10.0] for one in founders})
    child = algorithm.tuned(0, random_adapter(1))
    algorithm.adopt([(0, child)])
    rest = {one.id: [10.0] for one in algorithm.ask(np.random.default_rng(1))}
    algorithm.tell(rest | {0: [90.0], child.id: [90.0 + gain]})
    return algorithm, 0, child.id


def test_baldwin_lends_a_life_and_none_does_not() -> None:
    for inheritance, gain, mean in (
        ("baldwinian", 30.0, (100 + 120) / 2),  # the tuned life counts instead of the genome's own
        ("baldwinian", -30.0, (100 + 90) / 2),  # training only ever raises fitness
        ("none", 30.0, (100 + 90) / 2),
    ):
        algorithm, parent, child = after_training(inheritance, gain)
        assert algorithm.evaluations[parent].mean == mean
        assert algorithm.evaluations[child].mean == 90 + gain  # recorded as a genome of its own
        assert algorithm.judgements[0].accepted == (gain > 0)
        assert algorithm.best().id == parent
        assert algorithm.best().adapter.digest() == random_adapter(0).digest()  # as it was born
        # The prior is the mean of the twelve but the child: the parent, another survivor and nine newborn.
        prior = (mean + 10 * (SIZE["population"] - 2)) / (SIZE["population"] - 1)
        assert algorithm.scores[parent] == pytest.approx((2 * mean + prior) / 3)
        child_again = [one.id for one in algorithm.ask(np.random.default_rng(2))]
        assert child not in child_again


def test_an_archive_keeps_a_genome_where_its_tuned_self_lives() -> None:
    algorithm = build(DominatedNoveltyConfig(**SIZE, descriptors=(), inheritance="baldwinian"))
    generation(algorithm, 0, ones)
    parent = algorithm.elites()[0]
    genomes = algorithm.ask(np.random.default_rng(1))
    child = next(one for one in genomes if one.parents == (parent.id,) and one.operator == "finetune")
    done = dict(behave(genomes)) | {child.id: np.array([0.25, 0.75])}
    algorithm.tell({one.id: [50.0 if one is child else 5.0] for one in genomes}, done)
    kept: dict[str, Any] = dict(algorithm.state().data["own"])
    assert dict(kept["behaviours"])[parent.id] == [0.25, 0.75]


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"inheritance: expected one of lamarckian, .*'darwinian'"):
        GenerationalConfig(**SIZE, inheritance="darwinian")
