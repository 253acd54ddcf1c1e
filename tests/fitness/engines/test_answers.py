"""Deciding in words: tokens are drawn from the network's own distribution, read strictly and kept as drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, Gemma2Config

from fitness.adapter import save_adapter
from fitness.agent import Agent
from fitness.engines.answers import Wording
from fitness.engines.base import Decisions
from fitness.engines.config import PopulationEngineConfig, Sayings
from fitness.engines.population import PopulationEngine
from fitness.errors import ConfigError
from fitness.model import PopulationModel
from fitness.records import Answers
from tests.fitness.models import ACTIONS, OBSERVATIONS, SMALL, agents, population_model, save_network, save_tiny

IDLE = ACTIONS.index("rest")
WORDING = Wording(names=ACTIONS, idle=IDLE, limit=4, stops=(" ", "\n", ".", ","))
SEATS = np.array([0, 1, 2, 3, 4, 5, 0, 0, 3])
TEXTS = [OBSERVATIONS[i % 5] for i in range(len(SEATS))]
LUCK = np.linspace(0.05, 0.95, len(SEATS))


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    place = tmp_path_factory.mktemp("base")
    return (
        save_tiny(place, "llama")
        if request.param == "llama"
        else save_network(place, Gemma2Config, **SMALL, head_dim=8)
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> PopulationModel:
    return population_model(folder)


def seated(model: PopulationModel, **knobs: object) -> PopulationEngine:
    engine = PopulationEngine(model, action_names=ACTIONS, wording=replace(WORDING, **knobs))
    engine.seat(population(model))
    return engine


def population(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(rank=4, alpha=8.0))


def answers(decided: Decisions) -> Answers:
    assert decided.answers is not None
    return decided.answers


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (" eat", "eat"), ("eat", "eat"), ("\n  Eat, for I hunger", "eat"), ("EAST.", "east"), ("drink drink", "drink"),
        ("rest\ufffd", "rest"), ("", None), ("  ", None), ("eats", None), ("eat2", None), ("ea", None), ("I eat", None),
        (" -eat", None), ("'eat'", None), ("n\u00f6rth", None),
    ],
)  # fmt: skip
def test_the_first_word_is_an_actions_name_or_nothing_is_read(text: str, action: str | None) -> None:
    assert WORDING.read(text) == (None if action is None else ACTIONS.index(action))


def test_log_probabilities_are_those_of_plain_peft_on_the_prompt_of_choosing(
    folder: Path, model: PopulationModel, tmp_path: Path
) -> None:
    """Prompt tokens and sampled tokens in one unpadded forward; the whole vocabulary; each agent's temperature."""
    decided, prompts = seated(model).decide(SEATS, TEXTS, LUCK), model.prompts(ACTIONS)
    for seat, agent in enumerate(population(model)):
        save_adapter(agent.adapter, tmp_path / str(seat), str(folder))
        peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(tmp_path / str(seat))).eval()
        for i in np.flatnonzero(seat == SEATS):
            prompt = prompts.prefixes([agent.strategy])[0] + prompts.rows([TEXTS[i]])[0]
            said, told = answers(decided).tokens[i], answers(decided).log_probabilities[i]
            with torch.no_grad():
                logits = peft(input_ids=torch.tensor([[*prompt, *said]]), use_cache=False).logits[0]
            scores = torch.log_softmax(logits[len(prompt) - 1 : -1] / agent.temperature, dim=-1)
            np.testing.assert_allclose(told, scores[torch.arange(len(said)), list(said)].numpy(), atol=1e-4)
            assert decided.taken[i] == pytest.approx(sum(told), abs=1e-5)
            assert decided.prompt_tokens[i] == len(prompt)


def test_company_changes_no_answer(model: PopulationModel) -> None:
    engine = seated(model)
    together, backward = engine.decide(SEATS, TEXTS, LUCK), engine.decide(SEATS[::-1], TEXTS[::-1], LUCK[::-1])
    assert backward.actions.tolist() == together.actions[::-1].tolist()
    for i in range(len(SEATS)):
        alone = engine.decide(SEATS[i : i + 1], TEXTS[i : i + 1], LUCK[i : i + 1])
        for other in (answers(backward)[np.array([len(SEATS) - 1 - i])], answers(alone)):
            assert other.tokens[0] == answers(together).tokens[i]
            np.testing.assert_allclose(other.log_probabilities[0], answers(together).log_probabilities[i], atol=1e-4)


def test_first_tokens_follow_the_distribution(model: PopulationModel) -> None:
    engine = seated(model, limit=1)
    decided = engine.decide(np.zeros(600, np.int64), TEXTS[:1] * 600, (np.arange(600) + 0.5) / 600)
    drawn = [said[0] for said in answers(decided).tokens]
    chance = dict(zip(drawn, np.exp(decided.taken).tolist(), strict=True))
    likeliest = max(chance, key=lambda token: chance[token])
    spread = 4 * np.sqrt(chance[likeliest] / 600)
    assert drawn.count(likeliest) / 600 == pytest.approx(chance[likeliest], abs=spread)
    assert len(chance) > 20


def test_what_cannot_be_read_is_the_idle_action_and_said_to_be_unreadable(model: PopulationModel) -> None:
    count = 400
    decided = seated(model, limit=2).decide(np.arange(count) % 6, TEXTS[:1] * count, np.linspace(0, 0.999, count))
    tokenizer, readable = model.base.tokenizer, answers(decided).readable
    texts = [tokenizer.decode(said) for said in answers(decided).tokens]
    assert 0 < readable.sum() < count
    assert set(decided.actions[~readable]) == {IDLE}
    named = zip(
        decided.actions[readable], (text for text, read in zip(texts, readable, strict=True) if read), strict=True
    )
    assert all(text.strip().lower().startswith(ACTIONS[action]) for action, text in named)


def test_a_stop_word_ends_an_answer_and_its_token_is_kept(model: PopulationModel) -> None:
    long, short = (
        answers(seated(model, limit=24, stops=stops).decide(SEATS, TEXTS, LUCK)) for stops in ((), WORDING.stops)
    )
    ended = 0
    for whole, cut in zip(long.tokens, short.tokens, strict=True):
        assert cut == whole[: len(cut)]
        if len(cut) < len(whole):
            before, after = (model.base.tokenizer.decode(cut[:n]).lstrip() for n in (-1, len(cut)))
            assert any(stop in after for stop in WORDING.stops)
            assert not any(stop in before for stop in WORDING.stops)
            ended += 1
    assert ended


def test_answers_are_scored_again_as_the_tokens_that_were_sampled(model: PopulationModel) -> None:
    """Among them are such as the tokenizer would cut otherwise, whose own log-probability is another one."""
    decided, six = seated(model).decide(np.arange(6), TEXTS[:6], LUCK[:6]), population(model)
    engine, said = seated(model), answers(decided).tokens.tolist()
    np.testing.assert_allclose(engine.decide_again(six, TEXTS[:6], said)[:, 0], decided.taken, atol=1e-4)
    recut = [model.base.tokenizer(model.base.tokenizer.decode(one))["input_ids"] for one in said]
    other = [i for i, one in enumerate(recut) if one != list(said[i])]
    assert other
    assert (np.abs(engine.decide_again(six, TEXTS[:6], recut)[:, 0] - decided.taken)[other] > 1e-2).all()


def test_half_as_many_go_together_where_memory_is_short(
    model: PopulationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, engine, score = seated(model).decide(SEATS, TEXTS, LUCK), seated(model), model.next_logits

    def greedy(prefix, ids, lengths):  # type: ignore[no-untyped-def]
        if lengths.numel() > 2:
            torch.empty(1 << 60)
        return score(prefix, ids, lengths)

    monkeypatch.setattr(model, "next_logits", greedy)
    assert answers(engine.decide(SEATS, TEXTS, LUCK)).tokens.tolist() == answers(whole).tokens.tolist()
    assert engine.row_chunk == 2


def test_answers_are_counted(model: PopulationModel) -> None:
    engine = seated(model, limit=1)
    before = engine.usage
    read = engine.decide(SEATS[:1], TEXTS[:1], LUCK[:1])
    spent = engine.usage.forward_flops - before.forward_flops
    choosing = PopulationEngine(model, action_names=ACTIONS)
    choosing.seat(population(model))
    reading = choosing.usage.forward_flops
    choosing.decide(SEATS[:1], TEXTS[:1], LUCK[:1])
    head = model.base.network.get_output_embeddings().weight.numel()
    assert spent == choosing.usage.forward_flops - reading + 2 * head
    assert engine.usage.written_tokens == len(answers(read).tokens[0]) == 1


def test_an_environment_must_name_its_idle_action() -> None:
    with pytest.raises(ConfigError, match=r"engine\.mode: expected choose, since the environment names no action"):
        Wording.of(Sayings(ACTIONS, "", ""), 8, ())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "generat"}, "mode: expected one of choose, generate, got 'generat' .did you mean 'generate'"),
        ({"limit": 0}, "limit: expected an integer of at least 1"),
        ({"stops": ("a", "")}, "stops: expected words, got an empty one"),
    ],
)
def test_the_config_checks_its_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PopulationEngineConfig(**fields)  # type: ignore[arg-type]
