"""Decisions per second: our engine, PEFT, the bare base model, populora, vLLM, and the machine's own limit.

Every rival gives the log-probabilities of the same actions after the same prompts, and all must agree. The engine is
the real one, seated and asked as in a run; random tokens take the place of texts.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from fitness.adapter import save_adapter
from fitness.agent import Agent
from fitness.engines.population import PopulationEngine
from fitness.model import ModelConfig, PopulationModel, Prompts, load_base_model
from tests.benchmarks.findings import Finding, faster, tell
from tests.benchmarks.peers import Peer, available
from tests.benchmarks.peers.jobs import DecisionJob, write_job
from tests.benchmarks.settings import (
    ACTIONS,
    Network,
    left_padded,
    matmul_flops,
    networks,
    random_adapters,
    random_tokens,
)  # fmt: skip
from tests.benchmarks.timing import Turn, race, timed

STRATEGY, OBSERVATION, EPISODES, TOGETHER = 64, 48, 8, 32
"""Tokens of a strategy and of an observation, episodes of an agent, prompts per forward of the Hugging Face rivals."""
MIXED, LOOP, BASE, BASE_KEPT = "PEFT mixed batch", "PEFT set_adapter loop", "bare base", "bare base, strategies kept"
VLLM, VLLM_TUNED, LIMIT = "vLLM", "vLLM tuned", "matmul limit"
POPULORA, POPULORA_KEPT = "populora", "populora, strategies kept"
TARGETS = {MIXED: 4.0, VLLM: 20.0, BASE_KEPT: 0.95, LIMIT: 0.5}
"""At 32 agents with all their episodes alive."""
_AGREE = 1e-3

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Who decides how often."""

    agents: int
    rank: int
    ragged: bool = False
    """Whether most episodes are over: one in seven is left, and some agents have none."""

    def seats(self) -> NDArray[np.int64]:
        """Return the agent of each decision, sorted."""
        everyone = np.repeat(np.arange(self.agents), EPISODES)
        if not self.ragged:
            return everyone
        return np.sort(np.random.default_rng(0).choice(everyone, len(everyone) // 7, replace=False))

    def name(self, network: Network) -> str:
        """Return a short description."""
        left = ", most dead" if self.ragged else ""
        return f"act: {network.name}, {self.agents} agents, rank {self.rank}{left}"


CASES = [Case(p, r) for r in (16, 4) for p in (1, 8, 32, 128)] + [Case(32, 16, ragged=True)]


@dataclass(frozen=True, kw_only=True)
class Tokens(Prompts):
    """Prompts of random tokens: a text is the number of what it stands for."""

    told: Sequence[Sequence[int]]
    seen: Sequence[Sequence[int]]

    def prefixes(self, strategies: Sequence[str]) -> list[list[int]]:
        return [list(self.told[int(text)]) for text in strategies]

    def rows(self, observations: Sequence[str]) -> list[list[int]]:
        return [list(self.seen[int(text)]) for text in observations]


def measure(repeats: int) -> list[Finding]:
    """Measure every case on every network."""
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as place:
        for network in networks(Path(place)):
            for case in CASES:
                tell(case.name(network))
                with tempfile.TemporaryDirectory() as own, ExitStack() as stack:
                    found += Contest(network, case, Path(own), stack).findings(repeats)
    return found


class Contest:
    """All ways to the decisions of one case."""

    def __init__(self, network: Network, case: Case, place: Path, stack: ExitStack) -> None:
        self.network, self.case, self.place, self.stack = network, case, place, stack
        self.seats = case.seats()
        self.told = random_tokens(case.agents, STRATEGY, seed=1)
        self.seen = random_tokens(len(self.seats), OBSERVATION, seed=2)
        self.prompts = [self.told[seat] + row for seat, row in zip(self.seats.tolist(), self.seen, strict=True)]
        self.model = PopulationModel(load_base_model(ModelConfig(name=str(network.folder))))
        self.adapters = random_adapters(self.model.lora_spec(case.rank, float(case.rank)), case.agents)
        self.engine = self._engine()
        self.base: Any = AutoModelForCausalLM.from_pretrained(network.folder).eval()
        self.peft = self._peft()

    def findings(self, repeats: int) -> list[Finding]:
        """Check that all agree, then measure."""
        ours = self._ours()
        for name, do in {MIXED: self._mixed, LOOP: self._loop, BASE_KEPT: self._base_kept}.items():
            expected = self._whole(self.base) if name == BASE_KEPT else ours
            _check(name, do(), expected)
        rivals: dict[str, Turn] = {"ours": timed(self._in_a_run(self._ours)), MIXED: timed(self._mixed)}
        rivals |= {LOOP: timed(self._loop), BASE: timed(lambda: self._whole(self.base))}
        rivals |= {BASE_KEPT: timed(self._base_kept)} | self._peers(ours)
        seconds = race(rivals, repeats)
        seconds[LIMIT] = self._flops() / matmul_flops()
        promised = self.case.agents == 32 and not self.case.ragged
        return faster(
            self.case.name(self.network), "decisions/s", len(self.seats), seconds, TARGETS if promised else {}
        )

    def _in_a_run(self, do: Callable[[], object]) -> Callable[[], object]:
        """Return `do` with the cores dealt out as a run has them."""

        def within() -> None:
            with self.model.for_a_run():
                do()

        return within

    def _engine(self) -> PopulationEngine:
        engine = PopulationEngine(self.model, action_names=("eat", "drink", "rest"))
        p = engine.prompts
        engine.prompts = Tokens(
            p.tokenizer, "", "", tuple(map(str, ACTIONS)), ACTIONS, (), p.vocabulary, told=self.told, seen=self.seen
        )
        engine.seat([Agent(id=i, strategy=str(i), adapter=adapter) for i, adapter in enumerate(self.adapters)])
        return engine

    def _ours(self) -> Scores:
        texts = list(map(str, range(len(self.seats))))
        return self.engine.decide(self.seats, texts, np.full(len(texts), 0.5)).log_probabilities.astype(np.float64)

    def _flops(self) -> float:
        """Return what the tokens that must be computed cost."""
        before = self.engine.usage.forward_flops
        self._ours()
        return self.engine.usage.forward_flops - before

    def _peft(self) -> Any:
        for i, adapter in enumerate(self.adapters):
            save_adapter(adapter, self.place / f"agent{i}", str(self.network.folder))
        base = AutoModelForCausalLM.from_pretrained(self.network.folder)
        model = PeftModel.from_pretrained(base, str(self.place / "agent0"), adapter_name="agent0")
        for i in range(1, len(self.adapters)):
            model.load_adapter(str(self.place / f"agent{i}"), adapter_name=f"agent{i}")
        return model.eval()

    def _mixed(self) -> Scores:
        return self._whole(self.peft, named=True)

    def _whole(self, network: Any, named: bool = False) -> Scores:
        """Run whole prompts, some at a time; `named` tells PEFT whose adapter each prompt wants."""
        out = []
        for first in range(0, len(self.seats), TOGETHER):
            part = slice(first, first + TOGETHER)
            options = {"adapter_names": [f"agent{seat}" for seat in self.seats[part]]} if named else {}
            out.append(_last(network, left_padded(self.prompts[part]), **options))
        return np.concatenate(out)

    def _loop(self) -> Scores:
        """Switch PEFT to each agent in turn and run its prompts."""
        out = []
        for seat in np.unique(self.seats):
            self.peft.set_adapter(f"agent{seat}")
            rows = [self.prompts[i] for i in np.flatnonzero(self.seats == seat)]
            out.append(_last(self.peft, left_padded(rows)))
        return np.concatenate(out)

    def _base_kept(self) -> Scores:
        """Run only the observations through the base model, with Hugging Face's cache of the strategies."""
        out = []
        for first in range(0, len(self.seats), TOGETHER):
            part = slice(first, first + TOGETHER)
            whose = torch.as_tensor(self.seats[part])
            cache = DynamicCache()
            for layer, (keys, values) in enumerate(self._strategies()):
                cache.update(keys[whose], values[whose], layer)
            ids = torch.tensor(self.seen[part])
            places = torch.arange(STRATEGY, STRATEGY + OBSERVATION).expand(len(ids), -1)
            out.append(_last(self.base, {"input_ids": ids, "position_ids": places}, past_key_values=cache))
        return np.concatenate(out)

    def _strategies(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return each layer's keys and values of all strategies, read once."""
        if not hasattr(self, "_read"):
            with torch.inference_mode():
                cache = self.base(input_ids=torch.tensor(self.told), use_cache=True).past_key_values
            self._read = [(layer.keys, layer.values) for layer in cache.layers]
        return self._read

    def _peers(self, ours: Scores) -> dict[str, Turn]:
        """Return the rivals of other packages, where they are installed and the case is of a size that ends."""
        if not available() or self.case.agents > 32 or self.case.rank != 16 or self.case.ragged:
            return {}
        job = DecisionJob(
            prompts=self.prompts,
            strategy_lengths=[STRATEGY] * len(self.seats),
            seats=self.seats.tolist(),
            actions=list(ACTIONS),
        )
        folder, turns = write_job(self.place / "job", self.network.folder, self.adapters, job), {}
        for name, rival in {
            VLLM: "vllm-plain", VLLM_TUNED: "vllm", POPULORA: "populora", POPULORA_KEPT: "populora-kept",
        }.items():  # fmt: skip
            peer = self.stack.enter_context(Peer(tuned=rival != "vllm-plain"))
            peer.load(rival, folder)
            peer.run()
            _check(name, peer.result(), ours)
            turns[name] = peer.run
        return turns


@torch.inference_mode()
def _last(network: Any, inputs: dict[str, torch.Tensor], **options: Any) -> Scores:
    """Return the actions' log-probabilities at the last position."""
    logits = network(**inputs, logits_to_keep=1, **options).logits[:, -1, list(ACTIONS)]
    return torch.log_softmax(logits.float(), dim=-1).numpy().astype(np.float64)


def _check(name: str, found: Scores, expected: Scores) -> None:
    """Raise unless a rival did the same work."""
    apart = float(np.abs(found - expected).max())
    if not apart < _AGREE:
        raise AssertionError(f"{name}: expected log-probabilities within {_AGREE}, got a difference of {apart}")
