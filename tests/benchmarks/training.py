"""One optimisation step for P adapters: ours for all at once, against PEFT, TRL and populora, one after another.

Gradients are those of PEFT (`tests/finetune/test_policies.py`); here only time is measured.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from finetune.batches import Batch
from finetune.optimizer import PopulationAdamW
from finetune.policies import Policies
from fitness.adapter import save_adapter
from fitness.agent import Agent
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER
from tests.benchmarks.decisions import Tokens
from tests.benchmarks.findings import Finding, faster, tell
from tests.benchmarks.peers import Peer, available
from tests.benchmarks.peers.jobs import TrainingJob, write_job
from tests.benchmarks.settings import ACTIONS, random_adapters, random_tokens
from tests.benchmarks.timing import Turn, race, timed

ROW, RANK, RATE = 64, 16, 1e-4
PEFT, TRL = "PEFT, one by one", "TRL SFTTrainer, one by one"
POPULORA, POPULORA_LOOP = "populora, stacked", "populora's loop"


@dataclass(frozen=True)
class Case:
    """How much is trained on in one step."""

    agents: int
    rows: int
    strategy: int = 1
    """Tokens that an agent's rows begin with alike; the rows have `ROW` tokens beside."""

    def name(self) -> str:
        """Return a short description."""
        rows = "a row" if self.rows == 1 else f"{self.rows} rows"
        told = f" and a strategy of {self.strategy}" if self.strategy > 1 else ""
        return f"train: {self.agents} adapters x {rows} of {ROW} tokens{told}"

    @property
    def targets(self) -> dict[str, float]:
        """Return the least ratios."""
        least = 4.0 if self.agents == 32 and self.rows == 1 else 1.0
        return {PEFT: least, TRL: least, POPULORA: 1.0, POPULORA_LOOP: 1.0}


CASES = [Case(p, n) for p in (32, 8, 1) for n in (1, 8)] + [Case(32, 8, 64), Case(8, 32, 64)]


def measure(repeats: int) -> list[Finding]:
    """Measure every case."""
    found = []
    for case in CASES:
        tell(case.name())
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            contest = Contest(case, Path(place))
            rivals = {"ours": contest.in_a_run, PEFT: timed(contest.peft)} | contest.peers(stack)
            seconds = race(rivals, repeats)
            found += faster(case.name(), "steps/s", 1, seconds, case.targets)
    return found


class Contest:
    """All ways to one step."""

    def __init__(self, case: Case, place: Path) -> None:
        self.case, self.place = case, place
        self.model = PopulationModel(load_base_model(ModelConfig(name="organism")))
        self.adapters = random_adapters(self.model.lora_spec(RANK, float(RANK)), case.agents)
        self.told = random_tokens(case.agents, case.strategy, seed=1)
        own = ROW if case.strategy > 1 else ROW - case.strategy
        self.rows = torch.tensor(random_tokens(case.agents, case.rows, own, seed=2))
        self.policies, self.batch = self._policies(), self._batch()
        self.optimizer = PopulationAdamW(self.policies.weights, torch.full((case.agents,), RATE))
        self.plain = [self._trainable(i) for i in range(case.agents)]

    def in_a_run(self) -> float:
        """Time one step for all, with the cores dealt out as they are all through a run."""
        with self.model.for_a_run():
            return timed(self.ours)()

    def ours(self) -> None:
        """Make one step for all."""
        self.policies.backward(self.batch, self.start, _likelihood)
        self.optimizer.step(torch.ones(self.case.agents, dtype=torch.bool))

    def peft(self) -> None:
        """Make one step for each, with a model of its own."""
        whole = torch.cat([torch.tensor(self.told)[:, None].expand(-1, self.case.rows, -1), self.rows], dim=2)
        for (model, parameters, optimizer), ids in zip(self.plain, whole, strict=True):
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1, list(ACTIONS)]
            torch.log_softmax(logits, dim=-1)[:, 0].neg().mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def peers(self, stack: ExitStack) -> dict[str, Turn]:
        """Return the rivals of other packages, where they are installed; they know rows, but no strategies."""
        if not available() or self.case.strategy > 1:
            return {}
        whole = torch.cat([torch.tensor(self.told)[:, None].expand(-1, self.case.rows, -1), self.rows], dim=2)
        labels = [[ACTIONS[0]] * self.case.rows] * self.case.agents
        job = TrainingJob(rows=whole.tolist(), labels=labels, learning_rate=RATE)
        folder, turns = write_job(self.place / "job", FOLDER, self.adapters, job), {}
        for name, rival in {TRL: "trl", POPULORA: "populora-train", POPULORA_LOOP: "populora-loop"}.items():
            peer = stack.enter_context(Peer())
            peer.load(rival, folder)
            turns[name] = peer.run
        return turns

    def _policies(self) -> Policies:
        p = self.model.prompts(("eat", "drink", "rest"))
        prompts = Tokens(
            p.tokenizer, "", "", tuple(map(str, ACTIONS)), ACTIONS, (), p.vocabulary, told=self.told, seen=()
        )
        agents = [Agent(id=i, strategy=str(i), adapter=adapter) for i, adapter in enumerate(self.adapters)]
        return Policies(self.model, prompts, agents, rows_at_once=256)

    def _batch(self) -> Batch:
        shape = self.rows.shape[:2]
        self.start, blank = torch.zeros(*shape, len(ACTIONS)), torch.ones(shape)
        lengths, taken = torch.full(shape, self.rows.shape[2]), torch.zeros(shape, dtype=torch.int64)
        return Batch(self.rows, lengths, taken, blank, blank, blank)

    def _trainable(self, index: int) -> tuple[Any, list[Tensor], torch.optim.Optimizer]:
        save_adapter(self.adapters[index], self.place / str(index), str(FOLDER))
        base = AutoModelForCausalLM.from_pretrained(FOLDER)
        model = PeftModel.from_pretrained(base, str(self.place / str(index)), is_trainable=True)
        parameters = [p for p in model.parameters() if p.requires_grad]
        return model, parameters, torch.optim.AdamW(parameters, lr=RATE)


def _likelihood(now: Tensor, start: Tensor, part: Batch) -> Tensor:
    return -now.gather(2, part.taken[..., None]).squeeze(2)
