"""Optimisers' moments follow one parent, end where two meet, and are forgotten with the last who could use them."""

from dataclasses import replace

from evo.genome import Genome
from evo.lineage import Birth
from evo.memory import Memory
from finetune.moments import Moments
from tests.evo.samples import GRAMMAR, genome, random_adapter


def born(id_: int, *parents: int) -> Genome:
    return replace(genome(id_), parents=parents)


TUNED, OTHER = (Moments(first=random_adapter(i), second=random_adapter(i), steps=i) for i in (1, 2))
FAMILY = [born(0), born(1, 0), born(2, 1), born(3, 2), born(4, 2, 3), born(5, 4), born(6, 3)]
"""1 and 6 were tuned; 2 and 3 descend from 1 alone, 4 has two parents."""


def test_moments_are_ones_own_or_an_only_parents() -> None:
    births = {one.id: Birth.of(one, GRAMMAR, 0) for one in FAMILY[:6]}  # 6 is not born yet, only tuned
    memory = Memory(births, {1: TUNED, 6: OTHER})
    expected = [None, TUNED, TUNED, TUNED, None, None, OTHER]
    assert [memory.of(one) for one in FAMILY] == expected
    memory.prune([FAMILY[3], FAMILY[4]])
    assert memory.moments == {1: TUNED}
    memory.prune([FAMILY[0], FAMILY[5]])
    assert not memory.moments
    assert memory.of(FAMILY[2]) is None
