"""Who is fine-tuned: the names of the rules, and the rule that looks at behaviours.

Every rule chooses as many as the algorithm's `elites` says, so that runs that differ in it alone train as much:

* "survivors": the best of those who live on.
* "hall_of_fame": the best ever by shrunken mean, who may have left; one that has returns beside its tuned child, so
  that both live the same worlds (Rosin and Belew 1997, https://doi.org/10.1162/evco.1997.5.1.1, for the name).
* "islands": the best of each island, the elites divided among them; of algorithms that have islands.
* "niches": the best of as many niches, of algorithms that remember what their members did.

Does not own when an algorithm trains whom (`Algorithm.elites`), or who fits into a generation.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from evo.genome import Genome, apart

ELITES_OF = ("survivors", "hall_of_fame", "islands", "niches")


class HallOfFame:
    """The best ever, as far as is known by now: who has left keeps the episodes that it lived, and no more."""

    def __init__(self, size: int) -> None:
        """Start with nobody; with a size of 0, nobody is ever let in."""
        self._size = size
        self.members: dict[int, Genome] = {}
        """By id, best first."""

    def remember(
        self,
        tested: Mapping[int, Genome],
        leaving: Collection[int],
        rank: Callable[[Iterable[int], int], list[int]],
    ) -> None:
        """Take the best of those within and those just tested.

        Args:
            tested: genomes of one generation by id.
            leaving: those who gave up their place to a child, or were refused one; they are forgotten here too.
            rank: returns the best of some ids, best first (`Standing.rank`).
        """
        known = {id_: one for id_, one in (self.members | dict(tested)).items() if id_ not in leaving}
        self.members = {id_: apart(known[id_]) for id_ in rank(known, self._size)} if self._size else {}


def best_of_niches(behaviours: NDArray[np.float64], count: int) -> list[int]:
    """Return the positions of the best of `count` niches, best first; fewer where behaviours are alike.

    The best is the first centre; each next centre is who lies farthest from all of them (Gonzalez 1985,
    https://doi.org/10.1016/0304-3975(85)90224-5); everybody belongs to the nearest centre, the first of several. So
    niches are as many as there are elites, whatever cells an archive has.

    Args:
        behaviours: [n, d] what they did, best first.
        count: how many, at least 0.
    """
    if not count or not len(behaviours):
        return []
    home, nearest = np.zeros(len(behaviours), np.int64), _distances(behaviours, 0)
    for niche in range(1, count):
        centre = int(np.argmax(nearest))
        if nearest[centre] == 0:
            break
        distance = _distances(behaviours, centre)
        home[distance < nearest] = niche
        nearest = np.minimum(nearest, distance)
    return sorted(np.unique(home, return_index=True)[1].tolist())


def _distances(behaviours: NDArray[np.float64], centre: int) -> NDArray[np.float64]:
    """Return how far everybody is from one of them, [n]."""
    return np.asarray(np.linalg.norm(behaviours - behaviours[centre], axis=1))
