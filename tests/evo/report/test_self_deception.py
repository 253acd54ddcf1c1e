"""Where nothing is to be found, nothing is found; and what looks good for a wrong reason is exposed."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from evo.evolution import _HELDOUT_SEEDS, _TRAINING_SEEDS, _YARDSTICK_SEEDS
from evo.genome import Genome
from evo.heldout import measure
from evo.noise import corrected_best
from evo.operators.variation import Variation
from evo.report.differences import difference, holm, mann_whitney
from fitness.agent import Agent
from fitness.environments.base import Ints, random_actions
from fitness.environments.forage.config import ForageConfig
from fitness.objectives import Yardstick
from fitness.records import Episodes
from fitness.rollout import Lives, live_scripted
from tests.evo.algorithms.members import MEMBERS, behave, build
from tests.evo.samples import random_adapter
from tests.finetune.lives import Life, record

SEEDS = 10
COMPARISONS = 200


def declared(edge: float) -> tuple[int, int]:
    """Return how often, of three arms of which the first has an edge, something is found: by tests, by an interval."""
    rng = np.random.default_rng(0)
    tests = intervals = 0
    for _ in range(COMPARISONS):
        arms = rng.normal(0, 1, (3, SEEDS))
        arms[0] += edge
        tests += bool(holm([mann_whitney([a], [b]) for a, b in combinations(arms, 2)]).min() < 0.05)
        found = difference([arms[0]], [arms[1]], rng, resamples=400)
        intervals += not found.low <= 0 <= found.high
    return tests, intervals


def test_without_an_edge_a_difference_is_declared_at_the_nominal_rate() -> None:
    tests, intervals = declared(0.0)
    # 5% of 200 are 10, give or take 3; the test of small samples, and Holm's rule, stay below.
    assert 1 <= tests <= 19
    assert 1 <= intervals <= 19


def test_an_edge_of_two_deviations_is_declared() -> None:
    tests, intervals = declared(2.0)
    assert tests > 0.9 * COMPARISONS
    assert intervals > 0.9 * COMPARISONS


@pytest.mark.parametrize("name", ["map_elites", "generational"])
def test_the_best_of_an_archive_looks_good_where_nobody_can_be_and_is_not_believed(name: str) -> None:
    naive, corrected, plain = [], [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        algorithm = build(MEMBERS[name], variation=Variation(adapter_mutation_rate=0.0, crossover_rate=0.0))
        for _ in range(6):
            genomes = algorithm.ask(rng)
            algorithm.tell({one.id: rng.normal(50, 10, 4) for one in genomes}, behave(genomes))
        best = max(algorithm.survivors(), key=lambda one: algorithm.evaluations[one.id].mean)
        naive.append(algorithm.evaluations[best.id].mean)
        corrected.append(corrected_best({best.id: rng.normal(50, 10, 64)}).mean)
        plain.append(rng.normal(50, 10, 64).mean())
    assert mann_whitney([naive], [plain]) < 0.01
    assert np.mean(naive) > 53
    assert mann_whitney([corrected], [plain]) > 0.05
    assert np.mean(corrected) == pytest.approx(50, abs=1.5)


def cheat(seeds: Ints) -> Episodes:
    """Let somebody live who knows by heart what to do in the worlds that select, by their seed, and nothing else."""
    known = bool((seeds < _TRAINING_SEEDS).all())
    return live_scripted(ForageConfig(), (lambda env, _: env.expert_actions()) if known else random_actions, seeds)


def test_an_agent_that_reads_the_seed_wins_in_training_worlds_and_is_exposed_by_held_out_ones() -> None:
    environment, spoken = ForageConfig(), record([Life(0, 0, ("day",), (0,), ((0.0,),))])
    rng, trained = np.random.default_rng(0), np.arange(1000, 1016)
    algorithm = build(MEMBERS["generational"])
    founders = algorithm.ask(rng)
    planted = founders[-1].id

    def lifespans(genome: Genome) -> NDArray[np.float64]:
        own = trained + 100 * genome.id  # nobody is lucky in the same world
        lived = cheat(trained) if genome.id == planted else live_scripted(environment, random_actions, own)
        return lived.length.astype(np.float64)

    algorithm.tell({one.id: lifespans(one) for one in founders}, behave(founders))
    for _ in range(2):
        genomes = algorithm.ask(rng)
        algorithm.tell({one.id: lifespans(one) for one in genomes}, behave(genomes))
    assert algorithm.best().id == planted
    lifespan = algorithm.evaluations[planted].mean
    assert Yardstick.measure(environment, _YARDSTICK_SEEDS[:64]).score(lifespan) > 0.8

    def live(agents: Sequence[Agent], seeds: Ints) -> Lives:
        alone = len(agents) == 1 and agents[0].id == planted
        return Lives(cheat(seeds) if alone else live_scripted(environment, random_actions, seeds.ravel()), spoken)

    agents = [
        Agent(id=id_, strategy="", adapter=random_adapter(id_), temperature=1.0)
        for id_ in (founders[0].id, algorithm.best().id)
    ]
    heldout = np.arange(_HELDOUT_SEEDS, _HELDOUT_SEEDS + 64)
    table = dict(measure(live, environment, agents, agents[1], heldout, np.random.default_rng(0)).table)
    assert table["evolved"].ci[0] <= 0 <= table["evolved"].ci[1]
