"""Adapters: one stack in memory, views of it, and mixed ranks by padding."""

from dataclasses import replace

import pytest
import torch

from evo.operators.adapter_crossover import merge
from fitness.adapter import AdapterStack, LoraSpec, initial_adapter
from fitness.errors import AdapterError
from tests.fitness.models import random_adapter

SHAPES = (("up", 6, 5), ("value", 4, 3))
SPEC = LoraSpec(2, 4.0, SHAPES)
MIXED = (LoraSpec(2, 4.0, SHAPES), LoraSpec(5, 5.0, SHAPES), LoraSpec(1, 3.0, SHAPES))
STACK = AdapterStack.of([random_adapter(SPEC, seed) for seed in range(4)])


def test_members_are_views_of_the_stack_and_stack_again_without_a_copy() -> None:
    members = list(STACK)
    assert AdapterStack.of(members) is STACK
    middle = AdapterStack.of(members[1:3])
    for name in SPEC.modules:
        assert members[3].a[name].data_ptr() == STACK.a[name][3].data_ptr()
        assert middle.b[name].data_ptr() == STACK.b[name][1].data_ptr()
    assert [member.digest() for member in middle] == [member.digest() for member in members[1:3]]


@pytest.mark.parametrize("chosen", [[2, 1], [0, 2], [1, 1]])
def test_members_that_are_no_neighbours_are_copied_in_their_order(chosen: list[int]) -> None:
    again = AdapterStack.of([STACK[i] for i in chosen])
    assert [member.digest() for member in again] == [STACK[i].digest() for i in chosen]


def test_a_changed_member_is_no_longer_taken_from_its_stack() -> None:
    members = list(STACK)
    members[1] = replace(members[1], b={name: factor + 1 for name, factor in members[1].b.items()})
    again = AdapterStack.of(members)
    assert again is not STACK
    assert torch.equal(again.b["up"][1], STACK.b["up"][1] + 1)


def test_mixed_ranks_keep_every_members_update_and_come_back_as_they_were() -> None:
    members = [random_adapter(spec, seed) for seed, spec in enumerate(MIXED)]
    stack = AdapterStack.of(members)
    assert stack.a["up"].shape == (3, 5, 6)
    for name in stack.spec.modules:
        for i, member in enumerate(members):
            update = member.spec.scaling * member.b[name] @ member.a[name]
            torch.testing.assert_close(stack.scaling()[i] * stack.b[name][i] @ stack.a[name][i], update)
    for indices in ([0, 1, 2], [2, 0]):
        again = stack.take(indices)
        assert [member.digest() for member in again] == [members[i].digest() for i in indices]
        assert [member.spec for member in again] == [MIXED[i] for i in indices]
    assert [member.digest() for member in stack.part(slice(1, 3))] == [members[1].digest(), members[2].digest()]


def test_members_that_turn_out_to_have_one_rank_lose_their_padding() -> None:
    specs = (MIXED[0], MIXED[0], MIXED[1])
    members = [random_adapter(spec, seed) for seed, spec in enumerate(specs)]
    stack = AdapterStack.of(members)
    for part in (stack.part(slice(0, 2)), stack.take([1, 0]), AdapterStack.of([stack[0], stack[1]])):
        part.check_uniform()
        assert part.spec == MIXED[0]
        assert part.a["up"].shape == (2, 2, 6)
    assert [member.digest() for member in stack.part(slice(0, 2))] == [member.digest() for member in members[:2]]


def test_one_adapter_for_all_is_kept_once() -> None:
    one = random_adapter(SPEC, 0)
    stack = AdapterStack.of([one] * 5)
    assert {factor.untyped_storage().nbytes() for factor in stack.a.values()} == {4 * 2 * 6, 4 * 2 * 4}
    assert [member.digest() for member in stack] == [one.digest()] * 5


def test_one_rank_with_other_scalings_is_kept_apart_too() -> None:
    members = [random_adapter(LoraSpec(2, alpha, SHAPES), 0) for alpha in (2.0, 6.0)]
    assert AdapterStack.of(members).scaling().flatten().tolist() == [1.0, 3.0]
    assert [member.spec.alpha for member in AdapterStack.of(members)] == [2.0, 6.0]


def test_operators_refuse_mixed_ranks() -> None:
    stack = AdapterStack.of([random_adapter(spec, 0) for spec in MIXED])
    with pytest.raises(AdapterError, match=r"expected one rank and alpha, got \(rank, alpha\) \[\(1, 3\.0\), \(2, 4"):
        merge((stack, stack), (0.5, 0.5))


def test_adapters_of_other_modules_do_not_stack() -> None:
    other = initial_adapter(LoraSpec(2, 4.0, SHAPES[:1]), 0)
    with pytest.raises(AdapterError, match=r"adapters\[1\]\.shapes: expected the modules of the first"):
        AdapterStack.of([STACK[0], other])
    with pytest.raises(AdapterError, match="expected at least one to stack"):
        AdapterStack.of([])
