"""What the members for several objectives share: worlds become DEAP's objectives.

Owns what DEAP's multi-objective selectors cannot do by themselves: a single objective (DEAP's fast sorting breaks on
it), none or more to choose than there are, and ties, which DEAP breaks by position.
"""

import numpy as np
from numpy.typing import NDArray

from evo.operators.selection.base import check_count, check_fitness
from evo.operators.selection.deap_selection import DeapSelector, select_with_deap


def objectives(fitness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fitness as [n, m] with m of at least 2: a single column stands there twice, which changes no order.

    Raises:
        ValueError: as in `check_fitness`.
    """
    table = check_fitness(fitness)
    return table if table.shape[1] > 1 else np.repeat(table, 2, axis=1)


def select_objectives(
    function: DeapSelector,
    fitness: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
    **arguments: object,
) -> NDArray[np.int64]:
    """Return the positions [count] that a DEAP selector chooses of shuffled members: ties are broken by chance.

    Raises:
        ValueError: as in `select_with_deap`.
    """
    table = objectives(fitness)
    order = rng.permutation(len(table))
    return order[select_with_deap(function, table[order], count, rng, **arguments)]


def select_in_rounds(
    function: DeapSelector,
    fitness: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
    **arguments: object,
) -> NDArray[np.int64]:
    """Return the positions [count] by a DEAP selector that takes everyone at most once.

    Nobody is chosen twice before everybody was chosen once: whole rounds take everyone, the selector chooses the rest.

    Raises:
        ValueError: as in `select_with_deap`, or `count` is negative.
    """
    check_count(count)
    everyone = np.arange(len(check_fitness(fitness)))
    rounds, rest = divmod(count, len(everyone))
    chosen = select_objectives(function, fitness, rest, rng, **arguments) if rest else everyone[:0]
    return np.concatenate([chosen, np.tile(everyone, rounds)])
