"""Return-conditioned imitation: every decision after its rank, and the highest rank for whoever acts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.methods.return_conditioned import ReturnConditioned
from finetune.trainer import tune
from finetune.trainer_config import TrainerConfig
from fitness.adapter import AdapterStack, initial_adapter
from fitness.agent import Agent
from fitness.errors import ConfigError
from fitness.model import PopulationModel, Prompts, pad_rows
from tests.finetune.lives import BARE, EAT, RED, REST, Life, poison_world, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS, population_model, save_tiny

LIVED = record([Life(a, 7, [BARE] * n, [a] * n, [(0.5, 0.5)] * n) for a, n in ((0, 4), (1, 3), (2, 2), (3, 1))])
"""Four lives of one world; the action tells which."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("tiny"), "llama"))


def test_whole_lives_are_ranked_by_hand() -> None:
    method = ReturnConditioned(ranks=2, words="rank {rank}", decisions=50)
    batch = method.prepare(people(0), LIVED, PROMPTS, np.random.default_rng(0)).batch
    said = {
        (int(action), "".join(map(chr, ids[:6])))
        for action, ids in zip(batch.taken[0].tolist(), batch.ids[0].tolist(), strict=True)
    }
    # Of ten decisions, the five that belong to the longest lives have rank 2: four of life 0 and one of life 1.
    assert said == {(0, "rank 2"), (1, "rank 1"), (1, "rank 2"), (2, "rank 1"), (3, "rank 1")}
    assert len(batch) == 10


def test_who_acts_reads_what_who_learns_has_read() -> None:
    method = ReturnConditioned(ranks=3, decisions=8)
    told = [Agent(id=one.id, strategy=one.strategy + method.spoken, adapter=one.adapter) for one in people(0)]
    lesson = method.prepare(told, LIVED, PROMPTS, np.random.default_rng(0))
    assert lesson.pupils is not None
    assert lesson.teachers == lesson.pupils
    (pupil,) = lesson.pupils
    assert pupil.strategy == people(0)[0].strategy
    top = max("".join(map(chr, ids)).split("\n")[0] for ids in lesson.batch.ids[0].tolist())
    assert f"{pupil.strategy}\n{top}" == told[0].strategy


def test_whoever_asks_for_more_eats_less_poison(model: PopulationModel) -> None:
    prompts = model.prompts(ACTIONS)
    trainer = TrainerConfig(learning_rate=0.02, passes=8, batch=32, largest_drift=100.0, least_entropy=0.0)
    method = ReturnConditioned(ranks=2, outcome="value", decisions=256, trainer=trainer)
    pupil = Agent(id=0, strategy="eat when low.", adapter=initial_adapter(model.lora_spec(4, 8.0), 0))
    lived = poison_world(agents=[0, 1, 2, 3], lives=16)
    (tuned,) = tune(method, model, prompts, [pupil], lived, np.random.default_rng(0)).tuned
    assert _eats(model, prompts, replace(pupil, adapter=tuned.adapter, strategy="eat when low." + method.spoken)) < (
        0.8 * _eats(model, prompts, replace(pupil, adapter=tuned.adapter, strategy="eat when low.\nrank 1 of 2"))
    )


def _eats(model: PopulationModel, prompts: Prompts, agent: Agent) -> float:
    """Return the chance of eating the red berry, of those two things that are ever done."""
    with torch.inference_mode():
        prefix = model.read(AdapterStack.of([agent.adapter]), prompts.prefixes([agent.strategy]))
        ids, lengths = pad_rows([prompts.rows([RED])])
        chances = model.action_log_probs(prefix, ids, lengths, prompts.actions)[0, 0].exp()
    return float(chances[EAT] / (chances[EAT] + chances[REST]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranks": 1},
        {"outcome": "luck"},
        {"words": "best"},
        {"words": "{rank}\n"},
        {"words": "{rank} {x}"},
        {"decisions": 0},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ReturnConditioned(**wrong)  # type: ignore[arg-type]
