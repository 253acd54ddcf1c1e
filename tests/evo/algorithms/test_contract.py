"""What every algorithm promises."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evo.algorithms.base import Algorithm, AlgorithmState
from evo.build import build_run
from evo.genome import Genome
from evo.operators.selection import Tournament
from evo.operators.variation import Support, Variation
from fitness.adapter import AdapterStack
from tests.evo.algorithms.members import BEHAVIOURS, MEMBERS, POPULATION, behave, build, generation, ones, plain
from tests.evo.samples import GRAMMAR, copy_of, random_adapter

KEEPING = ("generational", "steady_state", "islands", "map_elites", "dominated_novelty", "best_of_n", "random_search")
"""Those that promise never to lose the best genome that they have met, where lives are not a matter of luck."""
UNCHOSEN = ("frozen", "lineages", "drift")
"""Those that look at nobody's lives."""
BREEDING = ("generational", "comma", "mortal", "steady_state", "islands", "map_elites", "dominated_novelty")


@pytest.mark.parametrize("name", UNCHOSEN)
def test_lives_choose_nobody(name: str) -> None:
    told = [score, lambda genome: -score(genome)]
    runs = [[[one.record() for one in generation(each, seed, life)] for seed in range(6)] for each, life in
            zip((build(replace(MEMBERS[name], elites=0)) for _ in told), told, strict=True)]  # fmt: skip
    assert runs[0] == runs[1]


def test_a_lineage_goes_on_in_the_tuned_child_that_is_not_worse() -> None:
    algorithm = build(replace(MEMBERS["lineages"], elites=6))
    founders = generation(algorithm, 0, score)
    assert [one.id for one in algorithm.survivors()] == [one.id for one in founders[:6]]
    tested = generation(algorithm, 1, lambda one: -float(one.parents != () and one.id % 2))  # odd children live worse
    children = {one.parents[0]: one.id for one in tested if one.parents}
    expected = [one.id if children[one.id] % 2 else children[one.id] for one in founders[:6]]
    assert sum(id_ < POPULATION for id_ in expected) == 3
    assert [one.id for one in algorithm.survivors()] == [one.id for one in algorithm.elites()] == expected


def score(genome: Genome) -> float:
    return 10.0 * ones(genome)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_generation_is_full_and_every_id_new(name: str) -> None:
    algorithm, seen = build(MEMBERS[name]), dict[int, str]()
    for seed in range(8):
        genomes = generation(algorithm, seed, score, noise=3.0)
        assert len({one.id for one in genomes}) == len(genomes) == POPULATION
        for one in genomes:
            assert seen.setdefault(one.id, str(one.genes)) == str(one.genes)
            assert set(one.parents) <= seen.keys()
            assert one.born <= seed
        assert algorithm.evaluations.keys() >= {one.id for one in genomes}
        assert algorithm.best().id in seen
    assert len(seen) > POPULATION or name in ("frozen", "best_of_n")


@pytest.mark.parametrize("name", KEEPING)
def test_the_best_is_kept(name: str) -> None:
    algorithm, best = build(replace(MEMBERS[name], shrinkage=0.0)), 0
    for seed in range(12):
        best = max(best, *map(ones, generation(algorithm, seed, score)))
        assert max(map(ones, algorithm.survivors())) == best
        assert ones(algorithm.best()) == best


@pytest.mark.parametrize("name", BREEDING)
def test_what_lives_longer_spreads(name: str) -> None:
    shares = {}
    for sign in (1, -1):
        algorithm = build(MEMBERS[name])
        for seed in range(10):
            last = generation(algorithm, seed, lambda one, sign=sign: sign * score(one))  # type: ignore[misc]
        shares[sign] = np.mean([ones(one) for one in last])
    assert shares[1] > shares[-1] + 1


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("pending", [True, False])
def test_a_restored_run_goes_on_bit_for_bit(name: str, pending: bool) -> None:
    algorithm, other = build(MEMBERS[name]), build(MEMBERS[name])
    for seed in range(4):
        generation(algorithm, seed, score, noise=3.0)
    if pending:
        genomes = algorithm.ask(np.random.default_rng(4))
    state = algorithm.state()
    other.restore(AlgorithmState(json.loads(json.dumps(dict(state.data), allow_nan=False)), state.genomes))
    assert plain(other.state()) == plain(state)
    if pending:
        for one in (algorithm, other):
            one.tell({genome.id: [score(genome)] * 4 for genome in genomes}, behave(genomes))
    for seed in range(5, 9):
        records = [[one.record() for one in generation(which, seed, score, 3.0)] for which in (algorithm, other)]
        assert records[0] == records[1]
    assert plain(other.state()) == plain(algorithm.state())


@pytest.mark.parametrize("name", MEMBERS)
def test_the_same_seeds_give_the_same_run(name: str) -> None:
    runs = [[[g.record() for g in generation(a, seed, score, 3.0)] for seed in range(5)] for a in _two(name)]
    assert runs[0] == runs[1]


def _two(name: str) -> tuple[Algorithm, Algorithm]:
    return build(MEMBERS[name]), build(MEMBERS[name])


@pytest.mark.parametrize("name", MEMBERS)
def test_who_was_asked_is_left_as_it_was(name: str) -> None:
    algorithm = build(MEMBERS[name])
    for seed in range(3):
        genomes = generation(algorithm, seed, score, 3.0)
        stack = AdapterStack.of([one.adapter for one in genomes])
        before = copy_of(stack)
        generation(algorithm, 100 + seed, score, 3.0)
        for name_ in stack.spec.modules:
            np.testing.assert_array_equal(stack.a[name_], before.a[name_])
            np.testing.assert_array_equal(stack.b[name_], before.b[name_])


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("bad", [math.inf, -math.inf])
def test_lives_that_are_no_numbers_are_refused(name: str, bad: float) -> None:
    algorithm = build(MEMBERS[name])
    genomes = algorithm.ask(np.random.default_rng(0))
    lives = {one.id: [1.0, 2.0] for one in genomes}
    with pytest.raises(ValueError, match="lifespans"):
        algorithm.tell(lives | {genomes[3].id: [1.0, bad]}, behave(genomes))
    with pytest.raises(ValueError, match="lifespans"):
        algorithm.tell({one.id: [math.nan] * 2 for one in genomes}, behave(genomes))
    with pytest.raises(ValueError, match="lifespans"):
        algorithm.tell(lives | {10_000: [1.0, 2.0]}, behave(genomes))


@pytest.mark.parametrize("name", MEMBERS)
def test_a_genome_whose_lives_all_failed_is_no_survivor_while_others_lived(name: str) -> None:
    algorithm = build(MEMBERS[name])
    genomes = algorithm.ask(np.random.default_rng(0))
    failed = max(genomes, key=lambda one: (ones(one), -one.id))
    lives = {one.id: [math.nan, math.nan] if one is failed else [score(one), score(one)] for one in genomes}
    algorithm.tell(lives, behave(genomes))
    if name not in UNCHOSEN:
        assert algorithm.best().id != failed.id
    generation(algorithm, 1, score)


@pytest.mark.parametrize("name", MEMBERS)
def test_calls_out_of_order_are_refused(name: str) -> None:
    algorithm = build(MEMBERS[name])
    for call in (algorithm.survivors, lambda: algorithm.tell({}), algorithm.best):
        with pytest.raises(RuntimeError, match="expected"):
            call()
    algorithm.ask(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="expected"):
        algorithm.ask(np.random.default_rng(0))


@pytest.mark.parametrize("path", sorted(Path("conf/algorithm").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_can_be_built(path: Path) -> None:
    assert build_run([f"algorithm={path.stem}"]).config.population


BREEDERS = [name for name in BREEDING if name != "comma"]


@pytest.mark.parametrize("name", BREEDERS)
def test_a_child_that_is_a_copy_is_made_anew(name: str) -> None:
    assert copies(name, made_anew=True) < copies(name, made_anew=False) / 3


def copies(name: str, made_anew: bool) -> int:
    """Count the children in ten generations that have the genes of somebody before them, siblings too."""
    seen: set[tuple[str, ...]] = set()
    support = Support(is_known=(lambda child: child.genes in seen) if made_anew else None)
    variation = Variation(strategy_step=0.02, adapter_mutation_rate=0.0)
    algorithm = MEMBERS[name].build(GRAMMAR, random_adapter(0), Tournament(), variation, BEHAVIOURS, support)
    count = 0
    for seed in range(10):
        genomes = generation(algorithm, seed, score)
        for one in genomes:
            count += one.operator.endswith("mutation") and one.born == seed and one.genes in seen
            seen.add(one.genes)
    return count


@pytest.mark.parametrize("name", MEMBERS)
def test_rewritten_children_are_tested_beside_their_parents_or_there_is_no_room(name: str) -> None:
    algorithm = build(replace(MEMBERS[name], elites=0))
    for seed in range(4):
        genomes = algorithm.ask(np.random.default_rng(seed))
        algorithm.tell({one.id: [score(one), score(one) + 1] for one in genomes}, behave(genomes))
        parents = algorithm.survivors()[: min(2, algorithm.room)]
        assert bool(parents) == algorithm.adopts
        children = [algorithm.rewritten(one.id, GRAMMAR.random(np.random.default_rng(one.id))) for one in parents]
        algorithm.adopt([(one.id, child) for one, child in zip(parents, children, strict=True)])
        state = algorithm.ask(np.random.default_rng(100 + seed))
        assert {one.id for one in (*parents, *children)} <= {one.id for one in state}
        algorithm.tell({one.id: [score(one)] * 2 for one in state}, behave(state))
        assert len(algorithm.judgements) == len(parents)


@pytest.mark.parametrize("name", MEMBERS)
def test_lives_that_failed_later_are_no_deaths(name: str) -> None:
    algorithm = build(MEMBERS[name])
    for seed in range(5):
        genomes = algorithm.ask(np.random.default_rng(seed))
        lives = {one.id: np.array([50.0 + score(one)] * 3) for one in genomes}
        lives[genomes[-1].id][:] = math.nan
        lives[genomes[seed % 3].id][1] = math.nan
        algorithm.tell(lives, behave(genomes))
        assert all(math.isfinite(value) for value in algorithm.scores.values())
        assert algorithm.survivors()


def test_an_island_on_which_all_fail_does_not_stop_the_others() -> None:
    algorithm = build(MEMBERS["islands"])
    for seed in range(3):
        genomes = algorithm.ask(np.random.default_rng(seed))
        half = {one.id for one in genomes[: POPULATION // 2]}
        algorithm.tell({one.id: [math.nan if one.id in half else 5.0] for one in genomes})
        assert len(algorithm.survivors()) > 1
