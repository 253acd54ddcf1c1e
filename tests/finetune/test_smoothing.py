"""Advantages shared between decisions that read alike, against hand-worked regressions."""

import numpy as np
import pytest

from finetune.smoothing import Smoothing, phrase_features, smooth
from fitness.errors import ConfigError
from tests.finetune.lives import EAT, REST, Life, record


def test_the_phrases_of_a_text_are_its_runs_of_words() -> None:
    features = phrase_features(["red here", "gold here"], Smoothing(words=2))
    # constant, red, here, red here, gold, gold here: the most frequent first
    assert features.shape == (2, 6)
    assert features[:, :2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert features.sum(axis=1).tolist() == [4.0, 4.0]
    assert (features[0, 2:] + features[1, 2:]).tolist() == [1.0] * 4


def test_only_the_most_frequent_phrases_are_features() -> None:
    features = phrase_features(["a b", "a c", "a b"], Smoothing(words=1, phrases=2))
    assert features.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]


def test_one_constant_and_one_word_shrink_the_mean_by_the_ridge() -> None:
    # Two equal columns of ones over n rows: the prediction is 2 * sum / (2 * n + ridge).
    lived = record([Life(1, 1, ["red"] * 4, [EAT] * 4, [[0.5]] * 4)])
    expected = smooth(lived, np.array([-1.0, -3.0, -2.0, -2.0]), Smoothing(ridge=8.0))
    np.testing.assert_allclose(expected, [2 * -8 / (2 * 4 + 8.0)] * 4)


def test_actions_do_not_share() -> None:
    lived = record([Life(1, 1, ["red"] * 6, [EAT, REST] * 3, [[0.5]] * 6)])
    expected = smooth(lived, np.array([-4.0, 0.0] * 3), Smoothing(ridge=1e-6))
    np.testing.assert_allclose(expected, [-4.0, 0.0] * 3, atol=1e-5)


def test_luck_averages_out_and_words_that_matter_stay() -> None:
    rng = np.random.default_rng(0)
    texts = [f"{season} {colour} here" for season, colour in rng.choice(["spring", "autumn"], (4000, 2)).tolist()]
    texts = [text if i % 2 else text.replace("autumn here", "red here") for i, text in enumerate(texts)]
    truth = np.array([-1.0 if "red here" in text else 0.5 for text in texts])
    lived = record([Life(1, 1, texts, [EAT] * len(texts), [[0.5]] * len(texts))])
    expected = smooth(lived, truth + rng.normal(0, 3.0, len(texts)), Smoothing())
    assert np.abs(expected - truth).mean() < 0.2


def test_what_takes_two_words_together_is_found() -> None:
    pairs = [("autumn", "blue"), ("autumn", "gold"), ("spring", "blue"), ("spring", "gold")]
    texts = [f"{season} {colour}" for season, colour in pairs] * 100
    truth = np.array([-1.0, 1.0, 1.0, 1.0] * 100)
    lived = record([Life(1, 1, texts, [EAT] * 400, [[0.5]] * 400)])
    np.testing.assert_allclose(smooth(lived, truth, Smoothing(ridge=0.01)), truth, atol=0.01)
    blunt = smooth(lived, truth, Smoothing(words=1, ridge=0.01))
    assert np.abs(blunt - truth).max() > 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": 0}, "smoothing.words: expected an integer of at least 1, got 0"),
        ({"phrases": 1.5}, r"smoothing.phrases: expected an integer of at least 1, got 1\.5"),
        ({"ridge": 0.0}, r"smoothing.ridge: expected a number above 0, got 0\.0"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Smoothing(**fields)  # type: ignore[arg-type]
