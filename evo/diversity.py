"""How different the members of a population are, strategy by strategy and adapter by adapter.

Owns population-level distances; 0 means that all are the same. To add a measure, write a function from genomes to one
number and name it in the loop's record.
"""

from collections.abc import Sequence

import numpy as np
import torch

from evo.genome import Genome
from fitness.adapter import AdapterStack

_COMPARED = 256
"""Adapters that are compared with each other, at most: time and memory grow with the square."""


def strategy_diversity(genomes: Sequence[Genome]) -> float:
    """Return the mean over pairs of the fraction of slots in which they differ, 0 to 1; 0 below two genomes.

    Counts clauses per slot instead of comparing pairs: a slot whose clauses occur c times each has `(n^2 - sum c^2) /
    2` differing pairs.
    """
    count = len(genomes)
    if count < 2:
        return 0.0
    slots = np.array([genome.genes for genome in genomes], dtype=object).T
    same = sum(int((np.unique(slot.astype(str), return_counts=True)[1] ** 2).sum()) for slot in slots)
    return (count**2 - same / len(slots)) / (count * (count - 1))


def adapter_diversity(genomes: Sequence[Genome]) -> float:
    """Return the mean over pairs of the Frobenius distance between their delta W; 0 below two genomes.

    All modules count as one long vector. Inner products come from the factors, `<B1 A1, B2 A2> = sum((B1^T B2) * (A1
    A2^T))`, so no delta W is formed: P genomes cost two Gram matrices of (P r)^2 per module. Of a large population,
    `_COMPARED` evenly spaced members stand for all.
    """
    count = min(len(genomes), _COMPARED)
    if count < 2:
        return 0.0
    stack = AdapterStack.of([genomes[i * len(genomes) // count].adapter for i in range(count)])
    rank = stack.spec.rank
    scaling = stack.scaling().double()
    inner = torch.zeros(count, count, dtype=torch.float64)
    for name in stack.spec.modules:
        down = stack.a[name].double().flatten(0, 1)
        up = (stack.b[name] * scaling).mT.flatten(0, 1)
        inner += ((up @ up.mT) * (down @ down.mT)).reshape(count, rank, count, rank).sum(dim=(1, 3))
    norms = inner.diagonal()
    squared = (norms[:, None] + norms[None, :] - 2.0 * inner).clamp_min(0.0)
    squared.fill_diagonal_(0.0)
    return float(squared.sqrt().sum() / (count * (count - 1)))
