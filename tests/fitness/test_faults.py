"""What breaks in one life stays there: siblings live on, the life is tried again, and none is scored as a death."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.engines.base import Decisions
from fitness.engines.scripted import ScriptedEngine
from fitness.environments.base import EnvironmentConfig, Ints, TextVectorEnv
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.objectives import Lifespan
from fitness.rollout import Lives, roll_out
from tests.fitness.test_rollout import AGENTS, FOREST, wander

SEEDS = np.arange(64)
UNLUCKY = 23


def live(engine: ScriptedEngine | None = None, forest: EnvironmentConfig = FOREST, **options: int) -> Lives:
    return roll_out(engine or ScriptedEngine(wander), forest, AGENTS, SEEDS, **options)


@pytest.fixture(scope="module")
def whole() -> Lives:
    """Return the lives in which nothing breaks."""
    return live()


def same(table: Any, other: Any, rows: NDArray[np.bool_], others: NDArray[np.bool_]) -> bool:
    """Tell whether two tables hold the same in some of their rows."""
    pairs = [(getattr(table, one.name), getattr(other, one.name)) for one in fields(table)]
    return all(np.array_equal(a[rows], b[others]) for a, b in pairs if a is not None)


def assert_siblings_did_not_notice(lives: Lives, whole: Lives, failed: NDArray[np.bool_]) -> None:
    """Check that the lives that failed are recorded as such, and all others as if nothing had been."""
    assert (lives.episodes.end == "failed").tolist() == failed.tolist()
    assert (lives.episodes.error != "").tolist() == failed.tolist()
    assert same(lives.episodes, whole.episodes, ~failed, ~failed)
    lost = {(a, s) for a, s in zip(whole.episodes.agent[failed], whole.episodes.seed[failed], strict=True)}
    kept = np.array([pair not in lost for pair in zip(whole.transitions.agent, whole.transitions.seed, strict=True)])
    assert same(lives.transitions, whole.transitions, np.ones(len(lives.transitions), bool), kept)
    values = np.concatenate(list(Lifespan().by_agent(lives.episodes).values()))
    assert np.isnan(values).sum() == failed.sum()


class Breaking(ScriptedEngine):
    """Decides as it should until it has decided often enough; then something happens if a row is the one."""

    def __init__(
        self,
        breaks: Callable[[Sequence[str], NDArray[np.int64]], bool],
        times: int,
        how: Callable[[Decisions], Decisions],
    ) -> None:
        super().__init__(wander)
        self.breaks, self.times, self.how, self.calls = breaks, times, how, 0

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        self.calls += 1
        decided = super().decide(seats, observations, uniforms)
        if self.calls > 5 and self.times > 0 and self.breaks(observations, seats):
            self.times -= 1
            return self.how(decided)
        return decided


def crash(decided: Decisions) -> Decisions:
    raise RuntimeError("the engine is on fire\nand more")


def nan(decided: Decisions) -> Decisions:
    return Decisions(decided.actions, decided.log_probabilities * np.nan, decided.prompt_tokens)


def misfit(decided: Decisions) -> Decisions:
    return Decisions(decided.actions[:-1], decided.log_probabilities, decided.prompt_tokens)


def unknown(decided: Decisions) -> Decisions:
    return Decisions(decided.actions + 99, decided.log_probabilities, decided.prompt_tokens)


HOWS = [
    (crash, "RuntimeError: the engine is on fire"),
    (nan, "finite log-probabilities"),
    (misfit, "actions, got shape"),
    (unknown, "actions below"),
]


@pytest.mark.fault("the engine raises, or answers with NaN or with what is no action", "for one agent, always")
@pytest.mark.parametrize(("how", "reason"), HOWS)
def test_an_agent_that_breaks_the_engine_fails_alone(
    whole: Lives, how: Callable[[Decisions], Decisions], reason: str
) -> None:
    lives = live(Breaking(lambda _, seats: bool((seats == 1).any()), 10**9, how))
    late = whole.episodes.length > 5
    assert_siblings_did_not_notice(lives, whole, (whole.episodes.agent == AGENTS[1].id) & late)


@pytest.mark.fault("the engine raises once", "the call is made again in halves; nobody fails")
def test_a_call_that_breaks_once_costs_nothing(whole: Lives) -> None:
    lives = live(Breaking(lambda _, __: True, 1, crash))
    assert_siblings_did_not_notice(lives, whole, np.zeros(len(whole.episodes), bool))


@pytest.mark.fault(
    "the engine raises for one row in one attempt", "the episode is lived again on the same seed, to the same end"
)
def test_a_life_that_breaks_is_tried_again(whole: Lives) -> None:
    engine = Breaking(lambda _, seats: bool((seats == 1).any()), 12, crash)
    lives = live(engine)
    assert engine.times == 0
    assert_siblings_did_not_notice(lives, whole, np.zeros(len(whole.episodes), bool))
    assert lives.faults
    assert all(fault.reason == "engine: RuntimeError: the engine is on fire" for fault in lives.faults)


def test_without_retries_it_stays_failed(whole: Lives) -> None:
    engine = Breaking(lambda _, seats: bool((seats == 1).any()), 10**9, crash)
    lives = live(engine, retries=0)
    failed = lives.episodes.end == "failed"
    assert failed.any()
    assert sum(fault.times for fault in lives.faults) == failed.sum()


def test_an_engine_that_never_answers_fails_all_within_reason() -> None:
    engine = Breaking(lambda _, __: True, 10**9, crash)
    lives = live(engine)
    assert set(lives.episodes.end[lives.episodes.length == 5]) <= {"failed", "died"}
    assert engine.calls < 5 + 2 * 16 * len(AGENTS) * 2


@dataclass(frozen=True, kw_only=True)
class Cracked(ForageConfig):
    """A forest in which one world does something once it is old enough."""

    how: Callable[[ForageVectorEnv, int], None] = lambda env, row: None
    left: list[int] = field(default_factory=lambda: [10**9])
    """How often it still does."""

    def make(self, num_envs: int) -> TextVectorEnv:
        return CrackedEnv(num_envs=num_envs, config=self)


class CrackedEnv(ForageVectorEnv):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        self.seeds, self.odd, self.hurt = np.array(seeds), dict[int, Any](), set[int]()
        super().begin(seeds, rows)

    def advance(self, actions: Ints) -> None:
        super().advance(actions)
        assert isinstance(self.config, Cracked)
        for row in np.flatnonzero((self.seeds == UNLUCKY) & (self.world.clock > 4) & ~self.world.died):
            if self.config.left[0] > 0:
                self.config.left[0] -= 1
                self.config.how(self, int(row))

    def observe(self) -> list[str]:
        return [self.odd.get(row, text) for row, text in enumerate(super().observe())]

    @property
    def vitals(self) -> NDArray[np.float32]:
        found = super().vitals
        found[list(self.hurt)] = np.nan
        return found


def fall(env: ForageVectorEnv, row: int) -> None:
    raise ZeroDivisionError("the sky is falling")


def leave(env: ForageVectorEnv, row: int) -> None:
    raise SystemExit(3)


def say(text: bytes | str) -> Callable[[ForageVectorEnv, int], None]:
    def odd(env: ForageVectorEnv, row: int) -> None:
        assert isinstance(env, CrackedEnv)
        env.odd[row] = text

    return odd


def bleed(env: ForageVectorEnv, row: int) -> None:
    assert isinstance(env, CrackedEnv)
    env.hurt.add(row)


@pytest.mark.fault(
    "the environment raises or exits in one episode of many, or shows what is no text, too long a text or no number",
    "that episode fails; its batch is halved around it and lives its past again",
)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (fall, "environment: ZeroDivisionError: the sky is falling"),
        (leave, "environment: SystemExit: 3"),
        (say(b"?"), "environment: ValueError: expected 1 texts to observe, got 1 of ['bytes']"),
        (say("a \udcff"), r"environment: ValueError: expected texts to observe that are UTF-8, got '\udcff' in one"),
        (say("x" * 99_999), "characters to observe, got one of 99999"),
        (bleed, "environment: ValueError: expected finite vitals, got nan"),
    ],
)
def test_a_world_that_breaks_fails_alone(
    whole: Lives, how: Callable[[ForageVectorEnv, int], None], reason: str
) -> None:
    lives = live(forest=Cracked(horizon=FOREST.horizon, how=how))
    failed = (whole.episodes.seed == UNLUCKY) & (whole.episodes.length > 4)
    assert failed.sum() == len(AGENTS)
    assert_siblings_did_not_notice(lives, whole, failed)
    assert all(reason in error for error in lives.episodes.error[failed])
    assert [fault.times for fault in lives.faults] == [2 * len(AGENTS)]


def test_a_world_that_breaks_once_costs_nothing(whole: Lives) -> None:
    lives = live(forest=Cracked(horizon=FOREST.horizon, how=fall, left=[3]))
    assert_siblings_did_not_notice(lives, whole, np.zeros(len(whole.episodes), bool))
