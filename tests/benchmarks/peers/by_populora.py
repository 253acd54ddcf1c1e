"""Decisions and training by populora: a `Population` around Hugging Face's own model.

A routed forward (`individuals=` or `all_individuals=True`) runs rows grouped by adapter, with the adapters' products as
one einsum per layer: populora's one way to run many adapters at once. Some individuals at a time go through it, since
activations that leave the processor's cache cost more than the additional calls.
"""

from pathlib import Path
from typing import Any

import torch
from job import Job, left_padded
from populora import Population
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, DynamicCache

_ROWS = 32
"""Rows of one forward, in whole individuals: of 8 to 256, the best with kept strategies, among the best without."""


def population(job: Job, *, requires_grad: bool = False) -> Population:
    """Return a population of the job's adapters; populora knows no alpha, so the up matrices carry the scaling."""
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32).eval().requires_grad_(False)
    config = job.config()
    modules, scaling = sorted(job.factors(0)[0]), config["lora_alpha"] / config["r"]
    made = Population(
        model,
        pop_size=len(job.adapters),
        low_rank=config["r"],
        lora_targets=modules,
        requires_grad=requires_grad,
    )
    for index in range(len(job.adapters)):
        down, up = job.factors(index)
        package = {
            "weight_down": {name.replace(".", "_"): factor.T for name, factor in down.items()},
            "weight_up": {name.replace(".", "_"): factor * scaling for name, factor in up.items()},
        }
        made.load_individual(package, index)
    return made


def route(individuals: list[int], count: int) -> dict[str, Any]:
    """Return how to tell populora whose rows come; the whole population has a way of its own that copies nothing."""
    everyone = individuals == list(range(count))
    return {"all_individuals": True} if everyone else {"individuals": torch.tensor(individuals)}


class Decisions:
    """Whole prompts, strategy and all, as populora's own examples would run them."""

    def __init__(self, folder: Path) -> None:
        self.job = Job(folder)
        self.told = self.job.told
        self.population = population(self.job)
        self.actions = torch.tensor(self.told["actions"])
        self.chunks = self._chunks()

    def prepare(self) -> None:
        """Nothing is kept from run to run."""

    @torch.inference_mode()
    def work(self) -> list[list[float]]:
        """Return the actions' log-probabilities for every decision."""
        out = torch.empty(len(self.told["prompts"]), len(self.actions))
        for position, (individuals, rows) in enumerate(self.chunks):
            logits = self._logits(position, individuals, rows)
            out[rows] = torch.log_softmax(logits[:, -1, self.actions], dim=-1)
        return out.tolist()

    def _logits(self, position: int, individuals: list[int], rows: list[int]) -> Tensor:
        ids, mask = left_padded([self.told["prompts"][row] for row in rows])
        return self._forward(individuals, ids, mask, use_cache=False, logits_to_keep=1).logits

    def _forward(self, individuals: list[int], ids: Tensor, mask: Tensor, **options: Any) -> Any:
        """Run rows of some individuals; `mask` may be wider than `ids` by what is cached. No padding needs no mask."""
        if not bool(mask.all()):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            options |= {"attention_mask": mask, "position_ids": positions}
        whose = route(individuals, self.population.pop_size)
        return self.population(input_ids=ids, eval_and_no_grad=True, **whose, **options)

    def _chunks(self) -> list[tuple[list[int], list[int]]]:
        """Return (individuals, rows grouped by individual, equally many of each); short groups repeat a row."""
        groups: dict[int, list[int]] = {}
        for row, seat in enumerate(self.told["seats"]):
            groups.setdefault(seat, []).append(row)
        size = max(map(len, groups.values()))
        seats, at_once = sorted(groups), max(1, _ROWS // size)
        full = {seat: rows + rows[:1] * (size - len(rows)) for seat, rows in groups.items()}
        parts = [seats[first : first + at_once] for first in range(0, len(seats), at_once)]
        return [(part, [row for seat in part for row in full[seat]]) for part in parts]


class KeptDecisions(Decisions):
    """The strategies' keys and values are kept in Hugging Face's cache, which populora passes through: its fastest."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept = [self._read(*chunk) for chunk in self.chunks]

    @torch.inference_mode()
    def _read(self, individuals: list[int], rows: list[int]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Return keys and values of every layer, and the mask, of each row's strategy."""
        lengths = self.told["strategy_lengths"]
        ids, mask = left_padded([self.told["prompts"][row][: lengths[row]] for row in rows])
        cache = self._forward(individuals, ids, mask, past_key_values=DynamicCache(), use_cache=True).past_key_values
        return [(layer.keys, layer.values) for layer in cache.layers], mask

    def _logits(self, position: int, individuals: list[int], rows: list[int]) -> Tensor:
        layers, known = self.kept[position]
        lengths = self.told["strategy_lengths"]
        ids, mask = left_padded([self.told["prompts"][row][lengths[row] :] for row in rows])
        cache = DynamicCache(layers)
        both = torch.cat([known, mask], dim=1)
        return self._forward(individuals, ids, both, past_key_values=cache, use_cache=True, logits_to_keep=1).logits


class Training:
    """One step of AdamW for the whole population: the stacked factors are parameters, and one optimizer holds them."""

    def __init__(self, folder: Path) -> None:
        self.job = Job(folder)
        self.told = self.job.told
        self.population = population(self.job, requires_grad=True)
        self.factors = [*self.population.weight_down.values(), *self.population.weight_up.values()]
        self.start = [factor.detach().clone() for factor in self.factors]

    @torch.no_grad()
    def prepare(self) -> None:
        """Put the adapters back to where they began."""
        for factor, start in zip(self.factors, self.start, strict=True):
            factor.copy_(start)
            factor.grad = None

    def work(self) -> list[float]:
        """Take one step, gradients gathered over some individuals at a time, and return everyone's loss before it."""
        optimizer = torch.optim.AdamW(self.factors, lr=self.told["learning_rate"], weight_decay=0.0)
        count = self.population.pop_size
        at_once = max(1, _ROWS // len(self.told["rows"][0]))
        losses = []
        for first in range(0, count, at_once):
            individuals = list(range(first, min(first + at_once, count)))
            part = self._losses(individuals, route(individuals, count))
            part.sum().backward()
            losses += part.tolist()
        optimizer.step()
        return losses

    def _losses(self, individuals: list[int], whose: dict[str, Any]) -> Tensor:
        """Return each individual's mean loss on its rows."""
        ids, mask = left_padded([row for i in individuals for row in self.told["rows"][i]])
        options: dict[str, Any] = {} if bool(mask.all()) else {"attention_mask": mask}
        logits = self.population(input_ids=ids, use_cache=False, logits_to_keep=1, **whose, **options).logits[:, -1]
        labels = torch.tensor([label for i in individuals for label in self.told["labels"][i]])
        return cross_entropy(logits, labels, reduction="none").reshape(len(individuals), -1).mean(dim=1)


class LoopTraining(Training):
    """As populora's own fine-tuning of elites goes: an individual at a time, plain gradient steps, clamped weights.

    That loop (`rl_finetune_elites_`) is bound to environments with continuous actions, so its step is taken over here
    with the job's loss; its rollouts and its check for improvement are left out.
    """

    def work(self) -> list[float]:
        """Take one step for each and return everyone's loss before its step."""
        losses = []
        for index in range(self.population.pop_size):
            self.population.zero_grad(set_to_none=True)
            loss = self._losses([index], {"individual": index})[0]
            loss.backward()
            self._step(index)
            losses.append(loss.item())
        return losses

    @torch.no_grad()
    def _step(self, index: int) -> None:
        for factor in self.factors:
            if factor.grad is not None:
                factor.data[index].sub_(self.told["learning_rate"] * factor.grad[index])
            factor.data[index].clamp_(-8.0, 8.0)
