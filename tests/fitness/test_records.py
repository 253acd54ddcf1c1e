"""Structs of arrays refuse rows that do not fit together."""

import numpy as np
import pytest

from fitness.records import Answers, Episodes, Transitions, joined_transitions


def _episodes(rows: int = 2, **changes: object) -> Episodes:
    fields = {
        "agent": np.arange(rows),
        "seed": np.arange(rows),
        "length": np.ones(rows, np.int32),
        "end": np.array(["died"] * rows, object),
        "cause": np.array(["wolf"] * rows, object),
        "error": np.array([""] * rows, object),
    }
    return Episodes(**{**fields, **changes})  # type: ignore[arg-type]


def _transitions(rows: int = 2, **changes: object) -> Transitions:
    fields = {
        "agent": np.arange(rows),
        "seed": np.arange(rows),
        "step": np.zeros(rows, np.int32),
        "observation": np.array(["grass"] * rows, object),
        "action": np.zeros(rows, np.int16),
        "log_probability": np.zeros(rows, np.float32),
        "reward": np.ones(rows, np.float32),
        "vitals": np.ones((rows, 3), np.float32),
        "alive": np.ones(rows, bool),
        "prompt_tokens": np.full(rows, 40, np.int32),
    }
    return Transitions(**{**fields, **changes})  # type: ignore[arg-type]


def test_length_is_the_number_of_rows() -> None:
    assert len(_episodes(0)) == 0
    assert len(_episodes(5)) == 5
    assert len(_transitions(4)) == 4


@pytest.mark.parametrize("field", ["seed", "length", "end", "cause", "error"])
def test_an_episode_field_of_another_length_is_named(field: str) -> None:
    with pytest.raises(ValueError, match=rf"episodes\.{field}: expected 2 rows as in agent, got 3"):
        _episodes(2, **{field: np.array(["died"] * 3, object)})


@pytest.mark.parametrize("field", ["seed", "step", "observation", "action", "log_probability", "reward", "vitals"])
def test_a_transition_field_of_another_length_is_named(field: str) -> None:
    with pytest.raises(ValueError, match=rf"transitions\.{field}: expected 2 rows as in agent, got 1"):
        _transitions(2, **{field: np.ones((1, 3))})


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"episodes\.end: expected one of died, outlived, failed, got 'starved'"):
        _episodes(2, end=np.array(["died", "starved"], object))


def test_vitals_are_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"transitions\.vitals: expected shape \[m, vitals\], got \(2,\)"):
        _transitions(2, vitals=np.ones(2))


def test_answers_have_a_row_for_every_decision_and_follow_it() -> None:
    answers = Answers.of([(1, 2), (3, 4)], [(-0.5, -0.5), (-1.0, -2.0)], [True, False])
    with pytest.raises(ValueError, match=r"transitions\.answers: expected 3 rows as in agent, got 2"):
        _transitions(3, answers=answers)
    parts = [_transitions(2, answers=answers), _transitions(0)]
    joined = joined_transitions(parts, [1, 0])
    assert joined.answers is not None
    assert joined.agent.tolist() == [1, 0]
    assert joined.answers.tokens.tolist() == [(3, 4), (1, 2)]
    assert joined.answers.readable.tolist() == [False, True]
    assert joined_transitions([_transitions(1), _transitions(2)], [0, 1]).answers is None
