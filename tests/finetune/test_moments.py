"""Training goes on where it stopped, if it is told to: two rounds of one step are one round of two."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.batches import make_batch
from finetune.learners import Learner
from finetune.methods.base import Lesson, Method, imitate
from finetune.moments import Moments, pack, unpack
from finetune.trainer import Training, tune_each
from finetune.trainer_config import TrainerConfig
from fitness.adapter import Adapter
from fitness.agent import Agent
from fitness.errors import AdapterError
from fitness.model import PopulationModel, Prompts
from fitness.records import Transitions
from tests.finetune.lives import EAT, Life, record
from tests.fitness.models import ACTIONS, OBSERVATIONS, agents, population_model, save_tiny

LIVED = record([Life(1, 1, OBSERVATIONS, (0, EAT, 2, EAT, 6), ((0.0,),) * 5)])
INHERIT = TrainerConfig(
    learning_rate=1e-3, batch=len(LIVED), largest_drift=1e3, least_entropy=0.0, moments="inherit", beta2=0.9
)


class All(Method):
    """Imitates everything, in one step a pass."""

    def __init__(self, trainer: TrainerConfig = INHERIT) -> None:
        self.trainer = trainer

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        chosen = np.tile(np.arange(len(LIVED)), (len(agents), 1))
        batch = make_batch(transitions, np.ones(len(LIVED)), chosen, prompts)
        return Lesson(batch, imitate, torch.ones(len(agents)), 0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(rank=4, alpha=8.0))[:3]


def trained(model: PopulationModel, learners: Sequence[Learner], **knobs: object) -> Training:
    method = All(replace(INHERIT, **knobs))  # type: ignore[arg-type]
    return tune_each(method, model, model.prompts(ACTIONS), learners, LIVED, np.random.default_rng(0))


def distance(one: Adapter, other: Adapter) -> float:
    return max(float((one.b[name] - other.b[name]).abs().max()) for name in one.spec.modules)


def test_moments_follow_who_has_them(model: PopulationModel, elites: list[Agent]) -> None:
    first = trained(model, [Learner(agent=agent) for agent in elites]).tuned
    assert [one.moments.steps for one in first if one.moments] == [1, 1, 1]
    kept = unpack(pack({i: one.moments for i, one in enumerate(first) if one.moments}))
    again = [replace(agent, adapter=one.adapter) for agent, one in zip(elites, first, strict=True)]
    moments = (kept[0], None, kept[2])
    second = trained(model, [Learner(agent=one, moments=m) for one, m in zip(again, moments, strict=True)]).tuned
    anew = trained(model, [Learner(agent=one) for one in again], moments="reset").tuned
    whole = trained(model, [Learner(agent=agent) for agent in elites], passes=2).tuned
    assert [one.moments.steps for one in second if one.moments] == [2, 1, 2]
    assert all(one.moments is None for one in anew)
    for i in (0, 2):
        assert distance(second[i].adapter, whole[i].adapter) < 1e-6 < 1e-5 < distance(anew[i].adapter, whole[i].adapter)
    assert second[1].adapter.digest() == anew[1].adapter.digest()


def test_moments_that_no_longer_fit_are_none(model: PopulationModel, elites: list[Agent]) -> None:
    slim = agents(model.lora_spec(rank=2, alpha=4.0))[0]
    (past,) = trained(model, [Learner(agent=slim)]).tuned
    (with_past,), (without,) = (
        trained(model, [Learner(agent=elites[0], moments=moments)]).tuned for moments in (past.moments, None)
    )
    assert with_past.adapter.digest() == without.adapter.digest()


def test_a_file_gives_back_every_bit_and_nothing_else(model: PopulationModel, elites: list[Agent]) -> None:
    (tuned,) = trained(model, [Learner(agent=elites[0])], passes=3).tuned
    assert isinstance(tuned.moments, Moments)
    content = pack({7: tuned.moments})
    (back,) = unpack(content).values()
    assert pack({7: back}) == content
    assert back.steps == 3
    for name in back.first.spec.modules:
        assert torch.equal(back.first.a[name], tuned.moments.first.a[name])
        assert torch.equal(back.second.b[name], tuned.moments.second.b[name])
    with pytest.raises(AdapterError, match="moments: expected what an optimiser remembers"):
        unpack(content[:100])


def test_each_learns_at_its_own_rate(model: PopulationModel, elites: list[Agent]) -> None:
    rates = (1.0, 2.0, 0.5)
    mixed = trained(model, [Learner(agent=one, rate=rate) for one, rate in zip(elites, rates, strict=True)]).tuned
    for i, rate in enumerate(rates):
        usual = trained(model, [Learner(agent=one) for one in elites], learning_rate=1e-3 * rate).tuned
        assert usual[i].adapter.digest() == mixed[i].adapter.digest()
        assert usual[i].adapter.digest() != elites[i].adapter.digest()
