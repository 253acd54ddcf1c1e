"""DEAP's selectors, with DEAP's globals kept out.

Owns the bridge: plain classes with a `deap.base.Fitness` (no `creator`, so they pickle), and a context that lends the
process's random state to one call and puts it back. Every member that uses DEAP goes through `select_with_deap`.
"""

import pkgutil
import random  # noqa: TID251
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from deap import base
from numpy.typing import NDArray

from evo.operators.selection.base import Pool, Selection, check_fitness
from fitness.errors import ConfigError

DeapSelector = Callable[..., Sequence["Candidate"]]
"""A function `(individuals, k, **arguments) -> chosen individuals`, as in `deap.tools`."""


class Score(base.Fitness):  # type: ignore[misc]
    """Fitness of any number of objectives, all maximised."""

    weights: tuple[float, ...] = (1.0,)

    def __init__(self, values: Sequence[float] = ()) -> None:
        """Take the values; their number decides the number of weights."""
        self.weights = (1.0,) * max(len(values), 1)
        super().__init__(values)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Score":
        """Return a copy with the same weights; the inherited copy would lose them."""
        return Score(self.values)


class Candidate:
    """What a DEAP selector sees: a fitness, and the position to which it belongs."""

    def __init__(self, position: int, values: Sequence[float]) -> None:
        """Take the position in the population and one value per objective."""
        self.position = position
        self.fitness = Score(values)


@contextmanager
def lent_global_randomness(rng: np.random.Generator) -> Iterator[None]:
    """Seed Python's and numpy's global random state from `rng` for one block, then restore both.

    DEAP draws from `random`, and NSGA-III from `numpy.random` too; nothing outside the block may notice.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(int(rng.integers(2**63)))
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002, TID251
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def select_with_deap(
    function: DeapSelector,
    fitness: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
    **arguments: object,
) -> NDArray[np.int64]:
    """Return the positions [count] that a DEAP selector chooses; see `Selection.select`.

    Raises:
        ValueError: the fitness is refused, or the selector did not return `count` of the individuals it was given.
    """
    candidates = [Candidate(i, tuple(row)) for i, row in enumerate(check_fitness(fitness).tolist())]
    with lent_global_randomness(rng):
        chosen = function(candidates, count, **arguments)
    if len(chosen) != count or not all(isinstance(one, Candidate) for one in chosen):
        name = getattr(function, "__name__", repr(function))
        raise ValueError(
            f"{name}: expected {count} of the {len(candidates)} individuals it was given, got {len(chosen)}"
        )
    return np.array([one.position for one in chosen], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class DeapSelection(Selection):
    """Any selector written for DEAP, unchanged.

    The function sees a fitness and nothing else: one that asks for the length of an individual does not work.

    Example: `DeapSelection(function="deap.tools.selTournament", arguments={"tournsize": 3})`
    """

    function: DeapSelector | str
    """The function, or its dotted path; `(individuals, k, **arguments) -> chosen`."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    """Keyword arguments for every call."""

    worlds: bool = False
    """Whether the function is given fitness on every world, as a lexicase or Pareto selector wants it, or one score."""

    def __post_init__(self) -> None:
        """Refuse a path that leads to nothing that can be called."""
        self._resolve()

    def select(self, fitness: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions that the function chooses; see `Selection.select`."""
        return select_with_deap(self._resolve(), fitness, count, rng, **self.arguments)

    def choose(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return positions by score, or world by world; see `Selection.choose`."""
        return self.select(pool.cases if self.worlds else pool.scores, count, rng)

    def _resolve(self) -> DeapSelector:
        """Return the function itself."""
        given: object = self.function
        if isinstance(given, str):
            try:
                given = pkgutil.resolve_name(given)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(
                    f"function: expected a function or its dotted path, got {given!r} ({error})"
                ) from error
        if not callable(given):
            raise ConfigError(f"function: expected a function or its dotted path, got {given!r}")
        return given
