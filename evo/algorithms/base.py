"""What every algorithm promises to the generation loop.

Owns the ask/tell contract, the verdict on a tuned child (`Judgement`) and the form of a saved state. The loop is:

    genomes = algorithm.ask(rng)                    # who is tested in this generation
    algorithm.tell({id: lifespans, ...})            # how long each of them lived, on seeds that all shared
    for elite in algorithm.elites(): ...            # who is worth fine-tuning
    algorithm.adopt([(elite.id, tuned child), ...]) # tested beside their parents in the next generation

Calls out of this order raise `RuntimeError`. Between `tell` and the next `ask`, or between `ask` and `tell`, `state()`
holds everything: an algorithm restored from it goes on bit for bit, given the same Generators.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evo.genome import Evaluation, Genome
from fitness.adapter import Adapter


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one tuned child, after both it and its parent lived the same seeds."""

    parent: int
    """Id of the genome that was tuned."""
    child: int
    """Id of the tuned genome."""
    accepted: bool
    """Whether the child was not worse; it then took the parent's place, where training is inherited."""
    difference: float
    """Mean over the shared seeds of child minus parent, in steps of life."""
    standard_error: float
    """Of that mean; 0 with a single shared seed, so that any loss refuses."""
    reason: str
    """In words."""


@dataclass(frozen=True)
class AlgorithmState:
    """Everything needed to go on: plain values, and the genomes that they name by id."""

    data: Mapping[str, Any]
    """JSON-able; what is in it belongs to the algorithm."""
    genomes: tuple[Genome, ...]
    """Ordered by id. Saved apart, since adapters are big and shared (`Genome.record`)."""


class Algorithm(ABC):
    """Decides who is tested, who survives, who breeds and who is tuned."""

    adopts: ClassVar[bool] = True
    """Whether children of survivors that others made (tuned, rewritten) can be tested beside their parents."""

    @abstractmethod
    def ask(self, rng: np.random.Generator) -> list[Genome]:
        """Return the genomes to test in this generation.

        Raises:
            RuntimeError: the genomes of the last `ask` were not told of.
        """

    @abstractmethod
    def tell(
        self, lifespans: Mapping[int, ArrayLike], behaviours: Mapping[int, NDArray[np.float64]] | None = None
    ) -> None:
        """Take what the genomes of the last `ask` lived, judge tuned children, choose who survives.

        Args:
            lifespans: genome id -> [n] steps lived, one per episode, in the order of the generation's seeds; NaN where
                an episode failed.
            behaviours: genome id -> [d] what it did (`fitness.behaviour`), for algorithms that look at it.

        Raises:
            RuntimeError: nothing was asked.
            ValueError: an id is missing or unknown, a lifespan is infinite, or no episode at all did not fail.
        """

    @abstractmethod
    def survivors(self) -> list[Genome]:
        """Return the genomes that are kept for the next generation, best first.

        Raises:
            RuntimeError: called before the generation's `tell`.
        """

    @abstractmethod
    def elites(self) -> list[Genome]:
        """Return the genomes to fine-tune, best first.

        Raises:
            RuntimeError: called before the generation's `tell`.
        """

    @abstractmethod
    def tuned(self, parent: int, adapter: Adapter) -> Genome:
        """Return the child of survivor `parent` that has `adapter` in place of its own; it must still be adopted.

        Raises:
            ValueError: `parent` did not survive.
        """

    @abstractmethod
    def rewritten(self, parent: int, genes: tuple[str, ...]) -> Genome:
        """Return the child of survivor `parent` that has `genes` in place of its own; it must still be adopted.

        Raises:
            ValueError: `parent` did not survive.
        """

    @property
    @abstractmethod
    def room(self) -> int:
        """How many children of survivors can still be adopted."""

    @abstractmethod
    def adopt(self, pairs: Sequence[tuple[int, Genome]]) -> None:
        """Have tuned children tested beside their parents in the next generation.

        Args:
            pairs: (parent id, tuned child); at most one child per parent.

        Raises:
            RuntimeError: called before the generation's `tell`.
            ValueError: a parent did not survive, has two children, or there is no room.
        """

    def best(self) -> Genome:
        """Return the survivor with the best score.

        Raises:
            RuntimeError: called before the generation's `tell`.
        """
        return self.survivors()[0]

    @property
    @abstractmethod
    def evaluations(self) -> Mapping[int, Evaluation]:
        """Genome id -> running fitness, for every genome of the last `ask`."""

    @property
    @abstractmethod
    def scores(self) -> Mapping[int, float]:
        """Genome id -> the number that survival is decided by, for every genome of the last `tell`."""

    @property
    @abstractmethod
    def judgements(self) -> tuple[Judgement, ...]:
        """Verdicts of the last `tell`, in the order of adoption."""

    @abstractmethod
    def state(self) -> AlgorithmState:
        """Return everything needed to go on."""

    @abstractmethod
    def restore(self, state: AlgorithmState) -> None:
        """Become what `state` describes."""


def judge(parent: tuple[int, ArrayLike], child: tuple[int, ArrayLike], tolerance: float) -> Judgement:
    """Return the verdict on a tuned child: refused if worse by more than `tolerance` standard errors.

    The comparison is paired: luck that lies in a seed (where the first food is) is common to both and cancels. A gate
    that asked for a proven gain would refuse most honest small steps; one standard error of leeway keeps them and still
    stops a fall.

    Args:
        parent: id and lifespans, in the order of the seeds; NaN where an episode failed.
        child: the same; seeds that one of them did not live to an end, or beyond the shorter list, are left out.
        tolerance: in standard errors of the mean difference, at least 0.
    """
    before, after = np.asarray(parent[1], dtype=np.float64), np.asarray(child[1], dtype=np.float64)
    length = min(len(before), len(after))
    gains = after[:length] - before[:length]
    gains = gains[~np.isnan(gains)]
    shared = len(gains)
    gain = float(gains.mean()) if shared else 0.0
    error = float(gains.std(ddof=1) / math.sqrt(shared)) if shared > 1 else 0.0
    accepted = shared > 0 and gain >= -tolerance * error
    verdict = "not worse" if accepted else "worse"
    reason = f"{verdict} by more than {tolerance:g} standard errors on {shared} shared seeds"
    return Judgement(
        parent=parent[0],
        child=child[0],
        accepted=accepted,
        difference=gain,
        standard_error=error,
        reason=reason if shared else "no seed was lived by both",
    )
