"""The generational algorithm: order of calls, survival, Lamarckian replacement, resuming, and finding an optimum."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.algorithms.base import AlgorithmState, judge
from evo.algorithms.generational import Generational, GenerationalConfig
from evo.genome import Genome
from evo.operators.selection import Tournament
from evo.operators.variation import Variation
from fitness.adapter import initial_adapter
from fitness.errors import ConfigError, StrategyError
from tests.evo.samples import GRAMMAR, SPEC, random_adapter

INITIAL = initial_adapter(SPEC, 0)
BEST_GENES = tuple(slot.clauses[0] for slot in GRAMMAR.slots)


def make(variation: Variation | None = None, **fields: Any) -> Generational:
    config = GenerationalConfig(**{"population": 12, "elites": 2, "survivors": 4, **fields})
    return config.build(GRAMMAR, INITIAL, Tournament(size=3), variation or Variation())


def ones(genome: Genome) -> int:
    return sum(gene == best for gene, best in zip(genome.genes, BEST_GENES, strict=True))


def live(genomes: list[Genome], seed: int, episodes: int = 8, noise: float = 1.0) -> dict[int, np.ndarray]:
    """Return noisy lifespans: half of the luck lies in the seed and is common to all."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, noise, episodes)
    return {g.id: 10 * ones(g) + common + rng.normal(0, noise, episodes) for g in genomes}


def generation(algorithm: Generational, seed: int) -> list[Genome]:
    """Run one generation in which every elite is tuned, and return who was tested."""
    genomes = algorithm.ask(np.random.default_rng(seed))
    algorithm.tell(live(genomes, seed, noise=8.0))
    elites = algorithm.elites()
    algorithm.adopt([(g.id, algorithm.tuned(g.id, random_adapter(g.id))) for g in elites])
    return genomes


def plain(state: AlgorithmState) -> tuple[str, list[dict[str, Any]]]:
    return json.dumps(dict(state.data), allow_nan=False), [genome.record() for genome in state.genomes]


def test_founders_share_the_adapter_and_draw_their_strategies() -> None:
    founders = make().ask(np.random.default_rng(0))
    assert [founder.id for founder in founders] == list(range(12))
    assert {founder.adapter.digest() for founder in founders} == {INITIAL.digest()}
    assert all(f.operator == "founder" and f.parents == () for f in founders)
    assert len({founder.genes for founder in founders}) > 6


def test_given_strategies_are_used_in_turn() -> None:
    texts = tuple(GRAMMAR.render(GRAMMAR.random(np.random.default_rng(seed))) for seed in (1, 2))
    founders = make(strategies=texts).ask(np.random.default_rng(0))
    assert [GRAMMAR.render(founder.genes) for founder in founders] == list(texts) * 6


def test_a_strategy_that_does_not_parse_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"algorithm\.strategies\[0\]: .*expected 8 clauses"):
        make(strategies=("run away.",))


def test_survivors_are_the_best_and_are_tested_again() -> None:
    algorithm = make()
    founders = algorithm.ask(np.random.default_rng(0))
    algorithm.tell({founder.id: [10.0 * founder.id, 10.0 * founder.id + 2] for founder in founders})
    assert [elite.id for elite in algorithm.elites()] == [11, 10]
    assert algorithm.best().id == 11
    second = algorithm.ask(np.random.default_rng(1))
    assert [genome.id for genome in second[:4]] == [11, 10, 9, 8]
    assert [genome.id for genome in second[4:]] == list(range(12, 20))
    assert all(set(genome.parents) <= {8, 9, 10, 11} and genome.born == 1 for genome in second[4:])
    algorithm.tell({genome.id: [50.0, 50.0] for genome in second})
    known = algorithm.evaluations[11]
    assert (known.mean, known.count) == (80.5, 4)
    assert algorithm.evaluations[12].count == 2


@given(st.integers(0, 1000), st.integers(2, 14), st.data())
@settings(max_examples=25, deadline=None)
def test_every_generation_is_full_and_keeps_the_best(seed: int, population: int, data: st.DataObject) -> None:
    survivors = data.draw(st.integers(1, population))
    elites = data.draw(st.integers(0, min(survivors, population - survivors)))
    algorithm = make(population=population, survivors=survivors, elites=elites)
    seen: set[int] = set()
    for turn in range(3):
        genomes = generation(algorithm, seed + turn)
        ids = [genome.id for genome in genomes]
        assert len(ids) == population == len(set(ids))
        assert all(set(genome.parents) <= seen for genome in genomes if genome.id not in seen)
        seen |= set(ids)
        removed = {verdict.parent if verdict.accepted else verdict.child for verdict in algorithm.judgements}
        scores = {id_: score for id_, score in algorithm.scores.items() if id_ not in removed}
        assert algorithm.scores[algorithm.best().id] == max(scores.values())


def tuned_generation(gain: float) -> tuple[Generational, int, int]:
    """Return an algorithm one generation after its best was tuned into a child that lives `gain` steps longer."""
    algorithm = make(elites=1, survivors=3)
    founders = algorithm.ask(np.random.default_rng(0))
    algorithm.tell({founder.id: np.array([80.0, 100.0, 120.0]) - founder.id for founder in founders})
    parent = algorithm.elites()[0]
    child = algorithm.tuned(parent.id, random_adapter(1))
    algorithm.adopt([(parent.id, child)])
    second = algorithm.ask(np.random.default_rng(1))
    assert [genome.id for genome in second[:4]] == [0, 1, 2, child.id]
    lives = {genome.id: np.array([10.0, 20.0, 30.0]) for genome in second[4:]}
    lives |= {id_: np.array([80.0, 100.0, 120.0]) - id_ for id_ in (0, 1, 2)}
    lives[child.id] = lives[parent.id] + gain + np.array([-1.0, 0.0, 1.0])
    algorithm.tell(lives)
    return algorithm, parent.id, child.id


def test_a_better_child_takes_its_parents_place() -> None:
    algorithm, parent, child = tuned_generation(gain=5.0)
    (verdict,) = algorithm.judgements
    assert (verdict.parent, verdict.child, verdict.accepted, verdict.difference) == (parent, child, True, 5.0)
    assert verdict.standard_error == pytest.approx(1 / math.sqrt(3))
    assert algorithm.best().id == child
    assert algorithm.evaluations[child].count == 3
    third = algorithm.ask(np.random.default_rng(2))
    assert [genome.id for genome in third[:3]] == [child, 1, 2]
    assert third[0].operator == "finetune"
    assert third[0].parents == (parent,)


def test_a_child_within_one_standard_error_is_kept_with_its_parents_standing() -> None:
    algorithm, parent, child = tuned_generation(gain=-0.5)
    assert algorithm.judgements[0].accepted
    # Shrinkage to the population's mean would have put three episodes behind incumbents with six.
    assert algorithm.best().id == child
    assert algorithm.scores[child] == pytest.approx((99.5 + algorithm.scores[parent]) / 2)


def test_a_worse_child_is_refused_and_the_parent_kept() -> None:
    algorithm, parent, child = tuned_generation(gain=-0.6)
    (verdict,) = algorithm.judgements
    assert not verdict.accepted
    assert verdict.reason == "worse by more than 1 standard errors on 3 shared seeds"
    third = algorithm.ask(np.random.default_rng(2))
    assert [genome.id for genome in third[:3]] == [parent, 1, 2]
    assert child not in {genome.id for genome in third}
    assert algorithm.judgements == (verdict,)


def test_judging_is_paired() -> None:
    # Seeds differ by hundreds, the child is always 1 worse: unpaired this would drown, paired it is certain.
    parent = np.array([10.0, 300.0, 800.0, 50.0])
    assert not judge((0, parent), (1, parent - 1.0), 1.0).accepted
    assert judge((0, parent), (1, parent), 1.0).accepted


def test_judging_with_few_seeds() -> None:
    assert judge((0, [5.0]), (1, [5.0]), 1.0).accepted
    assert not judge((0, [5.0]), (1, [4.9]), 1.0).accepted
    none = judge((0, [5.0]), (1, []), 1.0)
    assert (none.accepted, none.reason) == (False, "no seed was lived by both")
    assert judge((0, [5.0, 7.0, 1.0]), (1, [6.0, 8.0]), 1.0).difference == 1.0


def test_tolerance_is_in_standard_errors() -> None:
    parent, child = np.zeros(4), np.array([-1.0, -3.0, -1.0, -3.0])  # mean -2, standard error 2 / sqrt(3) / 2 = 0.577
    assert not judge((0, parent), (1, child), 3.0).accepted
    assert judge((0, parent), (1, child), 4.0).accepted


@pytest.mark.parametrize("pending", [False, True])
def test_a_restored_run_goes_on_bit_for_bit(pending: bool) -> None:
    straight = make()
    for seed in range(2):
        generation(straight, seed)
    if pending:
        asked = straight.ask(np.random.default_rng(2))
    saved = straight.state()
    data = json.loads(json.dumps(dict(saved.data), allow_nan=False))
    resumed = make()
    resumed.restore(AlgorithmState(data, saved.genomes))
    assert plain(resumed.state()) == plain(straight.state())
    for algorithm in (straight, resumed):
        if pending:
            algorithm.tell(live(asked, 2))
        for seed in (3, 4):
            generation(algorithm, seed)
    assert plain(resumed.state()) == plain(straight.state())
    assert resumed.judgements == straight.judgements


def test_the_same_seeds_give_the_same_run() -> None:
    one, two = make(), make()
    for seed in range(4):
        first, second = generation(one, seed), generation(two, seed)
        assert [genome.record() for genome in first] == [genome.record() for genome in second]


@pytest.mark.parametrize("start", range(5))
def test_reaches_the_best_strategy_under_noise(start: int) -> None:
    """OneMax over 8 slots of 4 clauses: 1 in 65,536 is best, one slot is worth 10 steps, an episode's noise is 10."""
    algorithm = make(population=24, survivors=6, elites=0)
    for turn in range(40):
        genomes = algorithm.ask(np.random.default_rng((start, turn)))
        algorithm.tell(live(genomes, 1000 * start + turn, episodes=8, noise=7.0))
    assert ones(algorithm.best()) == len(BEST_GENES)


def test_calls_out_of_order_are_refused() -> None:
    algorithm = make()
    for call in (algorithm.elites, algorithm.best, lambda: algorithm.adopt([]), lambda: algorithm.tell({})):
        with pytest.raises(RuntimeError, match="first"):
            call()
    algorithm.ask(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="ask: expected tell"):
        algorithm.ask(np.random.default_rng(0))


def test_episodes_that_failed_are_nobodys_fault() -> None:
    algorithm = make()
    ids = [genome.id for genome in algorithm.ask(np.random.default_rng(0))]
    algorithm.tell({ids[0]: [5.0, math.nan], ids[1]: [math.nan, math.nan]} | {id_: [1.0, 2.0] for id_ in ids[2:]})
    assert (algorithm.evaluations[ids[0]].mean, algorithm.evaluations[ids[0]].count) == (5.0, 1)
    assert algorithm.evaluations[ids[1]].count == 0
    assert algorithm.best().id == ids[0]
    assert ids[1] not in [genome.id for genome in algorithm.survivors()]


def test_a_tuned_child_is_judged_on_the_seeds_that_both_lived() -> None:
    verdict = judge((0, [9.0, math.nan, 1.0]), (1, [math.nan, 50.0, 3.0]), tolerance=1.0)
    assert (verdict.accepted, verdict.difference) == (True, 2.0)
    assert verdict.reason.endswith("on 1 shared seeds")
    assert not judge((0, [math.nan]), (1, [1.0]), tolerance=1.0).accepted


def test_bad_lifespans_are_refused() -> None:
    algorithm = make()
    genomes = algorithm.ask(np.random.default_rng(0))
    lives: dict[int, list[float]] = {genome.id: [1.0] for genome in genomes}
    with pytest.raises(ValueError, match="lifespans of genome 3: expected finite numbers, got inf at position 1"):
        algorithm.tell({**lives, 3: [1.0, math.inf]})
    with pytest.raises(ValueError, match=r"got none of \[\], and also \[99\]"):
        algorithm.tell({**lives, 99: [1.0]})
    with pytest.raises(ValueError, match="expected at least one episode that did not fail, got none"):
        algorithm.tell({id_: [math.nan] for id_ in lives})
    algorithm.tell(lives)


def test_bad_adoptions_are_refused() -> None:
    algorithm = make(survivors=2, elites=1, population=3)
    algorithm.tell(live(algorithm.ask(np.random.default_rng(0)), 0))
    first, second = algorithm.ask(np.random.default_rng(1))[:2]
    algorithm.tell({id_: [float(id_ == first.id)] for id_ in algorithm.evaluations})
    child, other = algorithm.tuned(first.id, INITIAL), algorithm.tuned(first.id, INITIAL)
    with pytest.raises(ValueError, match="expected one child for each of the survivors"):
        algorithm.adopt([(first.id, child), (first.id, other)])
    with pytest.raises(ValueError, match="got parent 999"):
        algorithm.adopt([(999, child)])
    with pytest.raises(ValueError, match="with new ids, got"):
        algorithm.adopt([(first.id, second)])
    mate = next(id_ for id_ in algorithm.state().data["members"] if id_ != first.id)
    with pytest.raises(ValueError, match="room for 1 beside the survivors, got 2"):
        algorithm.adopt([(first.id, child), (mate, other)])
    with pytest.raises(ValueError, match="parent: expected one of the survivors"):
        algorithm.tuned(999, INITIAL)
    algorithm.adopt([(first.id, child)])
    assert child.id in {genome.id for genome in algorithm.ask(np.random.default_rng(2))}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"population": 0}, "population: expected an integer of at least 2, got 0"),
        ({"population": 4.0}, "population: expected an integer of at least 2, got 4.0"),
        ({"elites": 13}, r"elites: expected an integer of at least 0 and at most 12 \(the population\), got 13"),
        ({"elites": 5, "survivors": 4}, "elites: expected at most the 4 survivors, got 5"),
        ({"elites": 4, "survivors": 9}, "elites: expected room for 9 survivors .* population of 12, got 4"),
        ({"survivors": 0}, r"survivors: expected an integer of at least 1 and at most 12 \(the population\), got 0"),
        ({"shrinkage": -1.0}, "shrinkage: expected a number of at least 0, got -1.0"),
        ({"tolerance": math.nan}, "tolerance: expected a number of at least 0, got nan"),
        ({"strategies": "flee."}, "strategies: expected a list of texts, got the text 'flee.'"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationalConfig(**{"population": 12, "elites": 2, **fields})


def test_survivors_default_to_a_quarter_but_hold_the_elites() -> None:
    assert GenerationalConfig(population=24, elites=4).num_survivors == 6
    assert GenerationalConfig(population=8, elites=4).num_survivors == 4
    assert GenerationalConfig(population=2, elites=0).num_survivors == 1
