"""Token in, token out: what agents said in words is trained on as it was sampled, by every method that can."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from finetune.batches import Batch, make_batch
from finetune.learners import Learner
from finetune.losses import of_taken
from finetune.methods.advantage_weighted import AdvantageWeighted
from finetune.methods.base import Lesson, imitate
from finetune.methods.return_conditioned import ReturnConditioned
from finetune.policies import Policies
from finetune.trainer import tune, tune_each
from finetune.trainer_config import TrainerConfig
from fitness.adapter import save_adapter
from fitness.agent import Agent
from fitness.audit import audit
from fitness.engines.answers import Wording
from fitness.engines.population import PopulationEngine
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.world import ACTIONS
from fitness.errors import EngineError
from fitness.model import PopulationModel
from fitness.records import Answers, Transitions
from fitness.rollout import Lives, roll_out
from tests.finetune.methods.test_contract import NAMES, method
from tests.fitness.models import agents, population_model, random_adapter, save_tiny

FOREST = ForageConfig(horizon=12)
SEEDS = np.arange(3)
GENTLE = TrainerConfig(learning_rate=1e-3, batch=16, largest_drift=100.0, least_entropy=0.0)
METHODS = {name: replace(method(name), trainer=GENTLE) for name in NAMES} | {
    weighting: AdvantageWeighted(weighting=weighting, share=0.5, decisions=24, trainer=GENTLE)
    for weighting in ("clipped", "exponential")
}
COMPARING = {"advantage_weighted", "distillation", "distil_best", "improvement", "return_regression"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base"), "llama")


@pytest.fixture(scope="module")
def model(folder: Path) -> PopulationModel:
    return population_model(folder)


@pytest.fixture(scope="module")
def population(model: PopulationModel) -> list[Agent]:
    """Three agents with adapters of different ranks, none of them zero, and different temperatures."""
    specs = [model.lora_spec(rank, 8.0) for rank in (4, 2, 5)]
    three = zip(agents(specs[0]), specs, strict=False)
    return [replace(agent, adapter=random_adapter(spec, i)) for i, (agent, spec) in enumerate(three)]


@pytest.fixture(scope="module")
def engine(model: PopulationModel) -> PopulationEngine:
    wording = Wording(names=ACTIONS, idle=ACTIONS.index("rest"), limit=4, stops=(" ", "."))
    return PopulationEngine(model, action_names=ACTIONS, wording=wording)


@pytest.fixture(scope="module")
def lives(engine: PopulationEngine, population: list[Agent]) -> Lives:
    return roll_out(engine, FOREST, population, SEEDS)


def said(lived: Transitions) -> Answers:
    assert lived.answers is not None
    return lived.answers


def all_of(engine: PopulationEngine, lived: Transitions, population: Sequence[Agent]) -> Batch:
    """Everybody's own decisions, as many for each."""
    own = [np.flatnonzero(lived.agent == agent.id) for agent in population]
    fewest = min(map(len, own))
    chosen = np.stack([rows[:fewest] for rows in own])
    return make_batch(lived, np.ones(len(lived)), chosen, engine.prompts)


def test_batches_hold_the_tokens_that_were_sampled(
    engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    """The planted tokenizer is a plain one: a byte-level BPE cuts most of what was sampled in another way."""
    lived, tokenizer = lives.transitions, engine.model.base.tokenizer
    recut = [tokenizer(tokenizer.decode(tokens))["input_ids"] for tokens in said(lived).tokens]
    assert np.mean([list(one) != other for one, other in zip(said(lived).tokens, recut, strict=True)]) > 0.2
    batch = all_of(engine, lived, population)
    assert batch.written is not None
    for p, agent in enumerate(population):
        rows = np.flatnonzero(lived.agent == agent.id)[: len(batch)]
        for k, row in enumerate(rows):
            whole = batch.ids[p, k, : batch.lengths[p, k]].tolist()
            read, written = whole[: -int(batch.written[p, k])], whole[-int(batch.written[p, k]) :]
            assert tuple(written) == said(lived).tokens[row]
            assert read == engine.prompts.rows([lived.observation[row]])[0]


def test_training_begins_with_the_log_probabilities_that_were_recorded(
    engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    batch = all_of(engine, lives.transitions, population)
    start = Policies(engine.model, engine.prompts, population, rows_at_once=7).log_probs(batch)
    assert start.shape == (*batch.lengths.shape, 1)
    assert float(start.min()) < -5
    torch.testing.assert_close(of_taken(start, batch.taken), batch.behaviour, atol=1e-4, rtol=0)


@pytest.mark.parametrize("forward", ["llama", "huggingface"])
def test_gradients_are_those_of_plain_peft(
    forward: str, folder: Path, engine: PopulationEngine, lives: Lives, population: list[Agent], tmp_path: Path
) -> None:
    batch = all_of(engine, lives.transitions, population).part(slice(0, 5))
    policies = Policies(population_model(folder, forward), engine.prompts, population, rows_at_once=4)
    losses = policies.backward(batch, policies.log_probs(batch), imitate)
    assert policies.weights.grad is not None
    ours = policies.stack.of_rows(policies.weights.grad, slice(None))
    for p, agent in enumerate(population):
        save_adapter(agent.adapter, tmp_path / str(p), str(folder))
        base = AutoModelForCausalLM.from_pretrained(folder)
        peft = PeftModel.from_pretrained(base, str(tmp_path / str(p)), is_trainable=True).eval()
        loss = -_peft_log_probs(peft, engine, agent, batch.of(slice(p, p + 1))).mean()
        loss.backward()
        assert float(losses[p]) == pytest.approx(float(loss.detach()), abs=1e-4)
        for name, weight in peft.named_parameters():
            if weight.requires_grad:
                module, side = name.removeprefix("base_model.model.").split(".lora_")
                rank = agent.adapter.spec.rank
                found = ours.a[module][p, :rank] if side[0] == "A" else ours.b[module][p, :, :rank]
                torch.testing.assert_close(found, weight.grad, atol=1e-4, rtol=0)


def _peft_log_probs(peft: PeftModel, engine: PopulationEngine, agent: Agent, batch: Batch) -> Tensor:
    """Return the log-probability of each answer: unpadded, one by one, strategy and all."""
    prefix, found = engine.prompts.prefixes([agent.strategy])[0], []
    assert batch.written is not None
    for k in range(len(batch)):
        ids = torch.tensor([prefix + batch.ids[0, k, : batch.lengths[0, k]].tolist()])
        written = int(batch.written[0, k])
        logits = peft(input_ids=ids, use_cache=False).logits[0, -written - 1 : -1]
        scores = torch.log_softmax(logits / agent.temperature, dim=-1)
        found.append(scores.gather(1, ids[0, -written:, None]).sum())
    return torch.stack(found)


def test_those_that_compare_all_actions_say_so_and_refuse(
    engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    assert {name for name, how in METHODS.items() if how.compares_actions} == COMPARING
    for name in COMPARING:
        with pytest.raises(ValueError, match="got answers in words"):
            tune(METHODS[name], engine.model, engine.prompts, population, lives.transitions, np.random.default_rng(0))


def test_a_rank_stands_before_what_is_read_and_the_answer_after_it(
    engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    how, lived = ReturnConditioned(ranks=3), lives.transitions
    batch = how.prepare(population, lived, engine.prompts, np.random.default_rng(0)).batch
    whole = [
        [
            (*row, *tokens)
            for text, tokens in zip(lived.observation, said(lived).tokens, strict=True)
            for row in engine.prompts.rows([f"rank {rank} of 3\n{text}"])
        ]
        for rank in (1, 2, 3)
    ]
    found = [tuple(ids[:length]) for ids, length in zip(batch.ids[0].tolist(), batch.lengths[0].tolist(), strict=True)]
    assert len(found) == len(lived)
    assert [sum(row in set(ranked) for row in found) for ranked in whole] == pytest.approx([len(lived) / 3] * 3, abs=1)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - COMPARING))
def test_all_others_learn_from_what_was_said(
    name: str, engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    how, rng, lived, betas = METHODS[name], np.random.default_rng, lives.transitions, (1.0, 2.0, 0.5)
    lived = replace(lived, reward=lived.reward * (lived.agent - population[0].id))  # some lives are worth more
    lesson = how.prepare_tempered(population, lived, engine.prompts, rng(0), torch.tensor(betas)[:, None])
    learners = [Learner(agent=agent, beta=beta) for agent, beta in zip(population, betas, strict=True)]
    training = tune_each(how, engine.model, engine.prompts, learners, lived, rng(0))
    tuned = [replace(agent, adapter=one.adapter) for agent, one in zip(population, training.tuned, strict=True)]
    before, after = (_loss(engine, lesson, some) for some in (lesson.pupils or population, tuned))
    assert all(one.accepted and 0 <= one.kl < 5 and one.entropy > 1 for one in training.tuned)
    learnt = after < before
    assert learnt.sum() > 1
    torch.testing.assert_close(after[~learnt], before[~learnt])  # whose lives were as good as the mean


def _loss(engine: PopulationEngine, lesson: Lesson, some: Sequence[Agent]) -> Tensor:
    """Return the mean loss [P] of a lesson, with what was recorded as the start."""
    now = Policies(engine.model, engine.prompts, some, rows_at_once=64).log_probs(lesson.batch)
    return lesson.loss(now, lesson.batch.behaviour[..., None], lesson.batch).mean(dim=1)


def test_a_lone_answer_is_read_with_its_strategy_and_learns_the_same(
    engine: PopulationEngine, lives: Lives, population: list[Agent]
) -> None:
    batch = all_of(engine, lives.transitions, population).part(slice(0, 1))
    policies = Policies(engine.model, engine.prompts, population, rows_at_once=64)
    start = policies.log_probs(batch)
    losses = policies.backward(batch, start, imitate)
    torch.testing.assert_close(losses, -start[:, 0, 0], atol=1e-4, rtol=0)


def test_the_audit_scores_the_tokens_again(engine: PopulationEngine, lives: Lives, population: list[Agent]) -> None:
    audit(engine, population, lives)
    tokenizer, answers = engine.model.base.tokenizer, said(lives.transitions)
    recut = [tokenizer(tokenizer.decode(tokens))["input_ids"] for tokens in answers.tokens]
    other = Answers.of(recut, answers.log_probabilities.tolist(), answers.readable.tolist())
    with pytest.raises(EngineError, match="expected every agent to decide again as it was recorded"):
        audit(engine, population, replace(lives, transitions=replace(lives.transitions, answers=other)))


@pytest.mark.fault("an adapter holds NaN, in words", "its agent's episodes fail; its siblings live on")
def test_a_broken_adapter_fails_alone(engine: PopulationEngine, lives: Lives, population: list[Agent]) -> None:
    broken = {name: b * np.nan for name, b in population[1].adapter.b.items()}
    poisoned = replace(population[1], adapter=replace(population[1].adapter, b=broken))
    again = roll_out(engine, FOREST, [population[0], poisoned, population[2]], SEEDS)
    assert (again.episodes.end == "failed").tolist() == (again.episodes.agent == poisoned.id).tolist()
    sound = lives.transitions.agent != poisoned.id
    assert said(again.transitions).tokens.tolist() == said(lives.transitions).tokens[sound].tolist()
