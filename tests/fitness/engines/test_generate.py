"""Writing: the tokens are the network's own, whoever shares the batch; stop words, limits and ends hold."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model

from fitness.agent import Agent
from fitness.audit import audit
from fitness.engines.base import Decisions, Engine, Request, Written
from fitness.engines.config import PopulationEngineConfig, WorkerEngineConfig
from fitness.engines.population import PopulationEngine
from fitness.engines.scripted import ScriptedEngine
from fitness.engines.worker import Work, WorkerEngine
from fitness.environments.forage.config import ForageConfig
from fitness.errors import ConfigError, EngineError
from fitness.model import ModelConfig, PopulationModel
from fitness.records import Answers
from fitness.rollout import roll_out
from tests.fitness.models import ACTIONS, OBSERVATIONS, STRATEGIES, agents, population_model, save_tiny

PROMPTS = [*STRATEGIES, *OBSERVATIONS]
REQUESTS = [Request(prompt=text, limit=12, seed=i, temperature=0.8) for i, text in enumerate(PROMPTS)]


@pytest.fixture(scope="module", params=["llama auto", "llama huggingface", "qwen3 auto"])
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> PopulationModel:
    family, forward = request.param.split()
    return population_model(save_tiny(tmp_path_factory.mktemp(family), family), forward)


@pytest.fixture(scope="module")
def engine(model: PopulationModel) -> PopulationEngine:
    engine = PopulationEngine(model, action_names=ACTIONS)
    engine.seat(agents(model.lora_spec(rank=4, alpha=8.0)))
    return engine


def encoded(model: PopulationModel, text: str) -> torch.Tensor:
    return torch.tensor([model.base.tokenizer(text, add_special_tokens=False)["input_ids"]])


def greedy(network: torch.nn.Module, ids: torch.Tensor, limit: int) -> list[int]:
    """Write with transformers' own loop."""
    made = network.generate(ids, do_sample=False, max_new_tokens=limit, attention_mask=torch.ones_like(ids))  # type: ignore[operator]
    return list(made[0, ids.shape[1] :].tolist())


def test_greedy_is_what_transformers_writes(model: PopulationModel, engine: PopulationEngine) -> None:
    written = engine.generate([Request(prompt=text, limit=16, temperature=0.0) for text in PROMPTS])
    for text, tokens in zip(PROMPTS, written.tokens, strict=True):
        assert list(tokens) == greedy(model.base.network, encoded(model, text), 16)


def test_log_probabilities_are_those_of_a_whole_forward(model: PopulationModel, engine: PopulationEngine) -> None:
    written = engine.generate(REQUESTS)
    for request, tokens, log_probs in zip(REQUESTS, written.tokens, written.log_probabilities, strict=True):
        read = encoded(model, request.prompt)
        ids = torch.cat([read, torch.tensor([tokens])], dim=1)
        with torch.no_grad():
            logits = model.base.network(ids).logits[0, read.shape[1] - 1 : -1]
        whole = torch.log_softmax(logits / request.temperature, dim=-1).gather(1, torch.tensor(tokens)[:, None])
        np.testing.assert_allclose(log_probs, whole[:, 0].numpy(), atol=1e-4)


def test_company_changes_no_text(engine: PopulationEngine) -> None:
    requests = [replace(r, seat=i % 7 if i % 7 < 6 else None) for i, r in enumerate(REQUESTS)]
    together = engine.generate(requests)
    backward = engine.generate(requests[::-1])
    assert together.tokens == backward.tokens[::-1]
    for i, request in enumerate(requests):
        alone = engine.generate([request])
        assert (alone.texts[0], alone.tokens[0], alone.ends[0]) == (
            together.texts[i],
            together.tokens[i],
            together.ends[i],
        )
        np.testing.assert_allclose(alone.log_probabilities[0], together.log_probabilities[i], atol=1e-4)


def test_a_seat_lends_its_adapter(engine: PopulationEngine, tmp_path: Path) -> None:
    """Against PEFT's own generation, from the file format that both know."""
    model, agent = engine.model, engine._agents[2]
    spec = agent.adapter.spec
    config = LoraConfig(r=spec.rank, lora_alpha=int(spec.alpha), target_modules=list(spec.modules))
    fresh = population_model(Path(model.base.config.name), "llama")
    tuned = get_peft_model(fresh.base.network, config)
    for name in spec.modules:
        layer = tuned.get_submodule(f"base_model.model.{name}")
        layer.lora_A["default"].weight.data.copy_(agent.adapter.a[name])
        layer.lora_B["default"].weight.data.copy_(agent.adapter.b[name])
    tuned.eval()
    written = engine.generate(
        [Request(prompt=t, seat=s, limit=10, temperature=0.0) for t in PROMPTS for s in (2, None)]
    )
    for i, text in enumerate(PROMPTS):
        ids = encoded(model, text)
        made = tuned.generate(input_ids=ids, do_sample=False, max_new_tokens=10, attention_mask=torch.ones_like(ids))[
            0, ids.shape[1] :
        ]
        assert list(written.tokens[2 * i]) == made.tolist()
    assert written.tokens[::2] != written.tokens[1::2]


def test_seeds_draw_from_the_distribution(engine: PopulationEngine) -> None:
    first = engine.generate([Request(prompt=PROMPTS[0], limit=1, seed=seed) for seed in range(600)])
    drawn = [tokens[0] for tokens in first.tokens]
    known = {token: np.exp(logs[0]) for token, logs in zip(drawn, (x for x in first.log_probabilities), strict=True)}
    likeliest = max(known, key=lambda token: known[token])
    assert drawn.count(likeliest) / 600 == pytest.approx(known[likeliest], abs=4 * np.sqrt(known[likeliest] / 600))
    assert len(known) > 20


def test_stop_words_are_cut_off_and_tokens_kept(engine: PopulationEngine) -> None:
    whole = engine.generate([replace(REQUESTS[0], limit=40)])
    stop = whole.texts[0][7:9]
    place = whole.texts[0].find(stop)
    cut = engine.generate([replace(REQUESTS[0], limit=40, stops=("no such words", stop))])
    assert (cut.texts[0], cut.ends[0]) == (whole.texts[0][:place], "stop")
    count = len(cut.tokens[0])
    assert cut.tokens[0] == whole.tokens[0][:count]
    assert stop in engine.model.base.tokenizer.decode(cut.tokens[0])
    assert stop not in engine.model.base.tokenizer.decode(cut.tokens[0][:-1])


@pytest.mark.parametrize("limit", [1, 5])
def test_limits_hold(engine: PopulationEngine, limit: int) -> None:
    written = engine.generate([replace(request, limit=limit) for request in REQUESTS])
    assert all(len(tokens) <= limit for tokens in written.tokens)
    assert all(
        end == "limit"
        for tokens, end in zip(written.tokens, written.ends, strict=True)
        if len(tokens) == limit and end != "eos"
    )


def test_the_models_own_end_ends_a_text(model: PopulationModel, engine: PopulationEngine) -> None:
    written = engine.generate([replace(REQUESTS[1], limit=6)])
    own = model.base.network.generation_config
    before, own.eos_token_id = own.eos_token_id, written.tokens[0][2]
    try:
        ended = engine.generate([replace(REQUESTS[1], limit=6)])
    finally:
        own.eos_token_id = before
    assert ended.ends == ("eos",)
    assert ended.tokens[0] == written.tokens[0][: written.tokens[0].index(written.tokens[0][2]) + 1]


def test_a_prompt_that_fills_the_model_leaves_no_room(engine: PopulationEngine) -> None:
    long = engine.generate([Request(prompt="eat " * 1000), Request(prompt="eat", limit=2)])
    assert (long.texts[0], long.tokens[0], long.ends[0]) == ("", (), "limit")
    assert len(long.tokens[1]) == 2


def test_writing_is_counted(engine: PopulationEngine) -> None:
    before = engine.usage
    written = engine.generate([Request(prompt=PROMPTS[0], limit=3, temperature=0.0)])
    after = engine.usage
    assert after.written_tokens - before.written_tokens == len(written.tokens[0]) == 3
    network = engine.model.base.network
    linears = sum(p.numel() for n, p in network.named_parameters() if n.endswith("proj.weight"))
    tokens, steps = written.prompt_tokens[0] + 2, 3
    spent = 2.0 * (linears * tokens + network.lm_head.weight.numel() * steps)
    assert after.forward_flops - before.forward_flops == spent
    assert after.decisions == before.decisions


def test_writing_leaves_deciding_as_it_was(engine: PopulationEngine) -> None:
    seats, texts, luck = np.arange(6), list(OBSERVATIONS[:1]) * 6, np.linspace(0, 0.9, 6)
    before = engine.decide(seats, texts, luck).log_probabilities
    engine.generate([replace(request, seat=1) for request in REQUESTS])
    np.testing.assert_array_equal(engine.decide(seats, texts, luck).log_probabilities, before)


def test_an_empty_seat_is_refused(engine: PopulationEngine) -> None:
    with pytest.raises(EngineError, match="seat: expected a number below 6, the agents seated, got 6"):
        engine.generate([Request(prompt="x", seat=6)])
    assert engine.generate([]) == Written((), (), (), (), ())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, "prompt: expected a text"),
        ({"limit": 0}, "limit: expected an integer of at least 1"),
        ({"stops": ["a", ""]}, "stops: expected words"),
        ({"temperature": -1.0}, "temperature: expected a number of at least 0"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"seat": -1}, "seat: expected an integer of at least 0"),
    ],
)
def test_requests_check_their_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Request(**{"prompt": "x", **fields})  # type: ignore[arg-type]


def uniform(strategy: str, observation: str) -> Sequence[float]:
    return (0.5, 0.5)


def echo(request: Request) -> str:
    return f"{request.prompt} once more. And {request.seed}"


def test_a_scripted_writer_obeys_stops_and_limits() -> None:
    engine: Engine = ScriptedEngine(uniform, echo)
    written = engine.generate(
        [Request(prompt="a b"), Request(prompt="a b", stops=("And", ".")), Request(prompt="a b", limit=3)]
    )
    assert written.texts == ("a b once more. And 0", "a b once more", "a b once")
    assert written.ends == ("eos", "stop", "limit")
    assert engine.usage.written_tokens == sum(map(len, written.tokens)) == 6 + 6 + 3


def test_an_engine_that_only_chooses_says_so() -> None:
    with pytest.raises(EngineError, match="expected one that can write, got ScriptedEngine"):
        ScriptedEngine(uniform).generate([Request(prompt="x")])


class Talker(ScriptedEngine):
    """Answers in words that nobody can read."""

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        sums = -uniforms[:, None].astype(np.float32)
        answers = Answers.of([(int(seat), 9) for seat in seats], [(-u, -0.0) for u in uniforms], [False] * len(seats))
        return Decisions(np.ones(len(seats), np.int64), sums, np.full(len(seats), 3), answers)

    def decide_again(
        self, agents: Sequence[Agent], observations: Sequence[str], tokens: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        return np.array([[-sum(one)] for one in tokens or ()], np.float32)


def test_a_worker_passes_texts_through() -> None:
    requests = [Request(prompt="caf\u00e9\x00", stops=("And",), seed=3), Request(prompt="b", limit=2)]
    there = WorkerEngine(Work(partial(Talker, uniform, echo), seconds=30.0))
    seats, texts, luck = np.array([2, 0]), ["a", "b"], np.array([0.1, 1 / 3])
    try:
        here, decided = (engine.decide(seats, texts, luck) for engine in (Talker(uniform), there))
        assert decided.answers is not None
        for found, expected in ((decided, here), (decided.answers, here.answers)):
            for name, values in vars(expected).items():
                if name != "answers":
                    np.testing.assert_array_equal(getattr(found, name), values)
        assert there.decide_again([], [], [(1, 2), (4,)]).tolist() == [[-3.0], [-4.0]]
        assert there.generate(requests) == ScriptedEngine(uniform, echo).generate(requests)
        assert there.usage.written_tokens == 5 + 2
    finally:
        there.close()


@pytest.mark.slow
def test_the_population_engine_writes_the_same_there(tmp_path: Path) -> None:
    config, env = ModelConfig(name=str(save_tiny(tmp_path / "base", "llama"))), ForageConfig().make(1)
    words = PopulationEngineConfig(mode="generate", limit=3)
    here = words.build(config, env)
    there = WorkerEngineConfig(engine=words).build(config, env)
    population = agents(here.model.lora_spec(4, 8.0))[:2]
    requests = [replace(request, seat=place) for request, place in zip(REQUESTS, (0, 1, None), strict=False)]
    here.seat(population)
    there.seat(population)
    try:
        assert here.generate(requests) == there.generate(requests)
        lives = [roll_out(engine, ForageConfig(horizon=5), population, np.arange(2)) for engine in (here, there)]
        audit(there, population, lives[1])
        answers = [one.transitions.answers for one in lives]
        assert answers[0].tokens.tolist() == answers[1].tokens.tolist()  # type: ignore[union-attr]
    finally:
        there.close()
