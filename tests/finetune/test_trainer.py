"""All agents are trained at once, and each as if it were alone; what is broken is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from finetune.batches import Batch, make_batch
from finetune.losses import Clip, clipped_policy_gradient
from finetune.methods.base import Lesson, Loss, Method
from finetune.trainer import Training, tune
from finetune.trainer_config import TrainerConfig
from fitness.adapter import Adapter, AdapterStack, initial_adapter, save_adapter
from fitness.agent import Agent
from fitness.errors import AdapterError, ConfigError
from fitness.model import PopulationModel, Prompts
from fitness.records import Transitions
from tests.finetune.lives import EAT, Life, record
from tests.fitness.models import ACTIONS, OBSERVATIONS, agents, population_model, save_tiny

LIVED = record([Life(1, 1, OBSERVATIONS, (0, EAT, 2, EAT, 6), ((0.0,),) * 5)])
DECISIONS = 8
CONFIG = TrainerConfig(learning_rate=2e-3, passes=2, batch=5, rows_at_once=16, largest_drift=100.0, least_entropy=0.0)


@dataclass(frozen=True, kw_only=True)
class Given(Method):
    """Teaches what the test gives."""

    batch: Batch
    loss: Loss
    trainer: TrainerConfig = CONFIG

    def prepare(
        self, agents: Sequence[Agent], transitions: Transitions, prompts: Prompts, rng: np.random.Generator
    ) -> Lesson:
        return Lesson(self.batch, self.loss, torch.ones(len(agents)), 0.5)


def surrogate(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    before, after = (scores.gather(2, part.taken[..., None]).squeeze(2) for scores in (start, now))
    return clipped_policy_gradient(after, before, part.advantage, part.weight, Clip(below=0.9, above=9.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module", params=("llama", "huggingface"))
def model(folder: Path, request: pytest.FixtureRequest) -> PopulationModel:
    return population_model(folder, request.param)


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(rank=4, alpha=8.0))[:4]


def lessons(model: PopulationModel, count: int, seed: int = 0) -> Batch:
    """Random decisions with random advantages, other ones for every agent."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(LIVED), size=(count, DECISIONS))
    batch = make_batch(LIVED, np.ones(len(LIVED)), chosen, model.prompts(ACTIONS))
    return replace(batch, advantage=torch.from_numpy(rng.normal(size=chosen.shape).astype(np.float32)))


def of_agent(batch: Batch, agent: int) -> Batch:
    return batch.of(slice(agent, agent + 1))


def trained(
    model: PopulationModel, elites: list[Agent], given: Batch, seed: int = 1, loss: Loss = surrogate, **knobs: float
) -> Training:
    method = Given(batch=given, loss=loss, trainer=replace(CONFIG, **knobs))
    return tune(method, model, model.prompts(ACTIONS), elites, LIVED, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def usual(model: PopulationModel, elites: list[Agent]) -> Training:
    """The training that most tests compare theirs with."""
    return trained(model, elites, lessons(model, len(elites)))


def log_probs(model: PopulationModel, agent: Agent, adapter: Adapter, observation: str) -> Tensor:
    prompts = model.prompts(ACTIONS)
    ids = torch.tensor([prompts.rows([observation])])
    with torch.no_grad():
        prefix = model.read(AdapterStack.of([adapter]), prompts.prefixes([agent.strategy]))
        lengths = torch.tensor([[ids.shape[2]]])
        return model.action_log_probs(prefix, ids, lengths, prompts.actions, agent.temperature)[0, 0]


def assert_same(one: Adapter, other: Adapter, atol: float) -> None:
    for name in one.spec.modules:
        torch.testing.assert_close(one.a[name], other.a[name], atol=atol, rtol=0)
        torch.testing.assert_close(one.b[name], other.b[name], atol=atol, rtol=0)


def test_each_agent_is_trained_as_if_it_were_alone(
    model: PopulationModel, elites: list[Agent], usual: Training
) -> None:
    batch = lessons(model, len(elites))
    for i, agent in enumerate(elites):
        alone = trained(model, [agent], of_agent(batch, i)).tuned[0]
        assert_same(usual.tuned[i].adapter, alone.adapter, atol=1e-5)
        for name in ("loss", "kl", "entropy"):
            assert getattr(usual.tuned[i], name) == pytest.approx(getattr(alone, name), abs=1e-5)


def peft_steps(folder: Path, agent: Agent, batch: Batch, place: Path, options: dict[str, float]) -> PeftModel:
    """Train with plain PEFT, unpadded prompts one by one, and PyTorch's AdamW; one step over the whole batch."""
    save_adapter(agent.adapter, place, str(folder))
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(place), is_trainable=True)
    parameters = [parameter for parameter in adapted.eval().parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=options["learning_rate"], weight_decay=options["weight_decay"])
    prompts = population_model(folder).prompts(ACTIONS)
    prefix = prompts.prefixes([agent.strategy])[0]
    for k in range(len(batch)):
        row = batch.ids[0, k, : batch.lengths[0, k]].tolist()
        logits = adapted(input_ids=torch.tensor([prefix + row]), use_cache=False).logits[0, -1, list(prompts.actions)]
        scores = torch.log_softmax(logits / agent.temperature, dim=-1)
        (-batch.weight[0, k] * batch.advantage[0, k] * scores[batch.taken[0, k]] / len(batch)).backward()
    optimizer.step()
    return adapted


# PEFT asks transformers for a property under its old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_step_is_that_of_plain_peft(
    folder: Path, model: PopulationModel, elites: list[Agent], tmp_path: Path
) -> None:
    # With a gradient far smaller than Adam's epsilon, a step is in proportion to it: its size is compared too.
    options = {"learning_rate": 10.0, "weight_decay": 0.01}
    batch = lessons(model, len(elites))
    batch = replace(batch, weight=torch.full_like(batch.weight, 1e-10))
    together = trained(model, elites, batch, passes=1, batch=DECISIONS, **options)
    for i, agent in enumerate(elites):
        adapted = peft_steps(folder, agent, of_agent(batch, i), tmp_path / str(i), options)
        ours = together.tuned[i].adapter
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                module, side = name.removeprefix("base_model.model.").split(".lora_")
                factor = {"A": ours.a, "B": ours.b}[side[0]][module]
                torch.testing.assert_close(factor, parameter.detach(), atol=1e-5, rtol=0)
    moved = max((together.tuned[0].adapter.b[n] - 0.9 * elites[0].adapter.b[n]).abs().max() for n in ours.spec.modules)
    assert moved > 1e-3


def test_agents_and_their_adapters_stay_as_they_are(model: PopulationModel, elites: list[Agent]) -> None:
    before = [agent.adapter.digest() for agent in elites]
    training = trained(model, elites, lessons(model, len(elites)))
    assert [agent.adapter.digest() for agent in elites] == before
    assert not {tuned.adapter.digest() for tuned in training.tuned} & set(before)
    assert not any(factor.requires_grad for tuned in training.tuned for factor in tuned.adapter.a.values())
    assert not any(parameter.requires_grad for parameter in model.base.network.parameters())


def test_a_broken_adapter_is_refused_and_harms_nobody(
    model: PopulationModel, elites: list[Agent], usual: Training
) -> None:
    batch, name = lessons(model, len(elites)), elites[1].adapter.spec.modules[0]
    a = {**elites[1].adapter.a, name: torch.full_like(elites[1].adapter.a[name], float("nan"))}
    sick = replace(elites[1], adapter=replace(elites[1].adapter, a=a))
    training = trained(model, [elites[0], sick, *elites[2:]], batch)
    assert_only_the_second_is_refused(training, usual)


@pytest.mark.fault("NaN in a loss", "the update is refused and the parent kept; siblings train on")
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_broken_advantage_is_refused_and_harms_nobody(
    model: PopulationModel, elites: list[Agent], usual: Training, poison: float
) -> None:
    batch = lessons(model, len(elites))
    advantage = batch.advantage.clone()
    advantage[1, 3] = poison
    training = trained(model, elites, replace(batch, advantage=advantage))
    assert_only_the_second_is_refused(training, usual)


@pytest.mark.fault("NaN in a gradient", "the update is refused and the parent kept; siblings train on")
def test_a_loss_that_is_whole_with_a_broken_gradient_is_refused(
    model: PopulationModel, elites: list[Agent], usual: Training
) -> None:
    def cliff(now: Tensor, start: Tensor, part: Batch) -> Tensor:
        marked, rise = part.weight == 2, (now - now.detach()).amax(dim=2)
        steep = torch.where(marked, rise, 1.0).sqrt()  # where marked: 0 wherever it stands, and its slope is infinite
        return surrogate(now, start, part) + torch.where(marked, steep, 0.0)

    batch = lessons(model, len(elites))
    batch.weight[1] = 2
    training = trained(model, elites, batch, loss=cliff)
    assert np.isfinite([tuned.loss for tuned in training.tuned]).all()
    assert_only_the_second_is_refused(training, usual)
    assert_same(training.tuned[1].adapter, elites[1].adapter, atol=0)


def assert_only_the_second_is_refused(training: Training, healthy: Training) -> None:
    assert [tuned.accepted for tuned in training.tuned] == [True, False, True, True]
    assert [tuned.reason for tuned in training.tuned] == ["", "not finite", "", ""]
    for i in (0, 2, 3):
        assert_same(training.tuned[i].adapter, healthy.tuned[i].adapter, atol=0)


def test_drift_is_refused(model: PopulationModel, elites: list[Agent]) -> None:
    training = trained(model, elites, lessons(model, len(elites)), largest_drift=1e-9)
    assert not any(tuned.accepted for tuned in training.tuned)
    assert all(tuned.reason.startswith(f"drift: KL {tuned.kl:.3f} from the parent") for tuned in training.tuned)


def test_drift_is_shrunk_until_it_is_near_enough(model: PopulationModel, elites: list[Agent], usual: Training) -> None:
    bound = min(tuned.kl for tuned in usual.tuned) / 3
    training = trained(model, elites, lessons(model, len(elites)), largest_drift=bound, too_far="shrink")
    for agent, far, near in zip(elites, usual.tuned, training.tuned, strict=True):
        assert near.accepted
        assert near.kl <= bound < far.kl
        assert near.kept in {2.0**-n for n in range(1, 6)}
        name = agent.adapter.spec.modules[0]
        way = (far.adapter.b[name] - agent.adapter.b[name]) * near.kept
        torch.testing.assert_close(near.adapter.b[name], agent.adapter.b[name] + way, atol=1e-6, rtol=0)


def test_an_explosion_is_refused(model: PopulationModel, elites: list[Agent]) -> None:
    batch = lessons(model, len(elites))
    batch.weight[1] *= 1e6
    training = trained(model, elites, batch)
    assert [tuned.accepted for tuned in training.tuned] == [True, False, True, True]
    assert training.tuned[1].reason.startswith("exploding: a gradient of norm")


def test_collapse_is_refused(model: PopulationModel, elites: list[Agent]) -> None:
    training = trained(model, elites, lessons(model, len(elites)), least_entropy=2.0)  # more than log 7
    assert not any(tuned.accepted for tuned in training.tuned)
    assert all(tuned.reason.startswith(f"collapse: entropy {tuned.entropy:.3f}") for tuned in training.tuned)


def test_drift_and_entropy_are_those_of_the_tuned_policy(model: PopulationModel, elites: list[Agent]) -> None:
    batch = lessons(model, len(elites))
    tuned, agent = trained(model, elites, batch, passes=4).tuned[2], elites[2]
    prompts, kl, doubt = model.prompts(ACTIONS), [], []
    texts = {tuple(row): text for row, text in zip(prompts.rows(OBSERVATIONS), OBSERVATIONS, strict=True)}
    for k in range(DECISIONS):
        text = texts[tuple(batch.ids[2, k, : batch.lengths[2, k]].tolist())]
        old, new = (log_probs(model, agent, adapter, text) for adapter in (agent.adapter, tuned.adapter))
        kl.append(float((old.exp() * (old - new)).sum()))
        doubt.append(float(-(new.exp() * new).sum()))
    assert tuned.kl == pytest.approx(np.mean(kl), abs=1e-5)
    assert tuned.kl > 1e-4
    assert tuned.entropy == pytest.approx(np.mean(doubt), abs=1e-5)


def test_good_decisions_become_likelier_and_bad_ones_rarer(model: PopulationModel, elites: list[Agent]) -> None:
    batch = make_batch(LIVED, np.ones(len(LIVED)), np.ones((4, DECISIONS), np.int64), model.prompts(ACTIONS))
    advantage = torch.tensor([1.0, -1.0, 1.0, 0.0])[:, None].expand(4, DECISIONS)
    training = trained(model, elites, replace(batch, advantage=advantage), passes=4)
    before, after = (
        np.array(
            [float(log_probs(model, agent, one, OBSERVATIONS[1])[EAT]) for agent, one in zip(elites, of, strict=True)]
        )
        for of in ([agent.adapter for agent in elites], [tuned.adapter for tuned in training.tuned])
    )
    assert (np.sign((after - before).round(4)) == [1, -1, 1, 0]).all()
    assert_same(training.tuned[3].adapter, elites[3].adapter, atol=0)  # nothing to learn: not a bit moves


@pytest.mark.parametrize("rows", [1, 10_000])
def test_rows_at_once_change_no_result(model: PopulationModel, elites: list[Agent], usual: Training, rows: int) -> None:
    other = trained(model, elites, lessons(model, len(elites)), rows_at_once=rows)
    for one, two in zip(usual.tuned, other.tuned, strict=True):
        assert_same(one.adapter, two.adapter, atol=1e-5)
        assert one.loss == pytest.approx(two.loss, abs=1e-5)


def test_the_same_chance_gives_the_same_bits(model: PopulationModel, elites: list[Agent], usual: Training) -> None:
    batch = lessons(model, len(elites))
    again, otherwise = (trained(model, elites, batch, seed) for seed in (1, 2))
    first, second, other = ([t.adapter.digest() for t in training.tuned] for training in (usual, again, otherwise))
    assert first == second
    assert first != other


def test_an_adapter_that_starts_at_the_base_learns(model: PopulationModel, elites: list[Agent]) -> None:
    newborn = [replace(agent, adapter=initial_adapter(agent.adapter.spec, 0)) for agent in elites]
    batch = lessons(model, len(newborn))
    step = trained(model, newborn, batch, passes=1, batch=DECISIONS).tuned
    for agent, tuned in zip(newborn, step, strict=True):
        assert not tuned.adapter.is_zero()
        for name in tuned.adapter.spec.modules:  # B = 0 hides A from the first gradient
            assert torch.equal(tuned.adapter.a[name], agent.adapter.a[name])
    later = trained(model, newborn, batch, passes=3, batch=DECISIONS).tuned
    assert all(not torch.equal(t.adapter.a[n], agent.adapter.a[n]) for t in later for n in t.adapter.spec.modules)
    assert all(tuned.kl > 0 for tuned in later)


def test_layers_without_adapters_are_passed_over(folder: Path) -> None:
    model = population_model(folder, targets=("down_proj",))  # the first layer's keys depend on no adapter
    elites = agents(model.lora_spec(rank=2, alpha=2.0))[:2]
    batch = lessons(model, 2)
    usual, other = trained(model, elites, batch), trained(model, elites, batch, rows_at_once=1)
    for one, two, agent in zip(usual.tuned, other.tuned, elites, strict=True):
        assert one.adapter.digest() != agent.adapter.digest()
        assert_same(one.adapter, two.adapter, atol=1e-5)


def test_what_training_costs_is_counted(model: PopulationModel, elites: list[Agent]) -> None:
    batch = lessons(model, len(elites))
    training = trained(model, elites, batch, passes=3, batch=DECISIONS, rows_at_once=1000)
    prefixes, once = model.prompts(ACTIONS).prefixes([agent.strategy for agent in elites]), 0.0
    for pair in (slice(0, 2), slice(2, 4)):  # 16 rows go together, padded no further than they need
        stack, own = AdapterStack.of([agent.adapter for agent in elites[pair]]), batch.of(pair)
        prefix, width = model.read(stack, prefixes[pair]), int(own.lengths.max())
        once += model.forward.read_flops(prefix) + model.forward.flops(prefix, own.rows * width, own.rows)
    assert training.cost.flops == pytest.approx(once * (1 + 3 * 2 + 1))  # score, three times forth and back, score
    assert training.cost.seconds > 0
    assert training.explained == 0.5
    assert [tuned.effective_share for tuned in training.tuned] == [1.0] * 4


def test_half_precision_models_are_trained_in_full_precision(folder: Path) -> None:
    model = population_model(folder, dtype="bfloat16")
    elites = agents(model.lora_spec(rank=4, alpha=8.0))[:2]
    for tuned, agent in zip(trained(model, elites, lessons(model, 2)).tuned, elites, strict=True):
        assert tuned.accepted
        assert tuned.adapter.digest() != agent.adapter.digest()
        assert all(factor.dtype == torch.float32 for factor in tuned.adapter.b.values())


def test_nobody_to_train_is_refused(model: PopulationModel, elites: list[Agent]) -> None:
    with pytest.raises(AdapterError, match="expected at least one to stack, got none"):
        trained(model, [], lessons(model, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"passes": 0}, "passes: expected an integer of at least 1, got 0"),
        ({"batch": 2.5}, r"batch: expected an integer of at least 1, got 2\.5"),
        ({"rows_at_once": True}, "rows_at_once: expected an integer of at least 1, got True"),
        ({"learning_rate": float("inf")}, "learning_rate: expected a finite number above 0, got inf"),
        ({"clip_norm": float("nan")}, "clip_norm: expected a number above 0, got nan"),
        ({"largest_drift": 0.0}, r"largest_drift: expected a number above 0, got 0\.0"),
        ({"weight_decay": -0.1}, r"weight_decay: expected a number of at least 0, got -0\.1"),
        ({"least_entropy": -1.0}, r"least_entropy: expected a number of at least 0, got -1\.0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TrainerConfig(**fields)
