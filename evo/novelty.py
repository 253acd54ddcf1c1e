"""Which genomes are worth an episode: those that no genome tested before is an exact copy of.

Owns the identity of a phenotype (strategy text and adapter, byte for byte) and the gate in front of evaluation. Step
sizes and parents are not seen by the world and do not count. Does not own who keeps what is known; after an
interruption it can be made again from the births (`known_of`). A gate for near copies would go here, beside `sift`.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evo.genome import Genome
from evo.lineage import Birth
from fitness.environments.grammar import Grammar


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """Genomes told apart by whether a copy of them is known.

    Example: of genomes 7, 8 and 9, where 8 is a copy of 3 and 9 a copy of 7, `new` has 7, and `twins` is `{8: 3, 9: 7}`
    """

    new: tuple[Genome, ...]
    """To be tested, in the order given."""
    twins: Mapping[int, int]
    """Id of each other genome -> the genome that it is a copy of, tested before or among `new`; it may be itself."""
    known: Mapping[str, int]
    """Fingerprint -> the first genome that had it, with `new` in it."""


def fingerprint(strategy: str, adapter: str) -> str:
    """Return what is equal for equal phenotypes.

    Args:
        strategy: text.
        adapter: digest of the adapter (`Adapter.digest`).
    """
    return hashlib.sha256(f"{adapter}\0{strategy}".encode()).hexdigest()


def known_of(births: Iterable[Birth]) -> dict[str, int]:
    """Return fingerprint -> the first genome that had it."""
    known: dict[str, int] = {}
    for birth in births:
        known.setdefault(fingerprint(birth.strategy, birth.adapter), birth.id)
    return known


def sift(genomes: Sequence[Genome], known: Mapping[str, int], grammar: Grammar, again: Collection[int] = ()) -> Sifted:
    """Tell new genomes from copies of what is known, or of an earlier one of the same sequence.

    Args:
        genomes: candidates.
        known: fingerprint -> id of all genomes tested so far; it is not changed.
        grammar: what strategies are made of.
        again: ids to be tested although they are known, such as incumbents.
    """
    seen, new, twins = dict(known), [], {}
    for genome in genomes:
        mark = fingerprint(grammar.render(genome.genes), genome.adapter.digest())
        if mark not in seen or genome.id in again:
            new.append(genome)
        else:
            twins[genome.id] = seen[mark]
        seen.setdefault(mark, genome.id)
    return Sifted(new=tuple(new), twins=twins, known=seen)
