"""An environment from anywhere: whatever it answers, the rollout comes to its end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fitness.engines.scripted import ScriptedEngine
from fitness.environments.base import TextVectorEnv
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.rollout import roll_out
from tests.fitness.test_rollout import AGENTS, wander
from tests.fuzz.cases import fuzzed, patient

pytestmark = patient

ANSWERS: dict[str, list[Any]] = {
    "observe": [[], None, ["x"], [1, 2, 3], ["x"] * 999, 7, [None] * 9, "a text", ["\ud800"] * 9, ["x" * 10**6] * 9],
    "vitals": [None, np.nan, np.zeros((2, 2)), np.full((9, 4), np.nan), "x", [[]], np.zeros((9, 4), object)],
    "died": [None, 1, np.zeros(2, bool), np.zeros(9, int), np.ones(9, bool), "yes", [True] * 9],
    "outlived": [None, 0, np.zeros(2, bool), np.ones(9, bool), "no"],
    "length": [None, -1, np.zeros(9), np.full(9, 2**40), "long"],
    "cause": [None, np.full(9, 99), np.full(9, -99), np.zeros(9), "x"],
    "advance": [],
    "begin": [],
    "make": [],
}
RAISED = [
    ValueError("x"),
    KeyError(3),
    MemoryError(),
    RecursionError(),
    StopIteration(),
    AssertionError(),
    OSError(5, "io"),
    SystemError("\u202e" * 1000),
    SystemExit(0),
]


@dataclass(frozen=True, kw_only=True)
class Odd(ForageConfig):
    """A forest that answers one call in its own way from some step on."""

    call: str = ""
    answer: Any = None
    since: int = 0

    def make(self, num_envs: int) -> TextVectorEnv:
        if self.call == "make" and self.since < 2:
            raise self.answer
        return OddEnv(num_envs=num_envs, config=self)


class OddEnv(ForageVectorEnv):
    age = 0

    def _odd(self, call: str, plain: Any) -> Any:
        assert isinstance(self.config, Odd)
        if self.config.call != call or self.age < self.config.since:
            return plain
        if isinstance(self.config.answer, BaseException):
            raise self.config.answer
        return self.config.answer

    def begin(self, seeds: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self._odd("begin", None)
        super().begin(seeds, rows)

    def advance(self, actions: NDArray[np.int64]) -> None:
        self.age += 1
        self._odd("advance", None)
        super().advance(actions)

    def observe(self) -> list[str]:
        return self._odd("observe", super().observe())  # type: ignore[no-any-return]

    @property
    def vitals(self) -> Any:
        return self._odd("vitals", super().vitals)

    @property
    def died(self) -> Any:
        return self._odd("died", super().died)

    @property
    def outlived(self) -> Any:
        return self._odd("outlived", super().outlived)

    @property
    def length(self) -> Any:
        return self._odd("length", super().length)

    @property
    def cause(self) -> Any:
        return self._odd("cause", super().cause)


@fuzzed
@given(call=st.sampled_from(list(ANSWERS)), since=st.integers(0, 6), data=st.data())
def test_any_answer_of_an_environment(call: str, since: int, data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from([*ANSWERS[call], *RAISED]))
    forest = Odd(horizon=8, call=call, answer=answer, since=since)
    lives = roll_out(ScriptedEngine(wander), forest, AGENTS, np.arange(3))
    assert len(lives.episodes) == 9
    failed = lives.episodes.end == "failed"
    assert all(
        error.startswith("environment: ") and len(error) < 500 and error.isprintable()
        for error in lives.episodes.error[failed]
    )
    assert lives.episodes.length[~failed].sum() == len(lives.transitions)
