"""Linear value heads on pooled hidden states: what they say, how they are fitted, how much they explain.

Owns a head's layout: a row [H + 1] for each of P agents, its weights and then its constant. Does not own where states
come from (`fitness.forwards`), how a head is trained further (`finetune.trainer`) or what is screened with one.
"""

import math

import torch
from torch import Tensor

_NARROW = 1e-3
"""A column that varies less than this share of the usual is as good as constant."""


def predicted(heads: Tensor, states: Tensor) -> Tensor:
    """Return values [P, n] of pooled hidden states [P, n, H], by heads [P, H + 1].

    Products are divided by sqrt(H), so that one step of Adam means as much in a wide model as in a narrow one.
    """
    products = (states @ heads[:, :-1, None]).squeeze(2)
    return products / math.sqrt(states.shape[2]) + heads[:, -1:]


def fitted(states: Tensor, target: Tensor, ridge: float = 0.1) -> Tensor:
    """Return heads [P, H + 1] by ridge regression of `target` [P, n] on `states` [P, n, H], in closed form.

    Args:
        states: pooled hidden states; each column is standardised.
        target: what is to be predicted; its mean is not shrunk.
        ridge: penalty on a squared weight, for each decision; above 0, so that there may be fewer decisions than H.
    """
    states, target = states.double(), target.double()
    centre, level = states.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    spread = states.std(dim=1, correction=0, keepdim=True)
    spread = spread.maximum(_NARROW * spread.mean(dim=2, keepdim=True) + 1e-12)
    columns = (states - centre) / spread
    gram = columns.mT @ columns / states.shape[1]
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    along = columns.mT @ (target - level)[..., None] / states.shape[1]
    slope = torch.linalg.solve(gram, along).mT / spread
    constant = level - (slope * centre).sum(dim=2)
    return torch.cat([slope.squeeze(1) * math.sqrt(states.shape[2]), constant], dim=1).float()


def explained_share(value: Tensor, target: Tensor) -> float:
    """Return the share of the variance of `target` [P, n] that `value` [P, n] explains, mean over agents."""
    rest, whole = ((target - value).var(dim=1, correction=0), target.var(dim=1, correction=0))
    return float((1 - rest / whole.clamp(min=torch.finfo(whole.dtype).tiny)).mean())
