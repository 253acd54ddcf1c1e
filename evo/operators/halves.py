"""A child that takes each half of the genome whole: the strategy of one parent, the adapter of the other.

Owns who gives which half. Does not own how often that happens (`evo.operators.variation`).
"""

from collections.abc import Mapping

import numpy as np

from evo.genome import Genome


def divide(
    first: Genome, second: Genome, known: Mapping[int, Genome], rng: np.random.Generator
) -> tuple[Genome, Genome] | None:
    """Return who gives the genes and who the adapter; None if the parents share a half, so that a copy would come out.

    The rule is that of GEPA's merge (Agrawal et al. 2025, https://arxiv.org/abs/2507.19457), with the halves of a
    genome for the modules of a program: where the parents have a common ancestor, neither is the other's, and only one
    of them has changed a half since, that one gives it. Two who changed one half each so have a child with both
    changes. Where the rule says nothing, or would have one parent give both, chance decides.

    Args:
        first: one parent.
        second: the other.
        known: genomes by id, among which ancestors are looked for; the youngest counts.
        rng: the only source of chance; one draw, always.
    """
    coin = rng.random() < 0.5
    if first.genes == second.genes or first.adapter.digest() == second.adapter.digest():
        return None
    lean = 0
    if (ancestor := _common_ancestor(first, second, known)) is not None:
        genes = [parent.genes != ancestor.genes for parent in (first, second)]
        adapter = [parent.adapter.digest() != ancestor.adapter.digest() for parent in (first, second)]
        lean = (genes[0] - genes[1]) - (adapter[0] - adapter[1])
    return (first, second) if lean > 0 or (lean == 0 and coin) else (second, first)


def _common_ancestor(first: Genome, second: Genome, known: Mapping[int, Genome]) -> Genome | None:
    """Return the youngest of them among `known`; None where there is none, or one parent descends from the other."""
    above, beside = _ancestors(first, known), _ancestors(second, known)
    shared = above & beside & known.keys()
    if not shared or first.id in beside or second.id in above:
        return None
    return known[max(shared)]


def _ancestors(genome: Genome, known: Mapping[int, Genome]) -> set[int]:
    """Return the ids of all ancestors that the known genomes tell of."""
    found: set[int] = set()
    open_ = list(genome.parents)
    while open_:
        one = open_.pop()
        if one not in found:
            found.add(one)
            open_ += known[one].parents if one in known else ()
    return found
