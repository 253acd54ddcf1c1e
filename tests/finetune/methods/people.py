"""Agents that are never asked anything and prompts without a model, for tests of lessons alone."""

from typing import cast

from fitness.adapter import LoraSpec, initial_adapter
from fitness.agent import Agent
from fitness.model import Prompts


class _Letters:
    """Tokens are letters."""

    def rows(self, observations: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in observations]


PROMPTS = cast(Prompts, _Letters())


def people(*ids: int) -> list[Agent]:
    """Return agents with a blank adapter of one small layer."""
    blank = initial_adapter(LoraSpec(2, 4.0, (("layer", 3, 3),)), 0)
    return [Agent(id=one, strategy=f"eat when low. flee wolf {one}.", adapter=blank) for one in ids]
