"""Losses as pure functions of log-probabilities: tensors in, one number per agent and decision out.

Owns the formulas. Shapes: P agents, n decisions, A named actions. To add a loss, write a function here and a method
that calls it under `finetune/methods/`. What TRL has too (SFT, DPO, GRPO) is tested to be the same as there, gradients
included.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fitness.errors import ConfigError

_TRUSTED = 2.0
"""Largest weight of an answer in estimates."""
_WARMER = 1.25
"""Factor by which a temperature is raised at a time."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How far one round of training may move a decision's probability.

    Clipping: Schulman et al. 2017, https://arxiv.org/abs/1707.06347; the wider upper side: Yu et al. 2025 (DAPO),
    https://arxiv.org/abs/2503.14476.
    """

    below: float = 0.2
    """The probability may fall to 1 - below of what it was; in (0, 1)."""
    above: float = 0.28
    """The probability may rise to 1 + above of what it was; above 0."""
    importance: float = 2.0
    """Cap of the weight that corrects for who took the decision; above 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.below < 1:
            raise ConfigError(f"below: expected a number between 0 and 1, got {self.below}")
        for name in ("above", "importance"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {getattr(self, name)}")


def of_taken(log_probabilities: Tensor, taken: Tensor) -> Tensor:
    """Return the log-probability [P, n] of the actions taken [P, n], out of [P, n, A]."""
    return log_probabilities.gather(2, taken[..., None]).squeeze(2)


def importance_weights(start: Tensor, behaviour: Tensor, cap: float) -> Tensor:
    """Return min(pi_start / mu, cap) [P, n]: how much a decision that another took counts for this agent.

    Truncated importance sampling: Ionides 2008, https://doi.org/10.1198/106186008X320456.

    Args:
        start: [P, n] log-probability under the agent as training began.
        behaviour: [P, n] log-probability when the decision was taken.
        cap: largest weight.
    """
    return torch.exp(start - behaviour).clamp(max=cap)


def clipped_policy_gradient(now: Tensor, start: Tensor, advantage: Tensor, weight: Tensor, clip: Clip) -> Tensor:
    """Return the clipped surrogate loss [P, n], with the policy at the start of training as the proximal one.

    Decoupled from the policy that took the decision: Hilton et al. 2022, https://arxiv.org/abs/2110.00641.

    Args:
        now: [P, n] log-probability of the action taken, differentiable.
        start: [P, n] the same as training began.
        advantage: [P, n] worth of the decision.
        weight: [P, n] importance weight.
        clip: bounds.
    """
    ratio = torch.exp(now - start)
    bounded = ratio.clamp(1 - clip.below, 1 + clip.above)
    return -weight * torch.minimum(ratio * advantage, bounded * advantage)


def exponential_weights(advantage: Tensor, beta: float | Tensor, cap: float) -> Tensor:
    """Return min(exp(A / beta), cap) normalised to mean 1 per agent [P, n].

    Advantage-weighted regression: Peng et al. 2019, https://arxiv.org/abs/1910.00177. The mean is over all n, so this
    belongs before a batch is cut into pieces.
    """
    weight = torch.exp(advantage / beta).clamp(max=cap)
    return weight / weight.mean(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def weighted_likelihood(now: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted negative log-likelihood [P, n] of the actions taken."""
    return -weight * now


def tilted(start: Tensor, taken: Tensor, advantage: Tensor, beta: float, cap: float) -> Tensor:
    """Return log-probabilities [P, n, A] to aim at: the policy as training began, its action taken times exp(A / beta).

    The target of maximum a posteriori policy optimisation: Abdolmaleki et al. 2018, https://arxiv.org/abs/1806.06920,
    with the factor kept within [1 / cap, cap]. Where the advantage is zero the target is the policy itself.

    Args:
        start: [P, n, A] log-probabilities as training began.
        taken: [P, n] index of the action taken.
        advantage: [P, n] worth of the decision.
        beta: temperature.
        cap: largest factor.
    """
    limit = math.log(cap)
    factor = (advantage / beta).clamp(-limit, limit)
    return (start + torch.zeros_like(start).scatter(2, taken[..., None], factor[..., None])).log_softmax(dim=2)


def effective_share(weight: Tensor) -> Tensor:
    """Return the effective sample size as a share of n, [P]: (sum w)^2 / (n sum w^2) (Kish 1965)."""
    return weight.sum(dim=1) ** 2 / (weight.shape[1] * (weight**2).sum(dim=1)).clamp(min=1e-12)


def kl_divergence(start: Tensor, now: Tensor) -> Tensor:
    """Return KL(start || now) over the named actions, [P, n] from log-probabilities [P, n, A]."""
    return (start.exp() * (start - now)).sum(dim=-1)


def half_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Return (value - target)^2 / 2 [P, n]: the regression of a value head."""
    return (value - target).square() / 2


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy over the named actions in nats, [...] from [..., A]."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)


def sampled_kl_divergence(start: Tensor, now: Tensor, behaviour: Tensor) -> Tensor:
    """Return an estimate of KL(start || now) from what was said [P, n]: at least 0, and 0 where nothing moved.

    The mean of r - 1 - log r with r = now / start, of which what `start` says has the divergence for its mean (Schulman
    2020, http://joschu.net/blog/kl-approx.html), weighted for who said it.

    Args:
        start: [P, n] log-probability of the answer before training.
        now: [P, n] after.
        behaviour: [P, n] when it was said.
    """
    log_ratio = now - start
    return importance_weights(start, behaviour, _TRUSTED) * (torch.expm1(log_ratio) - log_ratio)


def sampled_entropy(now: Tensor, behaviour: Tensor) -> Tensor:
    """Return [P, n] numbers whose mean estimates the entropy of whole answers: -log pi, weighted for who said them.

    Weights have mean 1, so that what has become certain shows as little entropy however seldom it was said before.

    Args:
        now: [P, n] log-probability of the answer.
        behaviour: [P, n] when it was said.
    """
    weight = importance_weights(now, behaviour, _TRUSTED)
    return -weight * now / weight.mean(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def tempered_weights(advantage: Tensor, beta: float, cap: float, least: float) -> Tensor:
    """Return `exponential_weights` [P, n] with each agent's beta raised until the effective share is at least `least`.

    Args:
        advantage: [P, n] worth of the decisions.
        beta: temperature to begin with.
        cap: largest weight before normalisation.
        least: effective share, from 0 (beta stays) to below 1.
    """
    betas = torch.full_like(advantage[:, :1], beta)
    while True:
        weight = exponential_weights(advantage, betas, cap)
        low = effective_share(weight) < least
        if not low.any():
            return weight
        betas[low] *= _WARMER


def regularised_weights(advantage: Tensor, beta: float, cap: float) -> Tensor:
    """Return min(exp(A / beta), cap) [P, n], or, with beta 0, its limit as the critic sees it: 1 where A > 0, else 0.

    Critic-regularised regression: Wang et al. 2020, https://arxiv.org/abs/2006.15134.
    """
    return torch.exp(advantage / beta).clamp(max=cap) if beta else (advantage > 0).to(advantage)


def discounted_positions(steps: Tensor, length: Tensor, discount: float) -> Tensor:
    """Return gamma^t (1 - gamma^(T - t)) / (1 - gamma^T): how much the decision at step t of a life of T counts.

    It falls from 1 at the first step to near 0 at the last, and long lives do not outweigh short ones by their length
    alone. Shi et al. 2024 (DMPO), https://arxiv.org/abs/2406.14868.

    Args:
        steps: t, from 0; any shape.
        length: T, of a shape that fits.
        discount: gamma in (0, 1).
    """
    return discount**steps * (1 - discount ** (length - steps)) / (1 - discount**length)


def preference(now: Tensor, start: Tensor, weight: Tensor, beta: float) -> Tensor:
    """Return -log sigmoid(beta sum_t w_t log(pi_t / pi_start_t)) [P, pairs] of pairs of lives.

    Direct preference optimisation: Rafailov et al. 2023, https://arxiv.org/abs/2305.18290; over lives: Song et al. 2024
    (ETO), https://arxiv.org/abs/2403.02502.

    Args:
        now: [P, pairs, k] log-probabilities of the actions taken in both lives, differentiable.
        start: [P, pairs, k] the same under the reference.
        weight: [P, pairs, k] of each decision; above 0 in the better life, below 0 in the worse.
        beta: how far the reference may be left.
    """
    return -torch.nn.functional.logsigmoid(beta * (weight * (now - start)).sum(dim=2))


def imitation(now: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean negative log-likelihood [P, pairs] of k decisions [P, pairs, k]; 0 without weights."""
    return -(weight * now).sum(dim=2) / weight.sum(dim=2).clamp(min=torch.finfo(now.dtype).tiny)
