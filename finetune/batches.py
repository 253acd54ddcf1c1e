"""Transitions -> training batches: which decisions each agent is trained on.

Owns the choice and the tokens. Does not own what a decision is worth (`finetune.values`) or the loss
(`finetune.losses`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitness.model import Prompts, pad_rows
from fitness.records import Transitions


@dataclass(frozen=True)
class Batch:
    """n decisions for each of P agents. Every agent sees them under its own strategy.

    Example: `ids[2, 5]` is the sixth observation that agent 2 is trained on, `taken[2, 5]` the action taken there.
    """

    ids: Tensor
    """int64 [P, n, T] observation tokens, padded on the right."""
    lengths: Tensor
    """int64 [P, n] tokens of each observation."""
    taken: Tensor
    """int64 [P, n] index of the action taken."""
    behaviour: Tensor
    """float32 [P, n] log-probability of that action when it was taken, by whoever took it."""
    advantage: Tensor
    """float32 [P, n] worth of the decision, in standard deviations."""
    weight: Tensor
    """float32 [P, n] how much the decision counts, for methods that know it beforehand; 1 for all others."""

    def __len__(self) -> int:
        """Return n, the decisions of each agent."""
        return self.ids.shape[1]

    @property
    def rows(self) -> int:
        """Return P x n."""
        return self.lengths.numel()

    def of(self, agents: slice) -> "Batch":
        """Return the decisions of neighbouring agents, as views."""
        return Batch(**{field.name: getattr(self, field.name)[agents] for field in fields(self)})

    def part(self, columns: Tensor | slice) -> "Batch":
        """Return the decisions at `columns` of every agent, padded no further than they need."""
        width = int(self.lengths[:, columns].max())
        return Batch(
            self.ids[:, columns, :width], self.lengths[:, columns], self.taken[:, columns],
            self.behaviour[:, columns], self.advantage[:, columns], self.weight[:, columns],
        )  # fmt: skip

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def informative(advantage: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the indices of the `share` of decisions with the largest absolute advantage, in order."""
    count = max(1, round(share * len(advantage)))
    return np.sort(np.argsort(-np.abs(advantage), kind="stable")[:count])


def choose(
    pool: NDArray[np.int64], agent: NDArray[np.int64], ids: Sequence[int], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return indices [P, n] into the transitions: each agent's own decisions of the pool first, then others'.

    Args:
        pool: decisions worth training on.
        agent: [m] who took each decision of the transitions.
        ids: the P agents to train.
        most: n at most; fewer where the pool is smaller.
        rng: chooses among the others' decisions, and among its own where there are too many.
    """
    count = min(most, len(pool))
    chosen = []
    for one in ids:
        shuffled = rng.permutation(pool)
        own = agent[shuffled] == one
        chosen.append(np.concatenate([shuffled[own], shuffled[~own]])[:count])
    return np.stack(chosen)


def make_batch(
    transitions: Transitions, advantage: NDArray[np.float64], chosen: NDArray[np.int64], prompts: Prompts
) -> Batch:
    """Turn the chosen decisions [P, n] into tensors.

    Advantages are divided by their standard deviation over all m decisions and not centred: none changes its sign.
    """
    spread = max(float(advantage.std()), 1e-6)
    read = to_read(transitions.observation[chosen].tolist(), prompts)
    return Batch(
        read.ids,
        read.lengths,
        torch.from_numpy(transitions.action[chosen].astype(np.int64)),
        torch.from_numpy(transitions.log_probability[chosen]),
        torch.from_numpy((advantage[chosen] / spread).astype(np.float32)),
        torch.ones(chosen.shape),
    )


def to_read(observed: Sequence[Sequence[str]], prompts: Prompts) -> Batch:
    """Return n observations for each of P agents as a batch in which nothing is done, for agents to be looked at."""
    distinct = list(dict.fromkeys(chain.from_iterable(observed)))
    rows = dict(zip(distinct, prompts.rows(distinct), strict=True))
    ids, lengths = pad_rows([[rows[text] for text in texts] for texts in observed])
    nothing = torch.zeros(lengths.shape)
    return Batch(ids, lengths, torch.zeros_like(lengths), nothing, nothing, nothing)
