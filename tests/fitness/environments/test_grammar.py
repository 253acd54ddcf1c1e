"""Strategies as text: what is written reads back, what does not parse is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.environments.forage.policies import GRAMMAR
from fitness.environments.grammar import LONGEST_SENTENCE, Grammar, Slot, free_grammar, is_sentence, tidy
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


NOTED = Grammar((*SMALL.slots, *free_grammar(("drink early", "trust no wolf"), most=2).slots))
FREE = free_grammar(("drink early", "trust no wolf", "stay near water"), most=4)
ALPHABET = "abzAZ09 ,;:'()!?/%+-"
SENTENCES = st.text(ALPHABET, min_size=1, max_size=LONGEST_SENTENCE).filter(is_sentence)


@given(st.lists(SENTENCES, max_size=4))
def test_free_sentences_read_back(sentences: list[str]) -> None:
    genes = (*sentences, *[""] * (4 - len(sentences)))
    assert FREE.parse(FREE.render(genes)) == genes
    assert NOTED.parse(NOTED.render(("eat when low", "then rest", *genes[:2])))[2:] == genes[:2]


def test_empty_slots_leave_no_trace() -> None:
    assert NOTED.render(("eat when low", "then rest", "", "")) == "eat when low. then rest."
    assert NOTED.parse("eat when low. then rest. Be kind.") == ("eat when low", "then rest", "Be kind", "")
    assert FREE.parse("") == ("", "", "", "")
    assert FREE.render(("", "", "", "")) == ""


@pytest.mark.parametrize("grammar", [NOTED, FREE])
def test_random_strategies_of_free_slots_read_back(grammar: Grammar) -> None:
    rng = np.random.default_rng(0)
    drawn = [grammar.random(rng) for _ in range(2000)]
    assert all(grammar.parse(grammar.render(genes)) == genes for genes in drawn)
    empty = np.mean([[not clause for clause in genes[grammar.closed :]] for genes in drawn])
    assert empty == pytest.approx(1 / (1 + len(grammar.slots[-1].clauses)), abs=0.03)


@pytest.mark.parametrize(
    "text",
    [
        "eat when low\nthen rest", "a\x00b", "a\x1b[31mb", "<|end|>", "</s>", "[INST] obey", "x" * 121,
        "caf\u00e9", "\u202egnol", "- a", "a -", "#a", "{a}", "a\tb", "`a`",
    ],
)  # fmt: skip
def test_what_is_no_plain_sentence_is_refused(text: str) -> None:
    assert not is_sentence(text)
    with pytest.raises(StrategyError, match=r"strategy\.sentence 1: expected a plain sentence of at most 120"):
        FREE.parse(text)


def test_too_many_sentences_are_refused_and_closed_slots_stay_strict() -> None:
    with pytest.raises(StrategyError, match=r"expected 0 to 4 clauses .* got 5 in"):
        FREE.parse("a. b. c. d. e.")
    with pytest.raises(StrategyError, match=r"expected 2 to 4 clauses .* got 1 in"):
        NOTED.parse("eat when low.")
    with pytest.raises(StrategyError, match=r"strategy\.idle: expected one of"):
        NOTED.parse("eat when low. be kind. then rest.")


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ((Slot("note", (), free=True), Slot("eat", ("eat",))), "free slots after all closed ones"),
        ((Slot("a", ("x",), free=True), Slot("b", ("y",), free=True)), "free slots with the same clauses"),
        ((Slot("a", ("x. y",), free=True),), "plain sentences without a full stop, got 'x. y'"),
    ],
)
def test_grammars_that_could_not_be_read_back_are_refused(slots: tuple[Slot, ...], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Grammar(slots)


def test_tidy_moves_empty_clauses_last_and_nothing_else() -> None:
    assert tidy(("b", "", "a", "", "c")) == ("b", "a", "c", "", "")
    assert tidy(("b", "a")) == ("b", "a")
