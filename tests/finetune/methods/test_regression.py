"""Advantage-weighted regression: which weights follow from which advantages."""

import numpy as np
import pytest
import torch

from finetune.baselines import advantages
from finetune.losses import effective_share
from finetune.methods.base import Lesson
from finetune.methods.regression import AdvantageRegression
from finetune.values import Horizon
from fitness.errors import ConfigError
from tests.finetune.lives import EAT, RED, REST, poison_world
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS

LIVED = poison_world([1, 2, 3, 4, 5])
BASELINES = ("value", "step", "others")


def lesson(**knobs: str | float) -> Lesson:
    how = AdvantageRegression(**({"decisions": 5000} | knobs))
    return how.prepare(people(1, 2), LIVED, PROMPTS, np.random.default_rng(0))


@pytest.mark.parametrize("baseline", BASELINES)
def test_everything_that_is_lived_is_weighed_by_its_advantage(baseline: str) -> None:
    batch = lesson(baseline=baseline).batch
    expected, _ = advantages(LIVED, baseline, Horizon())
    assert batch.taken.shape == (2, len(LIVED))
    np.testing.assert_allclose(np.sort(batch.advantage[0]), np.sort(expected / expected.std()), rtol=1e-5, atol=1e-6)
    order = batch.advantage[0].argsort()
    assert bool((batch.weight[0][order].diff() >= 0).all())


@pytest.mark.parametrize("baseline", BASELINES)
def test_poison_weighs_less_than_rest(baseline: str) -> None:
    batch = lesson(baseline=baseline).batch
    red = torch.from_numpy(batch.lengths.numpy() == len(RED))
    eaten, left = (batch.weight[red & (batch.taken == action)].mean() for action in (EAT, REST))
    assert float(left) > float(eaten)


def test_without_preference_it_is_supervised_fine_tuning() -> None:
    made = lesson(beta=1e9)
    torch.testing.assert_close(made.batch.weight, torch.ones_like(made.batch.weight))
    now = torch.randn(*made.batch.taken.shape, len(ACTIONS), generator=torch.Generator().manual_seed(0))
    taken = now.log_softmax(dim=-1).gather(2, made.batch.taken[..., None]).squeeze(2)
    torch.testing.assert_close(made.loss(now.log_softmax(dim=-1), now, made.batch), -taken)


def test_enough_decisions_count() -> None:
    cold, warm = (lesson(beta=0.3, least_share=least) for least in (0.0, 0.9))
    assert float(cold.effective_share.max()) < 0.8
    assert bool(((warm.effective_share >= 0.9) & (warm.effective_share < 0.97)).all())
    torch.testing.assert_close(warm.effective_share, effective_share(warm.batch.weight))


def test_binary_weights_are_what_was_better_than_expected() -> None:
    batch = lesson(weighting="crr_binary").batch
    assert torch.equal(batch.weight, (batch.advantage > 0).float())


def test_capped_exponentials_by_their_formula() -> None:
    batch = lesson(weighting="crr_exponential", beta=0.5, cap=3.0).batch
    torch.testing.assert_close(batch.weight, (batch.advantage / 0.5).exp().clamp(max=3.0))
    assert float(batch.weight.max()) == 3.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weighting": "crr"}, "weighting: expected one of awr, crr_exponential, crr_binary, got 'crr'"),
        ({"baseline": "other"}, r"baseline: expected one of value, step, others, got 'other' \(did you mean 'others'"),
        ({"beta": 0.0}, r"beta: expected a number above 0, got 0\.0"),
        ({"cap": 1.0}, r"cap: expected a number above 1, got 1\.0"),
        ({"least_share": 1.0}, r"least_share: expected a number of at least 0 and below 1, got 1\.0"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        AdvantageRegression(**fields)
