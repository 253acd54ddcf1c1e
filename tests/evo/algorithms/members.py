"""Every algorithm, and toy lives for it: what the contract tests and the tests of known optima share."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evo.algorithms.base import Algorithm, AlgorithmState
from evo.algorithms.cma_es import CmaEsConfig
from evo.algorithms.controls import BestOfNConfig, DriftConfig, FrozenConfig, LineagesConfig, RandomSearchConfig
from evo.algorithms.dominated_novelty import DominatedNoveltyConfig
from evo.algorithms.eggroll import EggrollConfig
from evo.algorithms.generational import GenerationalConfig
from evo.algorithms.islands import IslandsConfig
from evo.algorithms.map_elites import MapElitesConfig
from evo.algorithms.particle_swarm import ParticleSwarmConfig
from evo.algorithms.setting import PopulationConfig
from evo.algorithms.steady_state import SteadyStateConfig
from evo.genome import Genome
from evo.operators.selection import Tournament
from evo.operators.variation import Variation
from fitness.adapter import Adapter
from tests.evo.samples import GRAMMAR, random_adapter

POPULATION = 12
BEHAVIOURS = ("ones", "first")
BEST_GENES = tuple(slot.clauses[0] for slot in GRAMMAR.slots)
SIZE: dict[str, Any] = {"population": POPULATION, "elites": 2}
MEMBERS: dict[str, PopulationConfig] = {
    "generational": GenerationalConfig(**SIZE),
    "comma": GenerationalConfig(**SIZE, lifetime=1),
    "mortal": GenerationalConfig(**SIZE, lifetime=3),
    "steady_state": SteadyStateConfig(**SIZE),
    "islands": IslandsConfig(**SIZE, islands=2, every=2),
    "map_elites": MapElitesConfig(**SIZE, descriptors=("ones",), bins=9),
    "dominated_novelty": DominatedNoveltyConfig(**SIZE, descriptors=(), size=10),
    "best_ever": GenerationalConfig(**SIZE, lifetime=2, elites_of="hall_of_fame", inheritance="baldwinian"),
    "niches": MapElitesConfig(**SIZE, descriptors=("ones",), bins=9, elites_of="niches", inheritance="none"),
    "eggroll": EggrollConfig(**SIZE),
    "cma_es": CmaEsConfig(**SIZE),
    "particle_swarm": ParticleSwarmConfig(**SIZE),
    "frozen": FrozenConfig(**SIZE),
    "best_of_n": BestOfNConfig(**SIZE),
    "random_search": RandomSearchConfig(**SIZE),
    "lineages": LineagesConfig(**SIZE),
    "drift": DriftConfig(**SIZE),
}

Life = Callable[[Genome], float]


def build(config: PopulationConfig, initial: Adapter | None = None, variation: Variation | None = None) -> Algorithm:
    """Return the algorithm at its beginning."""
    start = random_adapter(0) if initial is None else initial
    return config.build(GRAMMAR, start, Tournament(size=3), variation or Variation(), BEHAVIOURS)


def ones(genome: Genome) -> int:
    """Count the genes that are the first of their slot."""
    return sum(gene == best for gene, best in zip(genome.genes, BEST_GENES, strict=True))


def behave(genomes: Sequence[Genome]) -> Mapping[int, np.ndarray]:
    """Return the share of ones, and whether the first gene is one."""
    return {one.id: np.array([ones(one) / 8, float(one.genes[0] == BEST_GENES[0])]) for one in genomes}


def generation(algorithm: Algorithm, seed: int, life: Life, noise: float = 0.0) -> list[Genome]:
    """Run one generation in which every elite is tuned, and return who was tested."""
    genomes, rng = algorithm.ask(np.random.default_rng(seed)), np.random.default_rng(1000 + seed)
    common = rng.normal(0, noise, 4)
    algorithm.tell({one.id: life(one) + common + rng.normal(0, noise, 4) for one in genomes}, behave(genomes))
    algorithm.adopt([(one.id, algorithm.tuned(one.id, random_adapter(one.id))) for one in algorithm.elites()])
    return genomes


def plain(state: AlgorithmState) -> tuple[str, list[dict[str, Any]]]:
    """Return a state as text and records, to compare it."""
    return json.dumps(dict(state.data), allow_nan=False), [genome.record() for genome in state.genomes]
