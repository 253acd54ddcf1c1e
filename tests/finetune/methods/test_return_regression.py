"""Return regression: what is aimed at, that features learn it, and that the policy can be held."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.batches import Batch
from finetune.heads import explained_share, fitted, predicted
from finetune.methods.return_regression import ReturnRegression, returns_of
from finetune.policies import Policies
from finetune.trainer import Training, tune
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.errors import ConfigError
from fitness.model import PopulationModel
from tests.finetune.lives import BARE, Life, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS, agents, population_model, save_tiny

TRAINER = TrainerConfig(learning_rate=2e-3, passes=10, batch=24, largest_drift=100.0, least_entropy=0.0)
HOW = ReturnRegression(decisions=24, trainer=TRAINER)
SEEN = [
    (f"{day} {low}. {berry}. {wolf}.", berry.startswith("red") == wolf.startswith("wolf"))
    for day in ("spring day. energy", "winter night. water")
    for low in ("low", "half", "full")
    for berry in ("red berry here", "nothing near")
    for wolf in ("wolf near west", "shelter here")
]
LIVED = record([Life(10, i, [text], [0], [(0.5, 0.5)], died=died) for i, (text, died) in enumerate(SEEN)])
"""Whoever sees both, or neither, of berry and wolf dies at once."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(4, 8.0))[:2]


def trained(how: ReturnRegression, model: PopulationModel, elites: list[Agent]) -> Training:
    return tune(how, model, model.prompts(ACTIONS), elites, LIVED, np.random.default_rng(0))


def test_returns_by_hand() -> None:
    lives = [Life(1, 7, [BARE] * 3, [0] * 3, [(0.5, 0.5)] * 3), Life(2, 7, [BARE], [0], [(0.5, 0.5)], died=False)]
    assert returns_of(record(lives), "to_go", 0.5).tolist() == [1.5, 1.0, 0.0, 1.0]
    assert returns_of(record(lives), "final", 0.5).tolist() == [2.0, 2.0, 2.0, 1.0]


def test_the_aim_is_the_return_in_standard_deviations_from_its_mean() -> None:
    batch = HOW.prepare(people(10), LIVED, PROMPTS, np.random.default_rng(0)).batch
    expected = returns_of(LIVED, "to_go", 0.98)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(np.sort(batch.advantage[0]), np.sort(expected), rtol=1e-5, atol=1e-6)


def test_features_learn_what_a_head_alone_cannot_say(model: PopulationModel, elites: list[Agent]) -> None:
    batch = HOW.prepare(elites, LIVED, model.prompts(ACTIONS), np.random.default_rng(0)).batch
    training = trained(HOW, model, elites)
    pupils = [replace(agent, adapter=one.adapter) for agent, one in zip(elites, training.tuned, strict=True)]
    before, after = (explained_by_a_fresh_head(model, who, batch) for who in (elites, pupils))
    assert after > before + 0.02
    assert training.explained > before


def explained_by_a_fresh_head(model: PopulationModel, who: list[Agent], batch: Batch) -> float:
    states = Policies(model, model.prompts(ACTIONS), who, 256).look(batch).states
    return explained_share(predicted(fitted(states, batch.advantage), states), batch.advantage)


def test_the_policy_is_held_as_firmly_as_is_asked_and_judged(model: PopulationModel, elites: list[Agent]) -> None:
    free, held = (trained(replace(HOW, hold=hold), model, elites) for hold in (0.0, 100.0))
    assert all(firm.kl < loose.kl / 3 for firm, loose in zip(held.tuned, free.tuned, strict=True))
    strict = replace(HOW, hold=0.0, trainer=replace(TRAINER, largest_drift=min(one.kl for one in free.tuned) / 2))
    assert all(one.reason.startswith("drift: KL") for one in trained(strict, model, elites).tuned)


def test_cores_change_no_bit(model: PopulationModel, elites: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    how, found = replace(HOW, trainer=replace(TRAINER, passes=1, rows_at_once=3)), []
    for count in (1, 3):
        monkeypatch.setattr("fitness.cores._claimed", [count])
        found.append([one.adapter.digest() for one in trained(how, model, elites).tuned])
    assert found[0] == found[1]


def test_a_head_beside_blocks_is_refused() -> None:
    lesson = HOW.prepare(people(10), LIVED, PROMPTS, np.random.default_rng(0))
    with pytest.raises(ValueError, match="block: expected 1 beside a value head, got 2"):
        replace(lesson, block=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "togo"}, r"target: expected one of to_go, final, got 'togo' \(did you mean 'to_go'"),
        ({"discount": 1.0}, r"discount: expected a number between 0 and 1, got 1\.0"),
        ({"hold": -1.0}, r"hold: expected a number of at least 0, got -1\.0"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        ReturnRegression(**fields)
