"""Whole lives, found again in the decisions they were made of, and what each was worth beside others in its world.

Owns where a life begins and ends among the transitions, its return, and comparisons between lives. All agents of a
generation live in the same worlds, so that lives of one world are a group in which luck is shared. Does not own what
single decisions are worth (`finetune.values`, `finetune.baselines`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.values import is_last
from fitness.records import Transitions

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lives:
    """L lives, in the order of their decisions.

    Example: life 2 is made of the decisions `first[2]` to `first[2] + steps[2] - 1`.
    """

    agent: Integers
    """[L] who lived."""
    seed: Integers
    """[L] in which world."""
    first: Integers
    """[L] index of the first decision."""
    steps: Integers
    """[L] decisions taken."""
    worth: Floats
    """[L] sum of rewards."""
    of: Integers
    """[m] the life of each decision."""

    def __len__(self) -> int:
        """Return the number of lives L."""
        return len(self.agent)


def lives_of(transitions: Transitions) -> Lives:
    """Return the lives that m decisions, ordered by (agent, seed, step), were taken in."""
    last = is_last(transitions)
    ends = np.flatnonzero(last)
    first = np.append(0, ends + 1)[: len(ends)]
    of: Integers = (np.cumsum(last) - last).astype(np.int64)
    worth: Floats = np.bincount(of, weights=transitions.reward, minlength=len(ends))
    return Lives(transitions.agent[first], transitions.seed[first], first, ends - first + 1, worth, of)


def beside_others(lives: Lives) -> tuple[Floats, Floats]:
    """Return how much more each life was worth than the mean of its world, and that world's standard deviation [L]."""
    _, world, count = np.unique(lives.seed, return_inverse=True, return_counts=True)
    contrast = lives.worth - (np.bincount(world, weights=lives.worth) / count)[world]
    return contrast, np.sqrt(np.bincount(world, weights=contrast**2) / count)[world]


def pairs_of(lives: Lives, margin: float) -> Integers:
    """Return [k, 2] all pairs of lives in the same world: the better one first, by at least `margin`, above 0."""
    pairs = [np.zeros((0, 2), np.int64)]
    for seed in np.unique(lives.seed):
        group = np.flatnonzero(lives.seed == seed)
        better, worse = np.nonzero(lives.worth[group][:, None] - lives.worth[group] >= margin)
        pairs.append(np.stack([group[better], group[worse]], axis=1))
    return np.concatenate(pairs)
