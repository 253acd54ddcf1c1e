"""The genotype: what is inherited, and what is known of how well it lives.

Owns `Genome` (strategy genes, adapter, step sizes, parents) and `Evaluation` (its running fitness), which are kept
apart: a genome never changes, what is known of it grows. Does not own how genomes vary (`evo.operators`) or who lives
(`evo.algorithms`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fitness.adapter import Adapter, AdapterStack
from fitness.agent import Agent
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class StepSizes:
    """How strongly a genome mutates, and how it is trained; inherited and varied with the genome (self-adaptation)."""

    strategy: float
    """Chance that a slot's clause is replaced; above 0, at most 1."""
    adapter: float
    """Standard deviation of the adapter's noise, relative to the module's own scale; above 0."""
    rate: float = 1.0
    """Multiple of the trainer's learning rate that it is fine-tuned with; above 0."""
    beta: float = 1.0
    """Multiple of the fine-tuning method's beta; above 0."""

    def __post_init__(self) -> None:
        """Refuse step sizes at which nothing, or no distribution, is left."""
        if not 0 < self.strategy <= 1:
            raise ValueError(f"step_sizes.strategy: expected a number above 0 and at most 1, got {self.strategy}")
        for name in ("adapter", "rate", "beta"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"step_sizes.{name}: expected a finite number above 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Genome:
    """One heritable individual; immutable.

    Example: `Genome(id=3, genes=("eat when low",), adapter=initial, step_sizes=StepSizes(strategy=0.1, adapter=0.1))`
    """

    id: int
    """Unique in a run; counted, never drawn."""
    genes: tuple[str, ...]
    """One clause per slot of the grammar, in slot order."""
    adapter: Adapter
    step_sizes: StepSizes
    parents: tuple[int, ...] = ()
    """Ids, first parent first; empty for founders."""
    operator: str = "founder"
    """What made it: founder, mutation, crossover+mutation, halves+mutation, finetune, reflection or migration; where
    nobody breeds: centre, sample or swarm."""
    born: int = 0
    """Generation in which it is first tested."""

    def express(self, grammar: Grammar, temperature: float = 1.0, spoken: str = "") -> Agent:
        """Return the phenotype, all that engines and environments see; `spoken` is what it is told beside its genes."""
        told = grammar.render(self.genes) + spoken
        return Agent(id=self.id, strategy=told, adapter=self.adapter, temperature=temperature)

    def record(self) -> dict[str, Any]:
        """Return everything but the adapter's tensors as JSON-able values; `adapter` holds their digest."""
        return {
            "id": self.id,
            "genes": list(self.genes),
            "adapter": self.adapter.digest(),
            "step_sizes": asdict(self.step_sizes),
            "parents": list(self.parents),
            "operator": self.operator,
            "born": self.born,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], adapter: Adapter) -> "Genome":
        """Return the genome that `record` describes, with the adapter that its digest names.

        Raises:
            ValueError: `adapter` has another digest.
        """
        if adapter.digest() != record["adapter"]:
            raise ValueError(f"genome {record['id']}: expected adapter {record['adapter']}, got {adapter.digest()}")
        return cls(
            id=record["id"],
            genes=tuple(record["genes"]),
            adapter=adapter,
            step_sizes=StepSizes(**record["step_sizes"]),
            parents=tuple(record["parents"]),
            operator=record["operator"],
            born=record["born"],
        )


def pack(genomes: Sequence[Genome]) -> list[Genome]:
    """Return the genomes with their adapters side by side in one stack: a population in memory.

    What earlier stacks hold of genomes that are gone can then be freed, and the population stacks without another copy.
    """
    stack = AdapterStack.of([genome.adapter for genome in genomes])
    return [replace(genome, adapter=adapter) for genome, adapter in zip(genomes, stack, strict=True)]


def apart(genome: Genome) -> Genome:
    """Return the genome with an adapter of its own, for one that outlives its population's stack."""
    own = genome.adapter
    if own.home is None:
        return genome
    a, b = ({name: factor.clone() for name, factor in side.items()} for side in (own.a, own.b))
    return replace(genome, adapter=Adapter(own.spec, a, b))


@dataclass(frozen=True)
class Evaluation:
    """Running fitness of one genome over all the episodes it ever lived.

    Example: `Evaluation().merge([10.0, 20.0])` has mean 15, count 2 and standard error 5.
    """

    mean: float = 0.0
    """Mean lifespan in steps; 0 before the first episode."""
    count: int = 0
    """Episodes."""
    standard_error: float = math.inf
    """Of the mean; infinite below two episodes, where the spread is unknown."""

    def merge(self, values: ArrayLike) -> "Evaluation":
        """Return the evaluation with more episodes, as if all had been seen at once.

        Uses the pairwise form of Welford's update (Chan, Golub and LeVeque 1983), so that old episodes need not be
        kept.

        Args:
            values: lifespans [n] of new episodes; n may be 0.

        Raises:
            ValueError: `values` is not one-dimensional or holds a NaN or an infinity.
        """
        new = finite_vector("values", values)
        if not len(new):
            return self
        count = self.count + len(new)
        shift = float(new.mean()) - self.mean
        mean = self.mean + shift * len(new) / count
        scatter = self._scatter() + float(((new - new.mean()) ** 2).sum()) + shift**2 * self.count * len(new) / count
        error = math.sqrt(scatter / (count - 1) / count) if count > 1 else math.inf
        return Evaluation(mean, count, error)

    def _scatter(self) -> float:
        """Return the sum of squared deviations from the mean."""
        return self.standard_error**2 * self.count * (self.count - 1) if self.count > 1 else 0.0


def finite_vector(field: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as float64 [n].

    Raises:
        ValueError: not one-dimensional, or not finite everywhere.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{field}: expected a vector of numbers, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        where = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise ValueError(f"{field}: expected finite numbers, got {vector[where]} at position {where}")
    return vector
