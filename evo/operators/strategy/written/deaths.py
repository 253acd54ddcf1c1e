"""What an agent's deaths were like, in words: what reflection reads."""

from collections.abc import Sequence

import numpy as np

from fitness.records import Episodes, Transitions

_LONGEST_OBSERVATION = 400
"""Characters."""


def tell_deaths(
    agent: int,
    episodes: Episodes,
    transitions: Transitions,
    action_names: Sequence[str],
    *,
    most: int = 3,
    steps: int = 4,
) -> str:
    """Return how one agent died and what it saw and did last; "" if it did not die.

    Example: "Died of thirst after 41 steps." and, on the next line, "Step 40: day. water dire. -> rest"

    Args:
        agent: its id.
        episodes: all that were lived, anybody's.
        transitions: decisions of the same lives.
        action_names: the environment's actions, in its order.
        most: deaths to tell of, the earliest ones.
        steps: decisions before each death, the last ones.
    """
    died = np.flatnonzero((episodes.agent == agent) & (episodes.end == "died"))
    first = died[np.lexsort((episodes.seed[died], episodes.length[died]))][:most]
    return "\n".join(line for life in first for line in _tell(int(life), episodes, transitions, action_names, steps))


def _tell(
    life: int, episodes: Episodes, transitions: Transitions, action_names: Sequence[str], steps: int
) -> list[str]:
    """Return the lines of one life."""
    own = (transitions.agent == episodes.agent[life]) & (transitions.seed == episodes.seed[life])
    rows = np.flatnonzero(own)
    last = rows[np.argsort(transitions.step[rows])][max(0, len(rows) - steps) :]
    return [
        f"Died of {episodes.cause[life]} after {episodes.length[life]} steps.",
        *(
            f"Step {transitions.step[row]}: {_one_line(str(transitions.observation[row]))} -> "
            f"{action_names[transitions.action[row]]}"
            for row in last
        ),
    ]


def _one_line(text: str) -> str:
    """Return an observation as one printable line of bounded length."""
    return "".join(char for char in " ".join(text[:_LONGEST_OBSERVATION].split()) if char.isprintable())
