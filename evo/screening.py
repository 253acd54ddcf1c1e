"""Screening of offspring: more children are bred than there is room for, and those live of whom most is expected.

Owns what a screen knows and how it came to know it. After every generation one linear head is fitted, by ridge
regression in closed form (no trained head is used), to the returns of decisions that the whole population took, on the
hidden states that each agent's own strategy and adapter made of them (`finetune.heads`). A child is worth the mean of
what the head says of its hidden states at observations that were met before it lived: surrogate-assisted pre-selection
(Jin 2011, https://doi.org/10.1016/j.swevo.2011.05.001), with the agent's own network for features. What it costs is
charged to the engine and so to the run's budget. How well it predicts is recorded in every generation
(`Screened.rank`), since a screen that does not is to be seen not to: measured in docs/operators.md, it mostly does on
children of founders and not always later. To screen by something else, write a component with `screening` that returns
what has the methods of `Screen`.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from evo.genome import Genome
from finetune.batches import to_read
from finetune.heads import fitted, predicted
from finetune.methods.return_regression import TARGETS, returns_of
from finetune.policies import Cost, Policies
from fitness.agent import Agent
from fitness.checks import check_choice, check_integer, check_number
from fitness.engines.population import PopulationEngine
from fitness.errors import ConfigError
from fitness.records import Transitions

_log = logging.getLogger(__name__)
_TOGETHER, _ROWS = 8, 256
"""Agents, and rows, that are read at a time, at most: memory grows with them."""
_FIRSTS = 4
"""One probe in so many is the first observation of a life."""
_FEWEST = 3
"""Children of whom a rank correlation says anything."""


@dataclass(frozen=True, kw_only=True)
class ValueScreen:
    """Breeds several children for each place, and keeps those of whom a value head expects the highest return."""

    times: int = 3
    """Children that are bred for each place, at least 2."""
    decisions: int = 32
    """Of every genome that lived, evenly over its lives; the head is fitted on them; at least 1."""
    probes: int = 32
    """Observations that each child is asked about: first ones and a sample of all that were met; at least 1."""
    target: str = "to_go"
    """What the head is fitted to; as in `finetune.methods.return_regression`."""
    discount: float = 0.98
    """Gamma of "to_go"; in (0, 1)."""
    ridge: float = 0.1
    """Penalty on squared weights of standardised columns, for each decision; above 0."""
    heed: bool = True
    """False: a control at equal cost: children are bred, asked and paid for, and every `times`-th lives."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_integer("times", self.times, 2)
        check_integer("decisions", self.decisions, 1)
        check_integer("probes", self.probes, 1)
        check_choice("target", self.target, TARGETS)
        check_number("ridge", self.ridge, 1e-9)
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount: expected a number between 0 and 1, got {self.discount}")

    def screening(self, engine: PopulationEngine, express: Callable[[Genome], Agent]) -> "Screen":
        """Return the screen of a run, which knows nothing yet, so that in generation 1 it is what generation 0 left."""
        return Screen(self, engine, express)


@dataclass(frozen=True)
class Screened:
    """What a screen did in one generation."""

    left_out: int = 0
    """Children that were bred and do not live."""
    expected: Mapping[int, float] | None = None
    """Id of every child that lives -> the return that is expected of it."""

    def rank(self, lifespans: Mapping[int, NDArray[np.float64]]) -> float:
        """Return Spearman's rank correlation between what was expected and how long children then lived on average.

        NaN for too few, or if all are equal. Those who live were chosen for what is expected of them, which narrows its
        range and with it the correlation; with `heed` false nobody was.
        """
        pairs = [
            (value, float(np.nanmean(lifespans[id_])))
            for id_, value in (self.expected or {}).items()
            if not np.isnan(lifespans[id_]).all()
        ]
        if len(pairs) < _FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
            return math.nan
        return float(spearmanr(*zip(*pairs, strict=True)).statistic)


class Screen:
    """Expects something of children, from what a population lived. See `evo.operators.variation.Screens`."""

    def __init__(self, config: ValueScreen, engine: PopulationEngine, express: Callable[[Genome], Agent]) -> None:
        """See `ValueScreen.screening`."""
        self._config, self._engine, self._express = config, engine, express
        self._head: Tensor | None = None
        self._probes: list[str] = []
        self._screened = Screened()

    def wanted(self, count: int) -> int:
        """Return how many children are to be bred for `count` places: no more before anything is known."""
        return count if self._head is None else count * self._config.times

    def keep(self, children: Sequence[Genome], first_id: int, count: int) -> list[int]:
        """Return the places of the `count` children that live, in order, and remember what is expected of them."""
        if self._head is None or len(children) <= count:
            return list(range(len(children)))
        states = self._states(children, [self._probes] * len(children))
        expected = predicted(self._head[None], states.flatten(0, 1)[None]).view(len(children), -1).mean(dim=1).numpy()
        kept = np.arange(count) * self._config.times
        if self._config.heed:
            kept = np.sort(np.argsort(-expected, kind="stable")[:count])
        before = self._screened
        said = {first_id + place: float(expected[i]) for place, i in enumerate(kept)}
        self._screened = Screened(before.left_out + len(children) - count, {**(before.expected or {}), **said})
        return [int(i) for i in kept]

    def learn(self, population: Sequence[Genome], transitions: Transitions) -> None:
        """Fit the head to what a generation lived, and choose the probes of the next."""
        own = {genome.id: np.flatnonzero(transitions.agent == genome.id) for genome in population}
        lived = [genome for genome in population if len(own[genome.id])]
        if not lived:
            return
        places = np.stack([_evenly(own[genome.id], self._config.decisions) for genome in lived])
        states = self._states(lived, transitions.observation[places].tolist())
        returns = returns_of(transitions, self._config.target, self._config.discount)[places]
        target = torch.from_numpy(returns).flatten()[None]
        self._head = fitted(states.flatten(0, 1)[None], target, self._config.ridge)[0]
        firsts, met = (
            np.unique(texts.astype(str))
            for texts in (transitions.observation[transitions.step == 0], transitions.observation)
        )
        count = -(-self._config.probes // _FIRSTS)
        probes = [*_evenly(firsts, count), *_evenly(met, self._config.probes - count)]
        self._probes = [str(text) for text in probes]

    def take(self) -> Screened:
        """Return what was done since the last call."""
        taken, self._screened = self._screened, Screened()
        return taken

    def state(self) -> dict[str, Any]:
        """Return all that it knows between two generations, as JSON can hold it to the last bit."""
        return {"head": None if self._head is None else self._head.tolist(), "probes": self._probes}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what `state` returned."""
        self._head = None if state["head"] is None else torch.tensor(state["head"])
        self._probes = list(state["probes"])

    def _states(self, genomes: Sequence[Genome], observed: Sequence[Sequence[str]]) -> Tensor:
        """Return the pooled hidden states [P, n, H] of each genome's own observations; the engine is charged."""
        found = []
        for first in range(0, len(genomes), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            agents = [self._express(genome) for genome in genomes[some]]
            policies = Policies(self._engine.model, self._engine.prompts, agents, _ROWS)
            batch = to_read(observed[some], self._engine.prompts).to(self._engine.model.device)
            found.append(policies.look(batch).states.cpu())
            self._charge(policies.cost)
            for fault in policies.faults:
                _log.warning("screening: %s", fault)
        return torch.cat(found)

    def _charge(self, cost: Cost) -> None:
        """Have the engine count what was spent with its model."""
        usage = self._engine.usage
        flops, seconds = usage.forward_flops + cost.flops, usage.model_seconds + cost.seconds
        self._engine.go_on(replace(usage, forward_flops=flops, model_seconds=seconds), self._engine.row_chunk)


def _evenly(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return `count` of the values, evenly over them; some more than once if there are fewer."""
    return np.asarray(values[np.arange(count) * len(values) // max(count, 1)])
