"""What every selector promises, and the check on what it is given.

Owns the contract: more fitness is better, non-finite fitness is refused (a NaN wins a quarter of DEAP's tournaments of
three in a pool of four), the fitness is left as it is, and the same Generator state gives the same choice.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """Who may become a parent, and all that is known of them.

    Example: `Pool(scores=np.array([9.0, 7.5]), cases=np.array([[8.0, 10.0], [9.0, 6.0]]), children=np.array([2, 0]))`
    """

    scores: NDArray[np.float64]
    """[n] the number that survival is decided by; to be maximised."""
    cases: NDArray[np.float64]
    """[n, m] fitness on each world that all of them lived in; to be maximised."""
    children: NDArray[np.int64]
    """[n] how often each was a parent so far."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.scores)

    def without(self, position: int) -> "Pool":
        """Return all but one."""
        return Pool(
            scores=np.delete(self.scores, position),
            cases=np.delete(self.cases, position, axis=0),
            children=np.delete(self.children, position),
        )


class Selection(ABC):
    """Chooses members of a population by their fitness."""

    sees: ClassVar[Literal["scores", "cases"]] = "scores"
    """What `select` is given of a pool: one number for each member, or one for each member and world."""

    @abstractmethod
    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions [count] of the chosen; whether one can be chosen twice is the member's own.

        Args:
            fitness: [n], or [n, m] for m objectives or cases; to be maximised.
            count: how many to choose, at least 0.
            rng: the only source of chance.

        Raises:
            ValueError: the fitness is empty, not finite or of a wrong shape, or `count` cannot be chosen.
        """

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions [count] of parents; a member that looks at more than fitness has its own."""
        return self.select(getattr(pool, self.sees), count, rng)

    def mate(self, pool: Pool, first: int, rng: np.random.Generator) -> int:
        """Return the position of a second parent for `first`, in a pool of two or more: chosen among all the others."""
        position = int(self.choose(pool.without(first), 1, rng)[0])
        return position + (position >= first)


def check_fitness(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fitness as float64 [n, m].

    Raises:
        ValueError: empty, not finite, or neither one- nor two-dimensional.
    """
    table = np.asarray(fitness, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.size:
        raise ValueError(f"fitness: expected shape [n] or [n, m] with n and m above 0, got {np.shape(fitness)}")
    if not np.isfinite(table).all():
        member = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ValueError(f"fitness: expected finite numbers, got {table[member].tolist()} for member {member}")
    return table


def check_count(count: int) -> None:
    """Refuse to choose fewer than none.

    Raises:
        ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError(f"count: expected at least 0, got {count}")


def one_number(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one number [n] for each member: the mean of its columns.

    Raises:
        ValueError: as in `check_fitness`.
    """
    means: NDArray[np.float64] = check_fitness(fitness).mean(axis=1)
    return means
