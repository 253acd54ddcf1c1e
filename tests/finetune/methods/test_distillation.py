"""Distillation: who teaches, what the pupil is told, and that it ends where the teacher is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.methods.base import Lesson, Method
from finetune.methods.distillation import Distillation, best_of
from finetune.methods.rejection import Rejection
from finetune.trainer import Training, tune
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.errors import ConfigError
from fitness.model import PopulationModel
from tests.finetune.lives import BARE, Life, poison_world, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS, agents, population_model, save_tiny

LIVED = poison_world([10, 11, 12], lives=4)
TRAINER = TrainerConfig(learning_rate=1e-2, passes=6, batch=8, largest_drift=100.0, least_entropy=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    folder: Path = tmp_path_factory.mktemp("llama")
    return population_model(save_tiny(folder, "llama"))


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(4, 8.0))[:2]


def lesson(ids: tuple[int, ...] = (10, 11), **knobs: str | int | None) -> Lesson:
    how = Distillation(**({"decisions": 9} | knobs))
    return how.prepare(people(*ids), LIVED, PROMPTS, np.random.default_rng(0))


def trained(model: PopulationModel, elites: list[Agent], **knobs: str | int | None) -> Training:
    how = Distillation(**({"decisions": 24, "trainer": TRAINER} | knobs))
    return tune(how, model, model.prompts(ACTIONS), elites, LIVED, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("words", "told"),
    [(0, ""), (2, "eat when"), (99, "eat when low. flee wolf 10."), (None, "eat when low. flee wolf 10.")],
)
def test_the_pupil_keeps_the_first_words(words: int | None, told: str) -> None:
    made = lesson(words=words, teacher="best")
    assert made.pupils is not None
    assert made.pupils[0].strategy == told


def test_each_agent_teaches_itself_with_all_its_words() -> None:
    made = lesson()
    assert made.teachers is not None
    assert [one.strategy for one in made.teachers] == ["eat when low. flee wolf 10.", "eat when low. flee wolf 11."]


def test_the_best_is_who_outlived_the_others_and_not_who_had_easy_worlds() -> None:
    lives = [(1, 7, 9), (2, 7, 12), (1, 8, 3), (2, 8, 5), (3, 9, 99), (4, 9, 99)]
    transitions = record([Life(a, seed, [BARE] * n, [0] * n, [(0.5, 0.5)] * n) for a, seed, n in lives])
    assert best_of(people(1, 2, 3), transitions).id == 2
    assert best_of(people(1, 88), transitions).id == 1  # who has not lived comes last


def test_by_hand_in_both_directions() -> None:
    pupil, teacher = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[[0.9, 0.1]]]).log()
    for direction, p, q in (("reverse", (0.5, 0.5), (0.9, 0.1)), ("forward", (0.9, 0.1), (0.5, 0.5))):
        made = lesson(direction=direction, decisions=1, ids=(10,))
        expected = sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
        assert float(made.loss(pupil, teacher, made.batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_a_pupil_without_words_comes_to_act_like_its_teacher(
    model: PopulationModel, elites: list[Agent], direction: str
) -> None:
    still = trained(model, elites, direction=direction, trainer=replace(TRAINER, learning_rate=1e-12))
    training = trained(model, elites, direction=direction)
    for before, after in zip(still.tuned, training.tuned, strict=True):
        assert before.kl > 1e-3  # words do matter to these agents
        assert after.kl < 0.5 * before.kl
        assert after.loss < before.loss


def test_who_is_its_own_teacher_keeps_every_bit(model: PopulationModel, elites: list[Agent]) -> None:
    best = best_of(elites, LIVED)
    training = trained(model, elites, teacher="best", words=None)
    moved = [one.adapter.digest() != agent.adapter.digest() for one, agent in zip(training.tuned, elites, strict=True)]
    assert moved == [agent is not best for agent in elites]


def test_what_the_teacher_costs_is_counted(model: PopulationModel, elites: list[Agent]) -> None:
    def flops(how: Method) -> float:
        return tune(how, model, model.prompts(ACTIONS), elites, LIVED, np.random.default_rng(0)).cost.flops

    own = Rejection(share=1.0, decisions=24, trainer=TRAINER)  # the agents are their own reference
    told = Distillation(words=99, decisions=24, trainer=TRAINER)  # the same texts, but the reference is a teacher
    assert flops(told) == pytest.approx(flops(own), rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": None}, "words: expected a number of words with teacher own"),
        ({"words": -1}, "words: expected an integer of at least 0, got -1"),
        ({"teacher": "worst"}, "teacher: expected one of own, best, got 'worst'"),
        ({"direction": "up"}, "direction: expected one of reverse, forward, got 'up'"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, int | str | None], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Distillation(**fields)
