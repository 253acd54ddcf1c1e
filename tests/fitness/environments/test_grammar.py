"""Strategies as text: what is written reads back, what does not parse is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.environments.forage.policies import GRAMMAR
from fitness.environments.grammar import Grammar, Slot
from fitness.errors import StrategyError

SMALL = Grammar((Slot("eat", ("eat when low", "eat when fair")), Slot("idle", ("then rest", "then roam"))))


@given(st.tuples(*(st.sampled_from(slot.clauses) for slot in GRAMMAR.slots)))
def test_every_strategy_reads_back(strategy: tuple[str, ...]) -> None:
    assert GRAMMAR.parse(GRAMMAR.render(strategy)) == strategy


def test_a_strategy_by_hand() -> None:
    assert SMALL.render(("eat when low", "then roam")) == "eat when low. then roam."
    assert SMALL.parse("  eat when low.   then roam ") == ("eat when low", "then roam")


def test_random_strategies_use_every_clause_equally() -> None:
    rng = np.random.default_rng(0)
    drawn = [GRAMMAR.random(rng) for _ in range(6000)]
    for position, slot in enumerate(GRAMMAR.slots):
        counts = [sum(strategy[position] == clause for strategy in drawn) for clause in slot.clauses]
        np.testing.assert_allclose(np.array(counts) / 6000, 1 / len(slot.clauses), atol=0.03)


def test_an_unknown_clause_is_named_with_the_nearest() -> None:
    message = (
        r"strategy\.eat: expected one of 'eat when low', 'eat when fair', got 'eat when lou' "
        r"\(did you mean 'eat when low'\?\)"
    )
    with pytest.raises(StrategyError, match=message):
        SMALL.parse("eat when lou. then rest.")


def test_a_clause_in_another_slot_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"strategy\.eat: expected one of .* got 'then rest'"):
        SMALL.parse("then rest. eat when low.")


@pytest.mark.parametrize(
    ("text", "count"), [("", 1), (".", 1), ("eat when low.", 1), ("eat when low. then rest. then roam.", 3)]
)
def test_too_few_or_too_many_clauses_are_refused(text: str, count: int) -> None:
    with pytest.raises(StrategyError, match=rf"expected 2 clauses \(eat, idle\), got {count} in"):
        SMALL.parse(text)


def test_clauses_of_the_wild_differ_in_every_slot() -> None:
    clauses = [clause for slot in GRAMMAR.slots for clause in slot.clauses]
    assert len(set(clauses)) == len(clauses)
    assert np.prod([len(slot.clauses) for slot in GRAMMAR.slots]) == 2304
