"""Proof, while a run goes on, that what was recorded is what the agents did.

Owns the checks after each rollout: every agent decides once more, from its own tensors, on something that it saw, and
must answer as was recorded; and the record of every life must agree with itself. An adapter on the wrong agent, a
prefix kept from before an adapter changed, and rewards or decisions put beside the wrong life all show here; that
adapters act at all is `PopulationEngine.assert_adapters_act`. Costs a decision per agent.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.engines.base import Engine
from fitness.errors import EngineError
from fitness.records import Transitions
from fitness.rollout import Lives


def audit(engine: Engine, agents: Sequence[Agent], lives: Lives) -> None:
    """Check a rollout.

    Args:
        engine: has just decided in it.
        agents: all that lived.
        lives: what was recorded.

    Raises:
        EngineError: something recorded was not so.
    """
    _check_ends(lives)
    _check_decisions(engine, agents, lives)


def _check_ends(lives: Lives) -> None:
    """Raise unless every life has as many decisions as steps, a reward for each that it came through, and one end."""
    told, lived = lives.episodes, lives.transitions
    whole = told.end != "failed"
    keys = np.stack([told.agent[whole], told.seed[whole]], axis=1)
    starts = np.flatnonzero(lived.step == 0)
    if not np.array_equal(np.stack([lived.agent[starts], lived.seed[starts]], axis=1), keys):
        raise EngineError("audit: expected the decisions of every life that ended, got those of others")
    if not len(keys):
        return
    counts = np.diff([*starts, len(lived)])
    rewards, lasts = np.add.reduceat(lived.reward, starts), lived.alive[np.cumsum(counts) - 1]
    died = told.end[whole] == "died"
    lengths = told.length[whole]
    wrong = (counts != lengths) | (rewards != lengths - died) | (lasts == died)
    if wrong.any():
        agent, seed = keys[np.flatnonzero(wrong)[0]]
        raise EngineError(
            f"audit: expected every life's rewards to be its own, got others for {wrong.sum()} of {len(wrong)} lives "
            f"(first: genome {agent} on seed {seed})"
        )


def _check_decisions(engine: Engine, agents: Sequence[Agent], lives: Lives) -> None:
    """Raise unless every agent decides again as it did."""
    lived = lives.transitions
    ids, starts, counts = np.unique(lived.agent, return_index=True, return_counts=True)
    seen = dict(zip(ids.tolist(), (starts + counts // 2).tolist(), strict=True))
    asked = [agent for agent in agents if agent.id in seen]
    if not asked:
        return
    rows = np.array([seen[agent.id] for agent in asked])
    apart = np.abs(_again(engine, asked, lived, rows).astype(np.float64) - lived.log_probability[rows])
    apart *= [agent.temperature for agent in asked]  # what rounds are logits, before they are divided by it
    if lived.answers is not None:  # of each token
        apart /= [max(1, len(said)) for said in lived.answers.tokens[rows]]
    wrong = [agent.id for agent, far in zip(asked, apart, strict=True) if not far <= engine.rounding]
    if wrong:
        raise EngineError(
            f"audit: expected every agent to decide again as it was recorded, got other answers from "
            f"{len(wrong)} of {len(agents)} (first ids: {wrong[:5]}): an adapter or a strategy was not its own"
        )


def _again(engine: Engine, asked: Sequence[Agent], lived: Transitions, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the log-probabilities [P] of what agents did, asked once more; of answers, of the tokens as sampled."""
    observations = list(lived.observation[rows])
    if lived.answers is not None:
        return engine.decide_again(asked, observations, lived.answers.tokens[rows].tolist())[:, 0]
    return engine.decide_again(asked, observations)[np.arange(len(rows)), lived.action[rows]]
