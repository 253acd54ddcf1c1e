"""Each algorithm finds a known optimum within a stated budget; controls do not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from evo.algorithms.cma_es import CmaEsConfig
from evo.algorithms.controls import BestOfNConfig, FrozenConfig, RandomSearchConfig
from evo.algorithms.dominated_novelty import DominatedNoveltyConfig
from evo.algorithms.eggroll import EggrollConfig
from evo.algorithms.generational import GenerationalConfig
from evo.algorithms.islands import IslandsConfig
from evo.algorithms.map_elites import MapElitesConfig
from evo.algorithms.particle_swarm import ParticleSwarmConfig
from evo.algorithms.setting import PopulationConfig
from evo.algorithms.steady_state import SteadyStateConfig
from evo.genome import Genome
from evo.operators.adapter_mutation import GaussianMutation
from evo.operators.variation import Variation
from fitness.adapter import Adapter, LoraSpec
from tests.evo.algorithms.members import build, generation, ones
from tests.evo.samples import dense, random_adapter

POPULATION = 24
SIZE = {"population": POPULATION, "elites": 0}
STRATEGIES_ONLY = Variation(adapter_mutation_rate=0.0)


def lived(config: PopulationConfig, life: Callable[[Genome], float], generations: int, **given: object) -> list[Genome]:
    """Return the best genome of each generation."""
    algorithm = build(config, **given)  # type: ignore[arg-type]
    best = []
    for seed in range(generations):
        generation(algorithm, seed, life)
        best.append(algorithm.best())
    return best


@pytest.mark.parametrize(
    ("config", "budget"),
    [
        (GenerationalConfig(**SIZE), 25),
        (GenerationalConfig(**SIZE, lifetime=1), 40),
        (SteadyStateConfig(**SIZE, offspring=6), 60),
        (IslandsConfig(**SIZE, islands=3), 40),
        (MapElitesConfig(**SIZE, descriptors=("first",), bins=2), 60),
        (DominatedNoveltyConfig(**SIZE, descriptors=(), size=24), 80),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, PopulationConfig) else "",
)
def test_breeders_find_the_best_of_65536_strategies(config: PopulationConfig, budget: int) -> None:
    best = lived(config, lambda one: float(ones(one)), budget, variation=STRATEGIES_ONLY)
    assert max(map(ones, best)) == 8


@pytest.mark.parametrize(
    "config", [FrozenConfig(**SIZE), BestOfNConfig(**SIZE), RandomSearchConfig(**SIZE)], ids=lambda c: type(c).__name__
)
def test_controls_do_not(config: PopulationConfig) -> None:
    best = [ones(one) for one in lived(config, lambda one: float(ones(one)), 40, variation=STRATEGIES_ONLY)]
    founders = build(config, variation=STRATEGIES_ONLY).ask(np.random.default_rng(0))
    expected = {"FrozenConfig": [ones(founders[0])] * 40, "BestOfNConfig": [max(map(ones, founders))] * 40}
    assert best == expected.get(type(config).__name__, sorted(best))
    assert best[-1] < 8


SMALL = LoraSpec(rank=3, alpha=6.0, shapes=(("one", 6, 5), ("two", 5, 6)))


def distance(adapter: Adapter, goal: Adapter) -> float:
    return sum(float((dense(adapter, name) - dense(goal, name)).square().sum()) for name in adapter.spec.modules)


def sphere(goal: Adapter) -> Callable[[Genome], float]:
    return lambda one: -distance(one.adapter, goal)


def stretched(adapter: Adapter, by: tuple[float, ...]) -> Adapter:
    """Return the adapter with its singular values in every module multiplied."""
    b = {}
    for name in adapter.spec.modules:
        left, values, right = torch.linalg.svd(adapter.b[name] @ adapter.a[name])
        rank = adapter.spec.rank
        product = left[:, :rank] * (values[:rank] * torch.tensor(by)) @ right[:rank]
        b[name] = (product.double() @ torch.linalg.pinv(adapter.a[name].double())).float()
    return replace(adapter, b=b)


def small(seed: int, rank_used: int) -> Adapter:
    """Return a random adapter with outputs about as large as inputs."""
    one = random_adapter(seed, rank_used, SMALL)
    return replace(one, b={name: factor * 0.1 for name, factor in one.b.items()})


@pytest.mark.parametrize(
    ("config", "goal", "budget", "left"),
    [
        (EggrollConfig(**SIZE, reach=0.05), small(1, 2), 300, 0.02),
        (CmaEsConfig(**SIZE, reach=0.05), stretched(small(0, 3), (2.0, 0.5, -1.0)), 120, 1e-6),
        (ParticleSwarmConfig(**SIZE), small(1, 3), 200, 0.1),
        (GenerationalConfig(**SIZE), small(1, 3), 400, 0.05),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, PopulationConfig) else "",
)
def test_weights_find_the_bottom_of_a_sphere(config: PopulationConfig, goal: Adapter, budget: int, left: float) -> None:
    start = small(0, 2 if isinstance(config, EggrollConfig) else 3)
    variation = Variation(
        strategy_mutation_rate=0.0,
        adapter_mutation_rate=1.0,
        crossover_rate=0.2,
        adapter_mutation=GaussianMutation(down=True),
    )
    best = lived(config, sphere(goal), budget, initial=start, variation=variation)
    assert distance(best[-1].adapter, goal) < left * distance(start, goal)


def trap(one: Genome) -> float:
    """Reward fewer ones, but most of all eight: a hill that leads away from the peak."""
    return 10.0 if ones(one) == 8 else 7.0 - ones(one)


def test_diversity_gets_out_of_a_trap_that_holds_selection() -> None:
    config = MapElitesConfig(**SIZE, descriptors=("ones",), bins=9)
    assert ones(lived(config, trap, 150, variation=STRATEGIES_ONLY)[-1]) == 8
    novel = DominatedNoveltyConfig(**SIZE, descriptors=("ones",), size=24)
    assert ones(lived(novel, trap, 150, variation=STRATEGIES_ONLY)[-1]) == 8
    assert ones(lived(GenerationalConfig(**SIZE), trap, 150, variation=STRATEGIES_ONLY)[-1]) == 0
