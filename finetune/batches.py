"""Transitions -> training batches: which decisions each agent is trained on.

Owns the choice and the tokens. What was written is trained on as the tokens that were sampled; nothing is ever encoded
again, for another way to cut the same text into tokens is not what the agent did. Does not own what a decision is worth
(`finetune.values`) or the loss (`finetune.losses`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
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
    """int64 [P, n, T] tokens of each observation and of the answer to it if there is one, padded on the right."""
    lengths: Tensor
    """int64 [P, n] of them that are no padding."""
    taken: Tensor
    """int64 [P, n] index, among what policies give log-probabilities of, of what was done: the action taken, or 0."""
    behaviour: Tensor
    """float32 [P, n] log-probability of what was done when it was, by whoever did it."""
    advantage: Tensor
    """float32 [P, n] worth of the decision, in standard deviations."""
    weight: Tensor
    """float32 [P, n] how much the decision counts, for methods that know it beforehand; 1 for all others."""
    written: Tensor | None = None
    """int64 [P, n] last tokens of each row that are the answer; None where agents chose among actions' names."""
    worth: Tensor | None = None
    """float32 [P, n, A] of every action, in standard deviations, for methods that judge what was not done as well."""
    usual: Tensor | None = None
    """float32 [P, n, A] log-probability of every action as the population does it, for methods that ask."""

    def __len__(self) -> int:
        """Return n, the decisions of each agent."""
        return self.ids.shape[1]

    @property
    def rows(self) -> int:
        """Return P x n."""
        return self.lengths.numel()

    def of(self, agents: slice) -> "Batch":
        """Return the decisions of neighbouring agents, as views."""
        return self._each(lambda tensor: tensor[agents])

    def part(self, columns: Tensor | slice) -> "Batch":
        """Return the decisions at `columns` of every agent, padded no further than they need."""
        part = self._each(lambda tensor: tensor[:, columns])
        return replace(part, ids=part.ids[:, :, : int(part.lengths.max())])

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, do: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with something done to every tensor."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return Batch(**{name: do(tensor) for name, tensor in tensors.items() if tensor is not None})


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
    read, taken, written = _rows(transitions.observation[chosen].tolist(), prompts), transitions.action[chosen], None
    if transitions.answers is not None:
        said = transitions.answers.tokens[chosen].tolist()
        read = [[[*row, *one] for row, one in zip(*pair, strict=True)] for pair in zip(read, said, strict=True)]
        taken, written = np.zeros_like(taken), torch.tensor([[len(one) for one in some] for some in said])
    ids, lengths = pad_rows(read)
    return Batch(
        ids,
        lengths,
        torch.from_numpy(taken.astype(np.int64)),
        torch.from_numpy(transitions.log_probability[chosen]),
        torch.from_numpy((advantage[chosen] / spread).astype(np.float32)),
        torch.ones(chosen.shape),
        written,
    )


def to_read(observed: Sequence[Sequence[str]], prompts: Prompts) -> Batch:
    """Return n observations for each of P agents as a batch in which nothing is done, for agents to be looked at."""
    ids, lengths = pad_rows(_rows(observed, prompts))
    nothing = torch.zeros(lengths.shape)
    return Batch(ids, lengths, torch.zeros_like(lengths), nothing, nothing, nothing)


def _rows(observed: Sequence[Sequence[str]], prompts: Prompts) -> list[list[list[int]]]:
    """Return the tokens of n observations for each of P agents; every distinct text is encoded once."""
    distinct = list(dict.fromkeys(chain.from_iterable(observed)))
    rows = dict(zip(distinct, prompts.rows(distinct), strict=True))
    return [[rows[text] for text in texts] for texts in observed]
