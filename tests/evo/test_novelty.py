"""The gate: exact copies are found, whoever their parents are; nothing else is held back."""

from dataclasses import replace

import pytest

from evo.genome import StepSizes
from evo.lineage import Birth
from evo.novelty import fingerprint, known_of, sift
from tests.evo.samples import GRAMMAR, genome, random_adapter

OLD = [genome(id_, adapter=random_adapter(id_)) for id_ in range(3)]
KNOWN = known_of(Birth.of(one, GRAMMAR, 0) for one in OLD)


def test_copies_of_the_known_and_of_each_other_are_told_apart() -> None:
    copy = replace(OLD[1], id=8, parents=(0,), operator="mutation", step_sizes=StepSizes(strategy=0.9, adapter=3.0))
    fresh = genome(9, adapter=random_adapter(9))
    sifted = sift([copy, fresh, replace(fresh, id=10)], KNOWN, GRAMMAR)
    assert [one.id for one in sifted.new] == [9]
    assert sifted.twins == {8: 1, 10: 9}
    assert set(sifted.known.values()) == {0, 1, 2, 9}
    assert set(KNOWN.values()) == {0, 1, 2}


@pytest.mark.parametrize("changed", ["genes", "adapter"])
def test_a_change_in_text_or_in_weights_is_new(changed: str) -> None:
    other = {"genes": OLD[2].genes, "adapter": random_adapter(7)}[changed]
    child = replace(OLD[1], id=8, **{changed: other})
    assert sift([child], KNOWN, GRAMMAR).new == (child,)


def test_an_incumbent_is_tested_again_only_if_asked() -> None:
    assert sift(OLD, KNOWN, GRAMMAR).twins == {0: 0, 1: 1, 2: 2}
    sifted = sift(OLD, KNOWN, GRAMMAR, again={0, 2})
    assert ([one.id for one in sifted.new], sifted.twins) == ([0, 2], {1: 1})
    assert sifted.known == KNOWN


def test_the_first_that_had_a_phenotype_is_the_known_one() -> None:
    assert known_of([Birth.of(OLD[0], GRAMMAR, 0), Birth.of(replace(OLD[0], id=5), GRAMMAR, 1)]) == {
        fingerprint(GRAMMAR.render(OLD[0].genes), OLD[0].adapter.digest()): 0
    }


def test_text_and_adapter_do_not_run_into_each_other() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
