"""Particle swarm over adapters: every particle is drawn to the best place that it, and that anybody, has been."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from evo.algorithms.base import AlgorithmState
from evo.algorithms.population import PopulationAlgorithm
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Genome, apart
from fitness.adapter import Adapter, AdapterStack
from fitness.checks import check_number
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ParticleSwarmConfig(PopulationConfig):
    """Numbers of the swarm (Kennedy and Eberhart 1995; over language models: https://arxiv.org/abs/2410.11163).

    Example: `ParticleSwarmConfig(population=32, elites=0)`
    """

    inertia: float = 0.7298
    """Share of its velocity that a particle keeps, 0 to below 1."""
    own: float = 1.49618
    """Pull of the particle's own best place; at least 0."""
    common: float = 1.49618
    """Pull of the best place of all; at least 0."""

    def __post_init__(self) -> None:
        """Refuse a swarm that flies apart."""
        super().__post_init__()
        check_number("inertia", self.inertia, 0.0)
        check_number("own", self.own, 0.0)
        check_number("common", self.common, 0.0)
        # Mean-square stability (Poli 2009, https://doi.org/10.1109/TEVC.2008.2011744).
        limit = 24 * (1 - self.inertia**2) / (7 - 5 * self.inertia) if self.inertia < 1 else 0.0
        if not self.own + self.common < limit:
            raise ConfigError(
                f"own: expected own + common below {limit:g} at inertia {self.inertia:g}, or the swarm flies apart, "
                f"got {self.own + self.common:g}"
            )

    def assemble(self, materials: Materials, ids: Ids) -> "ParticleSwarm":
        """See `PopulationConfig.assemble`."""
        return ParticleSwarm(self, materials, ids)


class ParticleSwarm(PopulationAlgorithm):
    """`v <- w v + c1 r1 (own best - x) + c2 r2 (common best - x)`, `x <- x + v`, a new r for every number.

    A place is the factors B and A of every module. With the constriction coefficients (Clerc and Kennedy 2002,
    https://doi.org/10.1109/4235.985692) no limit on speed is needed; DEAP's example has one whose lower bound never
    binds (https://github.com/DEAP/deap/issues/446). A best place is a genome of its own that later steps do not move,
    and the common one is tested again in every generation, so that a lucky place does not lead for ever. Generation 0
    tests founders; the best gives its strategy to all, and the first places are mutants of its adapter.
    """

    adopts = False

    def __init__(self, config: ParticleSwarmConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._config = config
        self._now: list[Genome] = []
        self._before: list[Genome] = []
        self._best: list[Genome] = []

    def elites(self) -> list[Genome]:
        """Return nobody: a particle is moved by the swarm alone."""
        return []

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the common best and the particles at their next places."""
        (leader,) = self._members.values()
        if self._now:
            following = self._fly(leader, rng)
            self._before, self._now = self._now, following
        else:
            following = self._scatter(leader, rng)
            self._before, self._now, self._best = following, following, []
        return [leader, *following]

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Update the best places; the common best survives."""
        if not self._now:
            return [self._members[self._standing.rank(candidates, 1)[0]]]
        self._now = [self._members[one.id] for one in self._now]
        pairs = zip(self._now, self._best or self._now, strict=True)
        self._best = [apart(self._better(old, new)) for new, old in pairs]
        leader = next(iter(self._members.values()))
        everyone = {one.id: one for one in (leader, *self._best)}
        ranked = self._standing.rank(everyone, 1)
        return [everyone[ranked[0]] if ranked else leader]

    def _better(self, old: Genome, new: Genome) -> Genome:
        """Return whichever place is better; one where nothing was lived is none."""
        ranked = self._standing.rank({old.id: old, new.id: new}, 2)
        return new if ranked and ranked[0] == new.id else old

    def _scatter(self, leader: Genome, rng: np.random.Generator) -> list[Genome]:
        """Return the first places."""
        count, variation = self._config.population - 1, self._materials.variation
        stack = AdapterStack.of([leader.adapter] * count)
        places = variation.adapter_mutation.mutate(stack, np.full(count, leader.step_sizes.adapter), rng)
        return [self._descend(leader, (leader,), adapter) for adapter in places]

    def _fly(self, leader: Genome, rng: np.random.Generator) -> list[Genome]:
        """Return the next places."""
        now, before, best = (
            AdapterStack.of([one.adapter for one in group]) for group in (self._now, self._before, self._best)
        )
        moved: dict[str, dict[str, torch.Tensor]] = {"a": {}, "b": {}}
        for side, factors in moved.items():
            common = getattr(leader.adapter, side)
            for name, x in getattr(now, side).items():
                first, second = (torch.from_numpy(rng.random(x.shape, dtype=np.float32)) for _ in range(2))
                velocity = self._config.inertia * (x - getattr(before, side)[name])
                velocity += self._config.own * first * (getattr(best, side)[name] - x)
                velocity += self._config.common * second * (common[name] - x)
                factors[name] = x + velocity
        stack = AdapterStack(now.spec, moved["a"], moved["b"])
        return [self._descend(one, (one, leader), adapter) for one, adapter in zip(self._now, stack, strict=True)]

    def _descend(self, like: Genome, parents: Sequence[Genome], adapter: Adapter) -> Genome:
        """Return a particle at a new place."""
        ids = tuple(dict.fromkeys(parent.id for parent in parents))
        return replace(like, id=self._ids.take(), adapter=adapter, parents=ids, operator="swarm", born=self.generation)

    def _known(self) -> Iterable[int]:
        """Return the best places."""
        return [one.id for one in self._best]

    def _own_state(self) -> AlgorithmState:
        """Return where the particles are, were, and have been best."""
        groups = {"now": self._now, "before": self._before, "best": self._best}
        data = {name: [one.id for one in group] for name, group in groups.items()}
        return AlgorithmState(data, tuple(one for group in groups.values() for one in group))

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described."""
        self._now, self._before, self._best = (
            [genomes[id_] for id_ in data[name]] for name in ("now", "before", "best")
        )
