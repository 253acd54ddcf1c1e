"""Two-point crossover over slots: neighbours are inherited together."""

from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Genes, StrategyCrossover
from fitness.environments.grammar import tidy


@dataclass(frozen=True, kw_only=True)
class SegmentCrossover(StrategyCrossover):
    """A run of slots from the second parent, the rest from the first.

    The run is circular and is 1 to n-1 slots long, so both parents always give something and no slot is favoured by its
    place (two-point crossover on a ring: De Jong 1975). With one slot, either parent gives it.
    Sentences of free slots are inherited by their place; gaps are closed.
    """

    def cross(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Return the first parent's genes with one segment of the second's; see `StrategyCrossover.cross`."""
        slots = len(first)
        if len(second) != slots:
            raise ValueError(f"second: expected {slots} genes like the first parent, got {len(second)}")
        if slots < 2:
            return second if rng.random() < 0.5 else first
        start = int(rng.integers(slots))
        length = int(rng.integers(1, slots))
        return tidy(second[i] if (i - start) % slots < length else first[i] for i in range(slots))
