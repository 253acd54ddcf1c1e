"""What every method of fine-tuning promises, run over all that `conf/finetune` names."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from finetune.methods.base import Lesson, Method
from finetune.policies import Policies
from finetune.trainer import Training, tune
from finetune.trainer_config import TrainerConfig
from fitness.agent import Agent
from fitness.model import PopulationModel, Prompts
from fitness.records import Transitions
from tests.finetune.lives import poison_world
from tests.fitness.models import ACTIONS, agents, population_model, save_tiny

CONF = Path(__file__).resolve().parents[3] / "conf" / "finetune"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")
SMALL = {"decisions": 12, "pairs": 2, "steps": 3}
TRAINER = TrainerConfig(learning_rate=3e-3, passes=1, batch=6, largest_drift=100.0, least_entropy=0.0)
LIVED = poison_world(agents=[3, 4, 5, 6, 7, 8], lives=3)
IDS = (3, 4, 8)


def method(name: str) -> Method:
    full = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    known = {field.name for field in fields(full)}
    return replace(full, trainer=TRAINER, **{key: value for key, value in SMALL.items() if key in known})


@dataclass(frozen=True, kw_only=True)
class Given(Method):
    """Teaches what the test gives."""

    lesson: Lesson
    trainer: TrainerConfig = TRAINER

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        return self.lesson


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Keep to one core: at this size, cores mostly wait for each other, and long on a busy machine."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.fixture(scope="module")
def everyone(model: PopulationModel) -> list[Agent]:
    """Six agents with adapters and strategies of their own; three of them are elites."""
    ids = (*IDS, 5, 6, 7)
    return [replace(agent, id=id_) for agent, id_ in zip(agents(model.lora_spec(4, 8.0)), ids, strict=True)]


@pytest.fixture(scope="module")
def elites(everyone: list[Agent]) -> list[Agent]:
    return everyone[: len(IDS)]


def lesson(name: str, model: PopulationModel, elites: list[Agent], lived: Transitions = LIVED) -> Lesson:
    return method(name).prepare(elites, lived, model.prompts(ACTIONS), np.random.default_rng(0))


def tuned(
    how: Method, model: PopulationModel, elites: list[Agent], seed: int = 0, lived: Transitions = LIVED
) -> Training:
    return tune(how, model, model.prompts(ACTIONS), elites, lived, np.random.default_rng(seed))


def digests(training: Training) -> list[str]:
    return [one.adapter.digest() for one in training.tuned]


def gradients(
    taught: Lesson, model: PopulationModel, elites: list[Agent], rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    prompts = model.prompts(ACTIONS)
    policies = Policies(model, prompts, taught.pupils or elites, rows, valued=taught.value is not None)
    policies.heads.copy_(torch.randn(policies.heads.shape, generator=torch.Generator().manual_seed(0)))
    start = Policies(model, prompts, taught.teachers or elites, rows).log_probs(taught.batch)
    losses = policies.backward(taught.batch, start, taught.loss, joint=taught.block > 1, value=taught.value)
    assert policies.weights.grad is not None
    return losses, policies.weights.grad


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_has_what_the_trainer_needs(name: str, model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson(name, model, elites)
    assert made.batch.ids.shape[0] == len(made.effective_share) == len(elites)
    assert len(made.batch) % made.block == 0
    assert bool(((made.effective_share >= 0) & (made.effective_share <= 1 + 1e-6)).all())
    assert bool((made.effective_share > 0).any())
    assert bool((made.batch.weight >= 0).all() & made.batch.weight.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_memory_changes_none(name: str, model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson(name, model, elites)
    (losses, usual), (other_losses, other) = (gradients(made, model, elites, rows) for rows in (256, 5))
    assert bool(usual.isfinite().all())
    assert float(usual.abs().max()) > 1e-4
    torch.testing.assert_close(losses, other_losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(usual, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_the_dead_stay_as_they_are_and_chance_is_the_seed(
    name: str, model: PopulationModel, everyone: list[Agent], elites: list[Agent]
) -> None:
    before = [agent.adapter.digest() for agent in everyone]
    record = {field.name: copy(getattr(LIVED, field.name)) for field in fields(LIVED)}
    how = method(name)
    first, second, other = (digests(tuned(how, model, elites, seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert [agent.adapter.digest() for agent in everyone] == before
    for key, values in record.items():
        np.testing.assert_array_equal(getattr(LIVED, key), values)


def only(taught: Lesson, place: slice) -> Lesson:
    """Return some agents' part of a lesson."""
    people = {key: getattr(taught, key)[place] for key in ("pupils", "teachers") if getattr(taught, key)}
    return replace(taught, batch=taught.batch.of(place), effective_share=taught.effective_share[place], **people)


@pytest.mark.parametrize("name", NAMES)
def test_each_agent_is_changed_by_its_own_data_alone(name: str, model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson(name, model, elites)
    together = tuned(Given(lesson=made), model, elites).tuned
    alone = tuned(Given(lesson=only(made, slice(1, 3))), model, elites[1:]).tuned[0]
    for module in alone.adapter.spec.modules:
        torch.testing.assert_close(together[1].adapter.a[module], alone.adapter.a[module], atol=1e-5, rtol=0)
        torch.testing.assert_close(together[1].adapter.b[module], alone.adapter.b[module], atol=1e-5, rtol=0)
    assert together[1].loss == pytest.approx(alone.loss, abs=1e-5)
    assert together[1].kl == pytest.approx(alone.kl, abs=1e-5)


TEMPERED = {"advantage_weighted", "awr", "dpo", "improvement"}
"""Those that have a beta. Who has none does the same with any."""


@pytest.mark.parametrize("name", NAMES)
def test_each_agent_has_its_own_beta(name: str, model: PopulationModel, elites: list[Agent]) -> None:
    how, betas = method(name), (1.0, 2.0, 0.5)
    assert how.tempered == (name in TEMPERED)

    def slopes(one: Method, multiples: Sequence[float]) -> torch.Tensor:
        given = (elites, LIVED, model.prompts(ACTIONS), np.random.default_rng(0))
        made = one.prepare_tempered(*given, torch.tensor(multiples)[:, None])
        policies = Policies(model, model.prompts(ACTIONS), made.pupils or elites, 256)
        start = Policies(model, model.prompts(ACTIONS), made.teachers or elites, 256).log_probs(made.batch) - 0.1
        policies.backward(made.batch, start, made.loss, joint=made.block > 1)
        assert policies.weights.grad is not None
        return policies.weights.grad

    mixed = slopes(how, betas)
    for i, beta in enumerate(betas):
        alike = replace(how, beta=getattr(how, "beta") * beta) if how.tempered else how  # noqa: B009
        torch.testing.assert_close(mixed[i], slopes(alike, (1.0,) * 3)[i], atol=1e-6, rtol=1e-4)
        assert beta == 1.0 or bool((slopes(how, (1.0,) * 3)[i] != mixed[i]).any()) == how.tempered


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss(name: str, model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson(name, model, elites)
    before, _ = gradients(made, model, elites, 256)
    training = tuned(Given(lesson=made, trainer=replace(TRAINER, passes=8)), model, elites)
    after = torch.tensor([one.loss for one in training.tuned])
    assert float((before - after).mean()) > 1e-3


@pytest.mark.parametrize("name", ["dpo", "awr"])
def test_the_gradient_of_a_joint_loss_is_that_of_one_backward(
    name: str, model: PopulationModel, elites: list[Agent]
) -> None:
    made = lesson(name, model, elites)
    found = []
    for joint in (True, False):  # in memory as a whole, both are possible
        policies = Policies(model, model.prompts(ACTIONS), elites, 10_000)
        losses = policies.backward(made.batch, policies.log_probs(made.batch) - 0.1, made.loss, joint=joint)
        found.append((losses, policies.weights.grad))
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)
