"""What is known of every member: its running mean, and the shrunken score that decides survival.

Owns `Standing`, which any algorithm that re-tests its incumbents can use. Does not own who is a member.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.genome import Evaluation
from evo.operators.selection.base import Pool
from evo.operators.selection.best import best


class Standing:
    """Running means of the members, each drawn to a prior by how little is known of it.

    The score is `(n * mean + k * prior) / (n + k)`: n is the member's number of episodes, k the weight of the prior,
    and the prior is the mean of all members' means. The best of many noisy means is lucky; shrinking each (James and
    Stein 1961; Efron and Morris 1975, https://doi.org/10.1080/01621459.1975.10479864) keeps a lucky newcomer from
    displacing a member that was tested often. A member that took another's place has that one's score as its prior
    instead.
    """

    def __init__(self) -> None:
        """Start with nobody."""
        self.evaluations: dict[int, Evaluation] = {}
        self.scores: dict[int, float] = {}
        self._priors: dict[int, float] = {}
        self._cases: dict[int, list[float]] = {}  # of the last generation, by world
        self._children: dict[int, int] = {}

    def admit(self, ids: Iterable[int]) -> None:
        """Keep the records of `ids` only, with empty ones for newcomers."""
        self.evaluations = {id_: self.evaluations.get(id_, Evaluation()) for id_ in ids}
        self._priors = {id_: prior for id_, prior in self._priors.items() if id_ in self.evaluations}
        self._children = {id_: self._children.get(id_, 0) for id_ in self.evaluations}

    def merge(self, lifespans: Mapping[int, NDArray[np.float64]]) -> None:
        """Add a generation's episodes of those who lived it; NaN is one that failed, of which nothing is known."""
        self.evaluations = {
            id_: known.merge(lifespans[id_][~np.isnan(lifespans[id_])]) if id_ in lifespans else known
            for id_, known in self.evaluations.items()
        }
        self._cases = dict(zip(lifespans, _without_gaps(list(lifespans.values())).tolist(), strict=True))

    def score(self, weight: float, apart: Collection[int] = ()) -> None:
        """Set every score anew; the prior counts as `weight` episodes, and those in `apart` have no part in it."""
        tested = [known.mean for id_, known in self.evaluations.items() if known.count and id_ not in apart]
        common = sum(tested) / len(tested) if tested else 0.0
        self.scores = {
            id_: _shrink(known, self._priors.get(id_, common), weight) for id_, known in self.evaluations.items()
        }

    def succeed(self, child: int, parent: int) -> None:
        """Give `child` the score of `parent`, whose place it takes, as its prior."""
        self._priors[child] = self.scores[parent]

    def bear(self, couples: Iterable[Iterable[int]]) -> None:
        """Count one more child for every parent in `couples`."""
        for couple in couples:
            for parent in couple:
                self._children[parent] += 1

    def pool(self, ids: Sequence[int]) -> Pool:
        """Return what selection may know of `ids`: scores, the worlds of the last generation, children."""
        return Pool(
            scores=np.array([self.scores[id_] for id_ in ids]),
            cases=np.array([self._cases[id_] for id_ in ids]),
            children=np.array([self._children[id_] for id_ in ids], np.int64),
        )

    def rank(self, ids: Iterable[int], count: int) -> list[int]:
        """Return the best `count` of those of `ids` that were tested, best first.

        Ties: more episodes first, then the lower id.
        """
        tested = [id_ for id_ in ids if self.evaluations[id_].count]
        if not tested:
            return []
        rows = np.array([(self.scores[id_], self.evaluations[id_].count, -id_) for id_ in tested])
        return [tested[position] for position in best(rows, min(count, len(tested)))]

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "evaluations": [
                [id_, known.mean, known.count, known.standard_error if known.count > 1 else None]
                for id_, known in self.evaluations.items()
            ],
            "scores": list(map(list, self.scores.items())),
            "priors": list(map(list, self._priors.items())),
            "cases": list(map(list, self._cases.items())),
            "children": list(map(list, self._children.items())),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` describes."""
        self.evaluations = {
            id_: Evaluation(mean, count) if error is None else Evaluation(mean, count, error)
            for id_, mean, count, error in state["evaluations"]
        }
        self.scores = dict(map(tuple, state["scores"]))
        self._priors = dict(map(tuple, state["priors"]))
        self._cases = dict(map(tuple, state["cases"]))
        self._children = dict(map(tuple, state["children"]))


def _without_gaps(lived: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return lifespans [n, m]; where nothing was lived, what is to be expected: the member's mean and the world's.

    A member that lived in no world at all is expected to live as the others: nothing is known against it.
    """
    table = np.full((len(lived), max(map(len, lived))), np.nan)
    for row, values in zip(table, lived, strict=True):
        row[: len(values)] = values
    there = ~np.isnan(table)
    if there.all() or not there.any():
        return np.where(there, table, 0.0)
    seen, level = np.where(there, table, 0.0), table[there].mean()
    world = np.where(there.any(axis=0), seen.sum(axis=0) / np.maximum(there.sum(axis=0), 1), level) - level
    own = np.where(there, table - world, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    own = np.where(there.any(axis=1), own, level)
    return np.where(there, table, own[:, None] + world)


def _shrink(known: Evaluation, prior: float, weight: float) -> float:
    """Return the mean drawn to `prior`, which counts as `weight` episodes."""
    total = known.count + weight
    return (known.count * known.mean + weight * prior) / total if total else prior
