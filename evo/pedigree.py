"""What descent says of a population: how long ago all were one, and how many founders are still heard.

Owns measures of a graph of births in which a genome has no, one or two parents. Does not own the graph (evo/lineage.py)
or the line of one genome (evo/report/ancestry.py). All rely on this: ids are counted, so that a parent's is lower than
its child's. To add a measure, write a function from births and the ids of the living.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Collection, Mapping

from evo.lineage import Birth


def common_ancestor(births: Mapping[int, Birth], living: Collection[int]) -> int | None:
    """Return the latest genome from which all of `living` descend, by any parents; None if there is none.

    With two parents there is no single tree, and what counts is a path through either parent (Chang 1999,
    https://doi.org/10.1239/aap/1029955256). A genome is its own ancestor, so that a member from which all others
    descend is the one. The walk goes back from the youngest and ends at the answer: it sees no older genome.

    Raises:
        KeyError: one of the living, or an ancestor, is not in `births`.
    """
    reached = defaultdict(int, {id_: 1 << bit for bit, id_ in enumerate(living)})  # id -> who descends from it
    everyone = (1 << len(reached)) - 1
    waiting = [-id_ for id_ in reached]
    heapq.heapify(waiting)
    while waiting:
        id_ = -heapq.heappop(waiting)
        if reached[id_] == everyone:
            return id_
        for parent in births[id_].parents:
            if parent not in reached:
                heapq.heappush(waiting, -parent)
            reached[parent] |= reached[id_]
    return None


def common_ancestor_depth(births: Mapping[int, Birth], living: Collection[int], generation: int) -> float:
    """Return how many generations before `generation` the `common_ancestor` of `living` was born; NaN without one."""
    ancestor = common_ancestor(births, living)
    return math.nan if ancestor is None else float(generation - births[ancestor].time)


def founder_shares(births: Mapping[int, Birth], living: Collection[int]) -> dict[int, float]:
    """Return founder -> the share of the genes of `living` expected to be its own; all shares add up to 1.

    Each of the living counts the same, and halves what it has between two parents, as in pedigrees (Lacy 1989,
    https://doi.org/10.1002/zoo.1430080203); a lone parent hands on everything. Founders that nobody living descends
    from are left out.

    Raises:
        KeyError: one of the living, or an ancestor, is not in `births`.
    """
    shares: dict[int, float] = defaultdict(float, {id_: 1.0 / len(living) for id_ in living})
    waiting = [-id_ for id_ in shares]
    heapq.heapify(waiting)
    founders: dict[int, float] = {}
    while waiting:
        id_ = -heapq.heappop(waiting)
        parents, share = births[id_].parents, shares[id_]
        if not parents:
            founders[id_] = share
        for parent in parents:
            if parent not in shares:
                heapq.heappush(waiting, -parent)
            shares[parent] += share / len(parents)
    return founders


def effective_founders(births: Mapping[int, Birth], living: Collection[int]) -> float:
    """Return how many founders of equal share would be as diverse: `1 / sum(share^2)`; 0 if nobody lives.

    These are the founder equivalents of Lacy 1989 (https://doi.org/10.1002/zoo.1430080203): as many as there are
    founders if all have the same share, and 1 if all descend from one alone.
    """
    squared = sum(share**2 for share in founder_shares(births, living).values())
    return 1.0 / squared if squared else 0.0
