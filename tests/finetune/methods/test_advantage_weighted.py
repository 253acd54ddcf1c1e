"""Advantage weighting, from recorded lives to an adapter that eats less poison."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.methods.advantage_weighted import AdvantageWeighted
from finetune.methods.base import Lesson
from finetune.policies import Policies
from finetune.trainer import Training, tune
from finetune.trainer_config import TrainerConfig
from finetune.values import appraise
from fitness.adapter import Adapter, AdapterStack, initial_adapter
from fitness.agent import Agent
from fitness.errors import ConfigError
from fitness.model import PopulationModel
from tests.finetune.lives import EAT, RED, REST, poison_world
from tests.fitness.models import ACTIONS, STRATEGIES, population_model, save_tiny

WEIGHTINGS = ("tilted", "clipped", "exponential")
IDS = (3, 4, 8)
LIVED = poison_world(agents=[3, 4, 5, 6, 7, 8])
TRAINER = TrainerConfig(learning_rate=1e-2, passes=4, batch=32, rows_at_once=96, largest_drift=10.0, beta2=0.999)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    folder: Path = tmp_path_factory.mktemp("llama")
    return population_model(save_tiny(folder, "llama"))


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    adapter = initial_adapter(model.lora_spec(rank=4, alpha=8.0), 0)
    return [Agent(id=id_, strategy=STRATEGIES[i], adapter=adapter) for i, id_ in enumerate(IDS)]


_TRAINERS = ("passes",)


def method(weighting: str, **knobs: float) -> AdvantageWeighted:
    trainer = replace(TRAINER, **{name: knobs.pop(name) for name in _TRAINERS if name in knobs})
    knobs = {"share": 0.3, "beta": 1.0} | knobs
    return AdvantageWeighted(weighting=weighting, decisions=48, smoothing=None, trainer=trainer, **knobs)


def lesson(weighting: str, model: PopulationModel, elites: list[Agent], **knobs: float) -> Lesson:
    return method(weighting, **knobs).prepare(elites, LIVED, model.prompts(ACTIONS), np.random.default_rng(0))


def trained(weighting: str, model: PopulationModel, elites: list[Agent], **knobs: float) -> Training:
    prompts = model.prompts(ACTIONS)
    return tune(method(weighting, **knobs), model, prompts, elites, LIVED, np.random.default_rng(0))


def likes(model: PopulationModel, agent: Agent, adapter: Adapter) -> tuple[float, float]:
    """Return the chances of eating and of resting in front of a red berry."""
    prompts = model.prompts(ACTIONS)
    ids = torch.tensor([prompts.rows([RED])])
    with torch.no_grad():
        prefix = model.read(AdapterStack.of([adapter]), prompts.prefixes([agent.strategy]))
        scores = model.action_log_probs(prefix, ids, torch.tensor([[ids.shape[2]]]), prompts.actions)[0, 0].exp()
    return float(scores[EAT]), float(scores[REST])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_elites_learn_to_leave_poison_alone(weighting: str, model: PopulationModel, elites: list[Agent]) -> None:
    training = trained(weighting, model, elites, anchors=0.0)  # two texts only: anchors would hold just these
    assert [tuned.reason for tuned in training.tuned] == ["", "", ""]
    assert training.explained > 0.5
    for agent, tuned in zip(elites, training.tuned, strict=True):
        before, after = (likes(model, agent, adapter) for adapter in (agent.adapter, tuned.adapter))
        assert after[1] / after[0] > 1.5 * before[1] / before[0]
        assert after[1] > before[1]


def test_the_clipped_gradient_alone_pushes_bad_decisions_down(model: PopulationModel, elites: list[Agent]) -> None:
    batch = lesson("clipped", model, elites).batch
    bad = replace(batch, advantage=-batch.advantage.abs())
    now = torch.zeros(*batch.taken.shape, len(ACTIONS)).log_softmax(dim=-1).requires_grad_()
    for weighting, sign in (("clipped", 1), ("exponential", -1)):
        loss = lesson(weighting, model, elites).loss(now, now.detach(), bad)
        slope = torch.autograd.grad(loss.sum(), now)[0].gather(2, bad.taken[..., None])
        assert bool((sign * slope > 0).all())


@pytest.mark.parametrize("weighting", ["clipped", "exponential"])
def test_the_lesson_is_made_of_the_most_informative_decisions(
    weighting: str, model: PopulationModel, elites: list[Agent]
) -> None:
    made = lesson(weighting, model, elites, share=0.2)
    advantage = (
        appraise(LIVED, AdvantageWeighted().horizon).advantage
        / appraise(LIVED, AdvantageWeighted().horizon).advantage.std()
    )
    least = np.sort(np.abs(advantage))[::-1][round(0.2 * len(LIVED)) - 1]
    assert float(made.batch.advantage.abs().min()) >= least - 1e-6
    assert made.batch.ids.shape[:2] == (3, 48)
    assert bool(((made.effective_share > 0) & (made.effective_share <= 1)).all())


def test_half_of_a_tilted_lesson_holds_the_agent_still(model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson("tilted", model, elites, anchors=0.5)
    worth = made.batch.advantage
    assert worth.shape == (3, 48)
    assert bool((worth[:, :24].abs() > 0).all())
    assert bool((worth[:, 24:] == 0).all())
    start = torch.randn(3, 48, len(ACTIONS), generator=torch.Generator().manual_seed(0)).log_softmax(dim=-1)
    loss = made.loss(start, start, made.batch)
    assert bool((loss[:, :24] > 0).all())
    torch.testing.assert_close(loss[:, 24:], torch.zeros(3, 24), atol=1e-6, rtol=0)


def test_exponential_weights_have_mean_one_and_a_wide_beta_makes_them_equal(
    model: PopulationModel, elites: list[Agent]
) -> None:
    made = lesson("exponential", model, elites)
    torch.testing.assert_close(made.batch.weight.mean(dim=1), torch.ones(3))
    order = made.batch.advantage[0].argsort()
    assert bool((made.batch.weight[0][order].diff() >= 0).all())
    even = lesson("exponential", model, elites, beta=1e9)
    torch.testing.assert_close(even.batch.weight, torch.ones(3, 48))
    torch.testing.assert_close(even.effective_share, torch.ones(3))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_rows_at_once_change_no_gradient(weighting: str, model: PopulationModel, elites: list[Agent]) -> None:
    taught = lesson(weighting, model, elites)
    usual, other = (Policies(model, model.prompts(ACTIONS), elites, rows) for rows in (96, 10))
    start = usual.log_probs(taught.batch)
    losses = [policies.backward(taught.batch, start, taught.loss) for policies in (usual, other)]
    torch.testing.assert_close(*losses, atol=1e-6, rtol=0)
    one, other_one = usual.weights.grad, other.weights.grad
    assert one is not None
    assert float(one.abs().max()) > 1e-2
    torch.testing.assert_close(one, other_one, atol=1e-6, rtol=0)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_same_chance_gives_the_same_bits(weighting: str, model: PopulationModel, elites: list[Agent]) -> None:
    first, second = (
        [tuned.adapter.digest() for tuned in trained(weighting, model, elites, passes=1).tuned] for _ in range(2)
    )
    assert first == second


def test_what_others_would_rarely_have_done_counts_less(model: PopulationModel, elites: list[Agent]) -> None:
    made = lesson("clipped", model, elites)
    start = torch.full((*made.batch.taken.shape, len(ACTIONS)), 1 / len(ACTIONS)).log()
    now = start.clone().requires_grad_()
    slopes = []
    for behaviour in (1 / 7, 1 / 14, 1 / 70, 2 / 7):
        part = replace(made.batch, behaviour=torch.full(made.batch.taken.shape, behaviour).log())
        slopes.append(torch.autograd.grad(made.loss(now, start, part).sum(), now)[0].abs().sum())
    torch.testing.assert_close(torch.stack(slopes) / slopes[0], torch.tensor([1.0, 2.0, 2.0, 0.5]))  # capped at 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"weighting": "expontential"},
            r"weighting: expected one of tilted, clipped, exponential, got 'expontential' "
            r"\(did you mean 'exponential'\?\)",
        ),
        ({"share": 0.0}, r"share: expected a number above 0 and at most 1, got 0\.0"),
        ({"share": 1.5}, r"share: expected a number above 0 and at most 1, got 1\.5"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
        ({"beta": 0.0}, r"beta: expected a number above 0, got 0\.0"),
        ({"anchors": 1.0}, r"anchors: expected a number of at least 0 and below 1, got 1\.0"),
        ({"cap": 1.0}, r"cap: expected a number above 1, got 1\.0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        AdvantageWeighted(**fields)
