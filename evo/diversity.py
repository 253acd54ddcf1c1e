"""How different the members of a population are: in what they say, in what they weigh, and in what they do.

Owns population-level distances, each the mean over pairs; 0 means that all are the same. Does not own what descent says
(evo/pedigree.py). To add a measure, write a function to one number and name it in the loop's record.
"""

import itertools
import re
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evo.genome import Genome
from fitness.adapter import AdapterStack

_COMPARED = 256
"""Members that are compared with each other, at most: time and memory grow with the square."""
_COMPARED_TEXTS = 64
"""The same for texts, where a pair takes longer."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


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
    stack = AdapterStack.of([genomes[i].adapter for i in _spaced(len(genomes), _COMPARED)])
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


def text_diversity(texts: Sequence[str]) -> float:
    """Return the mean over pairs of the edit distance in tokens by the longer text's length, 0 to 1; 0 below two texts.

    For strategies in free text, where there are no slots. Tokens are words and single marks. Of a large population,
    `_COMPARED_TEXTS` evenly spaced members stand for all.
    """
    tokens = [_TOKEN.findall(texts[i]) for i in _spaced(len(texts), _COMPARED_TEXTS)]
    apart = [
        edit_distance(one, other) / max(len(one), len(other), 1) for one, other in itertools.combinations(tokens, 2)
    ]
    return sum(apart) / len(apart) if apart else 0.0


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return how many insertions, deletions and replacements make `other` of `one` (Levenshtein 1966).

    A column of the table is two numbers, whose bits say where it rises and where it falls (Myers 1999,
    https://doi.org/10.1145/316542.316550, with Hyyro's 2003 form of the distance between whole sequences).
    """
    if not one:
        return len(other)
    places: dict[Hashable, int] = {}
    for position, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << position
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = full, 0, len(one)
    for token in other:
        equal = places.get(token, 0)
        level = (((equal & rises) + rises) ^ rises) | equal | falls
        right_rises, right_falls = falls | ~(level | rises) & full, rises & level
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = right_rises << 1 | 1
        rises = (right_falls << 1 | ~(level | right_rises)) & full
        falls = right_rises & level & full
    return distance


def behaviour_diversity(log_probabilities: NDArray[np.floating]) -> float:
    """Return the mean over pairs, and over probes, of the Jensen-Shannon divergence of what members would do, in bits.

    0 if all act alike, 1 if no two ever choose the same (Lin 1991, https://doi.org/10.1109/18.61115). Unlike the
    Kullback-Leibler divergence it is symmetric, and finite where one never does what another does. Of a large
    population, `_COMPARED` evenly spaced members stand for all.

    Args:
        log_probabilities: [P, probes, A] natural logarithms of each member's probability of each action on observations
            that are the same for all; minus infinity for never.

    Raises:
        ValueError: not three-dimensional, or probabilities that do not add up to 1.
    """
    chances = np.exp(np.asarray(log_probabilities, np.float64))
    if chances.ndim != 3 or not np.allclose(chances.sum(axis=-1), 1.0, atol=1e-3):
        raise ValueError(
            f"log_probabilities: expected distributions of shape [members, probes, actions], got shape {chances.shape}"
        )
    chances = chances[_spaced(len(chances), _COMPARED)]
    count, probes = chances.shape[:2]
    if count < 2 or not probes:
        return 0.0
    own = _entropy(chances)
    mixed = sum(_entropy((chances[i] + chances[i + 1 :]) / 2).sum() for i in range(count - 1))
    pairs = count * (count - 1) / 2
    return max(0.0, float((mixed / pairs - own.mean() * probes) / probes))


def _entropy(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of distributions [..., A] in bits."""
    logs = np.log2(chances, out=np.zeros_like(chances), where=chances > 0)
    return np.asarray(-(chances * logs).sum(axis=-1))


def _spaced(count: int, most: int) -> list[int]:
    """Return the positions of at most `most` evenly spaced members."""
    kept = min(count, most)
    return [i * count // kept for i in range(kept)]
