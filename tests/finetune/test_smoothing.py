"""Advantages shared between decisions that read alike, against hand-worked regressions."""

import numpy as np
import pytest

from finetune.smoothing import Smoothing, phrase_features, smooth
from fitness.errors import ConfigError
from tests.finetune.lives import EAT, REST, Life, record


def test_the_phrases_of_a_text_are_its_runs_of_words() -> None:
    features = phrase_features(["red here", "gold here"], Smoothing(words=2)).toarray()
    # constant, red, here, red here, gold, gold here: the most frequent first
    assert features.shape == (2, 6)
    assert features[:, :2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert features.sum(axis=1).tolist() == [4.0, 4.0]
    assert (features[0, 2:] + features[1, 2:]).tolist() == [1.0] * 4


def test_only_the_most_frequent_phrases_are_features() -> None:
    features = phrase_features(["a b", "a c", "a b"], Smoothing(words=1, phrases=2)).toarray()
    assert features.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]


def test_one_constant_and_one_word_shrink_the_mean_by_the_ridge() -> None:
    # Four equal columns over n rows, two shared and two of the action: each carries sum / (4 * n + ridge).
    lived = record([Life(1, 1, ["red"] * 4, [EAT] * 4, [[0.5]] * 4)])
    expected = smooth(lived, np.array([-1.0, -3.0, -2.0, -2.0]), Smoothing(ridge=8.0, shared=1.0))
    np.testing.assert_allclose(expected, [2 * -8 / (4 * 4 + 8.0)] * 4, rtol=1e-3)


def test_what_is_told_is_the_difference_between_actions() -> None:
    lived = record([Life(1, 1, ["red"] * 6, [EAT, REST] * 3, [[0.5]] * 6)])
    expected = smooth(lived, np.array([-4.0, 0.0] * 3), Smoothing(ridge=1e-4))
    np.testing.assert_allclose(expected, [-2.0, 2.0] * 3, atol=0.05)


def test_a_hard_night_is_blamed_on_no_action() -> None:
    texts = ["night red", "night gold", "day red", "day gold"] * 100
    actions = [EAT, EAT, EAT, EAT, REST, REST, REST, REST] * 50
    worth = np.array([-5.0, -3.0, -2.0, 0.0, -3.0, -3.0, 0.0, 0.0] * 50)
    expected = smooth(record([Life(1, 1, texts, actions, [[0.5]] * 400)]), worth, Smoothing(ridge=0.1))
    np.testing.assert_allclose(expected, [-1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0, 0.0] * 50, atol=0.05)


def test_luck_averages_out_and_words_that_matter_stay() -> None:
    rng = np.random.default_rng(0)
    texts = [f"{season} {colour}" for season in ("spring", "autumn") for colour in ("red here", "gold here")] * 1000
    ate = rng.random(len(texts)) < 0.8
    truth = np.where(ate, [-1.0 if "red here" in text else 0.5 for text in texts], 0.0)
    lived = record([Life(1, 1, texts, np.where(ate, EAT, REST).tolist(), [[0.5]] * len(texts))])
    expected = smooth(lived, truth + rng.normal(0, 1.5, len(texts)), Smoothing())
    for text, gain in (("red here", -1.0), ("gold here", 0.5)):
        there = np.array([text in told for told in texts])
        assert expected[there & ate].mean() - expected[there & ~ate].mean() == pytest.approx(gain, abs=0.2)


def test_what_takes_two_words_together_is_found() -> None:
    texts = ["autumn blue", "autumn gold", "spring blue", "spring gold"] * 100
    actions = [EAT] * 4 + [REST] * 4
    worth = np.array([-1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 50)
    lived = record([Life(1, 1, texts, actions * 50, [[0.5]] * 400)])
    expected = smooth(lived, worth, Smoothing(ridge=0.01))
    np.testing.assert_allclose(expected[:4] - expected[4:8], worth[:4], atol=0.05)
    blunt = smooth(lived, worth, Smoothing(words=1, ridge=0.01))
    assert np.abs(blunt[:4] - blunt[4:8] - worth[:4]).max() > 0.3


def test_where_only_one_thing_was_done_nothing_is_said_of_it() -> None:
    lived = record([Life(1, 1, ["den"] * 50, [REST] * 50, [[0.5]] * 50)])
    np.testing.assert_allclose(smooth(lived, np.full(50, -3.0), Smoothing()), 0.0, atol=0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": 0}, "smoothing.words: expected an integer of at least 1, got 0"),
        ({"phrases": 1.5}, r"smoothing.phrases: expected an integer of at least 1, got 1\.5"),
        ({"ridge": 0.0}, r"smoothing.ridge: expected a number above 0, got 0\.0"),
        ({"shared": -1.0}, r"smoothing.shared: expected a number above 0, got -1\.0"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Smoothing(**fields)  # type: ignore[arg-type]
