"""How operators have texts written, and whether they heed them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evo.operators.strategy.base import Ask, Genes
from fitness.checks import check_integer, check_number
from fitness.engines.base import Request

_SEEDS = 2**63


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Settings of an operator that writes. The base model writes, without anybody's adapter."""

    limit: int = 64
    """Most tokens of an answer; at least 1."""
    temperature: float = 0.8
    """Of the sampling; 0 takes the likeliest token, and then the same question always has the same answer."""
    heed: bool = True
    """False: the control of equal cost, which asks as ever and takes the grammar's own result."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_integer("limit", self.limit, 1)
        check_number("temperature", self.temperature, 0.0)

    def ask(self, prompt: str, read: Callable[[str], Genes | None], rng: np.random.Generator) -> Ask:
        """Return the question; the answer is one line, and its chance is drawn here."""
        seed = int(rng.integers(_SEEDS))
        request = Request(prompt=prompt, limit=self.limit, stops=("\n",), temperature=self.temperature, seed=seed)
        return Ask(request, read)

    def choose(self, answer: Genes | None, fallback: Genes) -> Genes:
        """Return what the answer stands for, or the grammar's own result."""
        return answer if self.heed and answer is not None else fallback
