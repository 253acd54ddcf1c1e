"""TRL's own trainers come to the same losses and gradients as ours, with the same policy and on the same lives.

Both have the organism. In TRL's copy the head says nothing but actions, so that its distribution over the vocabulary is
an agent's over the named actions. Every life is one text, in which an observation is the one before and what was done
there: its actions are a completion of as many tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from finetune.losses import of_taken
from finetune.methods.base import Lesson, Method
from finetune.methods.dpo import TrajectoryPreference
from finetune.methods.grpo import GroupRelative
from finetune.methods.rejection import Rejection
from finetune.policies import Policies
from fitness.adapter import Adapter, AdapterStack, save_adapter
from fitness.agent import Agent
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER
from tests.finetune.lives import Life, record
from tests.fitness.models import ACTIONS, agents, random_adapter

Row = tuple[list[int], list[int]]
"""Tokens that were read, and tokens of what was done."""


def told(agent: int, seed: int, beginning: str, done: str, *, died: bool = True) -> Life:
    """Return a life whose observations say what was done before."""
    names = done.split()
    seen = [" ".join([beginning, *names[:step]]) for step in range(len(names))]
    return Life(agent, seed, seen, [ACTIONS.index(name) for name in names], [(0.5, 0.5)] * len(names), died)


LIVES = (
    told(10, 7, "red 1 east ->", "east eat rest north"),  # worth 3
    told(11, 7, "red 1 east ->", "west drink"),  # 1
    told(12, 7, "red 1 east ->", "east eat drink"),  # 2
    told(10, 9, "day. wolf 2 north ->", "rest"),  # 0
    told(11, 9, "day. wolf 2 north ->", "south south drink", died=False),  # 3
    told(12, 9, "day. wolf 2 north ->", "south rest"),  # 1
)
WORLDS = [{"prompt": "", "worth": worth} for worth in (3, 1, 2, 0, 3, 1)]
BEST = (0, 2, 4)
"""The half that was worth most beside others in its world."""
DECISIONS = sum(len(life.actions) for life in LIVES)
LONGEST = 5
"""Actions of a life that TRL expects, at most; "dr_grpo" divides by it."""
PAIRS = ((0, 1), (0, 2), (2, 1), (4, 3), (4, 5), (5, 3))
"""Better and worse lives of one world."""
PLAIN: dict[str, Any] = {
    "bf16": False, "use_cpu": True, "activation_checkpointing": False, "per_device_train_batch_size": len(LIVES),
    "report_to": "none", "save_strategy": "no",
}  # fmt: skip
NEVER = -1e4
"""What is added to the logits of all tokens but actions: their chance is exactly 0."""


@pytest.fixture(scope="module")
def model() -> PopulationModel:
    return PopulationModel(load_base_model(ModelConfig(name="organism", suffix="")))


@pytest.fixture(scope="module")
def before(model: PopulationModel) -> list[Agent]:
    """Two agents with strategies, adapters and temperatures of their own."""
    return agents(model.lora_spec(4, 8.0))[:2]


@pytest.fixture(scope="module")
def after(before: list[Agent]) -> list[Agent]:
    """The same after some training."""
    return [replace(agent, adapter=nudged(agent.adapter, i)) for i, agent in enumerate(before)]


def nudged(adapter: Adapter, seed: int) -> Adapter:
    """Move the up factors a little."""
    noise = random_adapter(adapter.spec, 100 + seed, size=0.02).b
    return replace(adapter, b={name: factor + noise[name] for name, factor in adapter.b.items()})


@dataclass(frozen=True)
class Ours:
    """What our trainer's first step would see."""

    losses: Tensor
    gradient: AdapterStack


def ours(model: PopulationModel, before: Sequence[Agent], after: Sequence[Agent], made: Lesson) -> Ours:
    """Score the lesson with the agents as they were, and go both ways with them as they are."""
    prompts = model.prompts(ACTIONS)
    start = Policies(model, prompts, before, 256).log_probs(made.batch)
    policies = Policies(model, prompts, after, 256)
    losses = policies.backward(made.batch, start, made.loss, joint=made.block > 1)
    assert policies.weights.grad is not None
    return Ours(losses, policies.stack.of_rows(policies.weights.grad, slice(None)))


def lesson(method: Method, model: PopulationModel, people: Sequence[Agent]) -> Lesson:
    return method.prepare(people, record(LIVES), model.prompts(ACTIONS), np.random.default_rng(0))


def rows(model: PopulationModel, agent: Agent) -> list[Row]:
    """Return every life as an agent reads it."""
    prompts = model.prompts(ACTIONS)
    (prefix,) = prompts.prefixes([agent.strategy])
    found = []
    for life in LIVES:
        done = [prompts.actions[action] for action in life.actions]
        first, *later = prompts.rows(life.observations)
        assert later == [first + done[: step + 1] for step in range(len(later))]
        found.append(([*prefix, *first], done))
    return found


def policy(model: PopulationModel, agent: Agent, place: Path, temperature: float) -> PeftModel:
    """Return an agent for TRL: the organism with its adapter, which can say nothing but actions."""
    network = AutoModelForCausalLM.from_pretrained(FOLDER)
    weight = network.lm_head.weight.detach() / temperature
    network.lm_head = torch.nn.Linear(*reversed(weight.shape))
    network.lm_head.weight.data = weight
    network.lm_head.bias.data = torch.full(weight.shape[:1], NEVER)
    network.lm_head.bias.data[list(model.prompts(ACTIONS).actions)] = 0
    save_adapter(agent.adapter, place, str(FOLDER))
    return PeftModel.from_pretrained(network, str(place), is_trainable=True)


def factors(peft: PeftModel) -> dict[tuple[str, str], torch.nn.Parameter]:
    """Return the trained factors by module and side, "a" or "b"."""
    found = {}
    for name, parameter in peft.named_parameters():
        module, _, kind = name.removeprefix("base_model.model.").partition(".lora_")
        if kind.endswith(".default.weight"):
            found[module, kind[0].lower()] = parameter
    return found


def move(trainer: Any, agent: Agent) -> None:
    """Put an agent's adapter in the place of the trained one; TRL keeps the one that it was made with as reference."""
    for (module, side), factor in factors(trainer.model).items():
        factor.data.copy_(getattr(agent.adapter, side)[module])


def assert_same(trainer: Any, batch: Any, found: Ours, place: int, scale: float = 1.0) -> None:
    """Check one agent's loss and gradient against TRL's, which are `scale` times as large."""
    trainer.model.train().zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert scale * float(found.losses[place]) == pytest.approx(float(loss.detach()), abs=1e-5)
    theirs = factors(trainer.model)
    assert {module for module, _ in theirs} == set(found.gradient.a)
    for (module, side), factor in theirs.items():
        mine = scale * getattr(found.gradient, side)[module][place]
        assert float(factor.grad.norm()) > 1e-4
        assert float((mine - factor.grad).norm() / factor.grad.norm()) < 1e-4, (module, side)


def batch_of(trainer: Any) -> Any:
    """Return all that a trainer was given, as it makes it ready."""
    return next(iter(trainer.get_train_dataloader()))


def test_imitating_the_best_is_sft(model: PopulationModel, before: list[Agent], tmp_path: Path) -> None:
    found = ours(model, before, before, lesson(Rejection(share=0.5), model, before))
    for i, agent in enumerate(before):
        told = [row for life, row in enumerate(rows(model, agent)) if life in BEST]
        data = [{"input_ids": p + c, "completion_mask": [0] * len(p) + [1] * len(c)} for p, c in told]
        trainer = SFTTrainer(
            policy(model, agent, tmp_path / str(i), agent.temperature),
            SFTConfig(str(tmp_path), **PLAIN, max_length=None, completion_only_loss=True),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(FOLDER),
        )
        assert_same(trainer, batch_of(trainer), found, i)


class Prepared(DPOTrainer):
    """Takes rows that are tokens already, without an end that no agent says."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def test_preference_over_sums_is_dpo(
    model: PopulationModel, before: list[Agent], after: list[Agent], tmp_path: Path
) -> None:
    made = lesson(TrajectoryPreference(pairs=99, steps=4, length="sum", imitate=0.0, beta=0.3), model, before)
    assert len(made.batch) == made.block * len(PAIRS)
    found, at_start = ours(model, before, after, made), ours(model, before, before, made)
    for i, agent in enumerate(before):
        told = rows(model, agent)
        data = [{"prompt_ids": told[b][0], "chosen_ids": told[b][1], "rejected_ids": told[w][1]} for b, w in PAIRS]
        trainer = Prepared(
            policy(model, agent, tmp_path / str(i), agent.temperature),
            args=DPOConfig(str(tmp_path), **PLAIN, max_length=None, beta=0.3),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(FOLDER),
        )
        batch = batch_of(trainer)
        assert_same(trainer, batch, at_start, i)
        move(trainer, after[i])
        assert_same(trainer, batch, found, i)
        assert abs(float(found.losses[i]) - np.log(2)) > 1e-3


def grpo(model: PopulationModel, agent: Agent, place: Path, loss: str, sampler: str) -> Any:
    """Return TRL's trainer as in its first step; it replays the lives instead of generating."""
    told = rows(model, agent)

    def replay(prompts: list[str], trainer: Any) -> dict[str, Any]:
        chances = [[-float(np.log(len(ACTIONS)))] * len(done) for _, done in told]  # as recorded
        return {"prompt_ids": [read for read, _ in told], "completion_ids": [d for _, d in told], "logprobs": chances}

    trainer = GRPOTrainer(
        policy(model, agent, place, 1.0),
        reward_funcs=lambda completions, worth, **_: worth,
        args=GRPOConfig(
            str(place), **PLAIN, loss_type=loss, temperature=agent.temperature, scale_rewards="none", beta=0.0,
            epsilon=0.2, epsilon_high=0.28, num_generations=3, num_iterations=2, steps_per_generation=1,
            max_completion_length=LONGEST, vllm_importance_sampling_mode="token_truncate",
            vllm_importance_sampling_clip_max=2.0,
        ),
        train_dataset=Dataset.from_list(WORLDS),
        processing_class=AutoTokenizer.from_pretrained(FOLDER),
        rollout_func=replay,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    if sampler == "another":  # whom TRL corrects for only where it was vLLM
        trainer.use_vllm, trainer._last_loaded_step = True, trainer.state.global_step
    trainer.model.train()
    return trainer


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func':UserWarning")
@pytest.mark.parametrize(
    ("loss", "unit", "scale", "sampler"),
    [
        ("dapo", "decisions", 1.0, "itself"),
        ("grpo", "lives", 1.0, "itself"),
        ("dr_grpo", "decisions", DECISIONS / (len(LIVES) * LONGEST), "itself"),
        ("dapo", "decisions", 1.0, "another"),
    ],
)
def test_worlds_as_groups_are_grpo(
    loss: str, unit: str, scale: float, sampler: str, model: PopulationModel, before: list[Agent], after: list[Agent],
    tmp_path: Path,
) -> None:  # fmt: skip
    made = lesson(GroupRelative(unit=unit), model, before)
    if sampler == "itself":
        start = Policies(model, model.prompts(ACTIONS), before, 256).log_probs(made.batch)
        made = replace(made, batch=replace(made.batch, behaviour=of_taken(start, made.batch.taken)))
    found, at_start = ours(model, before, after, made), ours(model, before, before, made)
    for i, agent in enumerate(before):
        trainer = grpo(model, agent, tmp_path / str(i), loss, sampler)
        batch = trainer._generate_and_score_completions(WORLDS)
        if sampler == "another":
            assert float(batch["importance_sampling_ratio"].max()) == 2.0  # capped
        assert_same(trainer, batch, at_start, i, scale)
        move(trainer, after[i])
        assert_same(trainer, batch, found, i, scale)
        assert 0 < trainer._metrics["train"]["clip_ratio/region_mean"][-1] < 1
