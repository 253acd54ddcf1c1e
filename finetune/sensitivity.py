"""How much an agent's behaviour minds a change of each of its weights.

Owns the measure; what is done with it is a mutation's (`evo.operators.adapter_mutation.proximal`).
"""

from collections.abc import Sequence

import torch

from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.model import PopulationModel, Prompts, pad_rows


def sensitivity(
    model: PopulationModel, prompts: Prompts, agents: Sequence[Agent], observations: Sequence[str]
) -> AdapterStack:
    """Return `s_k = sqrt(sum over actions a of (mean over observations of d pi_a / d theta_k)^2)` of every weight.

    PDERL's (Bodnar, Day and Lio 2020, https://arxiv.org/abs/1906.09807), but for the mean in place of their sum, so
    that the number of observations does not count. One forward for all agents and one backward for each action: agents
    share no weight, so the gradient of the sum over agents is each one's own.

    Args:
        model: the base model that the agents share.
        prompts: of the agents' environment.
        agents: P agents of one rank and scaling.
        observations: n texts that each agent is asked to act on, at least one; memory grows with P x n.

    Returns:
        The sensitivities in the form of the agents' adapters, at least 0.

    Raises:
        AdapterError: the agents' adapters differ in rank, alpha or modules.
    """
    stack = AdapterStack.of([agent.adapter for agent in agents])
    stack.check_uniform()
    temperature = torch.tensor([agent.temperature for agent in agents])
    ids, lengths = pad_rows([prompts.rows(observations)] * len(agents))
    with torch.enable_grad():
        weights = stack.rows().to(model.device).requires_grad_()
        prefix = model.read(stack.of_rows(weights, slice(None)), prompts.prefixes([agent.strategy for agent in agents]))
        chances = model.action_log_probs(prefix, ids, lengths, prompts.actions, temperature).exp().mean(dim=1)
        each = [torch.autograd.grad(one.sum(), weights, retain_graph=True)[0] for one in chances.unbind(dim=1)]
    measured = torch.stack(each).square().sum(dim=0).sqrt()
    return stack.of_rows(measured.cpu(), slice(None))
