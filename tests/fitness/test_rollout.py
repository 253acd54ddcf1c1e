"""Lives: an agent's own whoever shares the batch, recorded in order, with nothing of the dead and nothing missing."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.adapter import LoraSpec, initial_adapter
from fitness.agent import Agent
from fitness.engines.base import Decisions
from fitness.engines.scripted import ScriptedEngine
from fitness.environments.base import random_actions
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.world import ACTIONS, CAUSES
from fitness.records import Transitions
from fitness.rollout import Lives, live_scripted, roll_out

ADAPTER = initial_adapter(LoraSpec(1, 1.0, (("x", 2, 2),)), 0)
FOREST = ForageConfig(horizon=60)
SEEDS = np.array([11, 5, 8, 30])


def agent(id: int, strategy: str) -> Agent:
    return Agent(id=id, strategy=strategy, adapter=ADAPTER)


def wander(strategy: str, observation: str) -> NDArray[np.float64]:
    """Do mostly what is underfoot, else what the strategy names, with some chance of anything."""
    here = observation.split()[-1]
    wanted = {"pond": "drink", "red": "eat", "blue": "eat", "gold": "eat"}.get(here, strategy)
    return np.array([0.7 if name == wanted else 0.05 for name in ACTIONS])


AGENTS = [agent(40, "north"), agent(7, "east"), agent(12, "rest")]


def live(agents: Sequence[Agent] = AGENTS, seeds: NDArray[np.int64] = SEEDS, forest: ForageConfig = FOREST) -> Lives:
    return roll_out(ScriptedEngine(wander), forest, agents, seeds)


def rows_of(table: Transitions, id: int, seed: int) -> dict[str, list[object]]:
    """Return one life's columns."""
    mine = (table.agent == id) & (table.seed == seed)
    others = {name: values for name, values in vars(table).items() if name not in ("agent", "seed", "answers")}
    return {name: values[mine].tolist() for name, values in others.items()}


def test_an_agent_lives_the_same_life_whoever_shares_the_batch() -> None:
    together = live().transitions
    for one in AGENTS:
        alone = live([one], SEEDS[2:3]).transitions
        reversed_ = live([*AGENTS[::-1]], SEEDS[::-1]).transitions
        for other in (alone, reversed_):
            assert rows_of(other, one.id, 8) == rows_of(together, one.id, 8)


def test_agents_never_share_their_luck() -> None:
    twins = [agent(i, "north") for i in range(8)]
    lives = live(twins, np.array([3]))
    assert len({tuple(rows_of(lives.transitions, i, 3)["action"]) for i in range(8)}) == 8


def test_worlds_are_shared_by_all_agents_or_each_agents_own() -> None:
    shared, own = live().episodes, live(seeds=np.array([SEEDS, SEEDS + 100, SEEDS + 200])).episodes
    assert shared.seed.tolist() == [11, 5, 8, 30] * 3
    assert own.seed.tolist() == [11, 5, 8, 30, 111, 105, 108, 130, 211, 205, 208, 230]
    assert shared.agent.tolist() == own.agent.tolist() == [40] * 4 + [7] * 4 + [12] * 4
    assert own.length[:4].tolist() == shared.length[:4].tolist()


def test_transitions_are_ordered_by_agent_seed_and_step() -> None:
    lives = live()
    episodes, table = lives.episodes, lives.transitions
    assert table.agent.tolist() == np.repeat(episodes.agent, episodes.length).tolist()
    assert table.seed.tolist() == np.repeat(episodes.seed, episodes.length).tolist()
    assert table.step.tolist() == [step for length in episodes.length for step in range(length)]


def test_only_the_last_step_of_who_died_is_not_survived() -> None:
    lives = live(forest=ForageConfig(horizon=30))
    assert {*lives.episodes.end} == {"died", "outlived"}
    lengths, died = lives.episodes.length, lives.episodes.end == "died"
    expected = [
        not (end and step == length - 1) for length, end in zip(lengths, died, strict=True) for step in range(length)
    ]
    assert lives.transitions.alive.tolist() == expected
    assert lives.transitions.reward.tolist() == [float(alive) for alive in expected]


def test_ends_and_causes() -> None:
    episodes = live(forest=ForageConfig(horizon=30)).episodes
    died = episodes.end == "died"
    assert {*episodes.cause[died]} <= {*CAUSES}
    assert {*episodes.cause[~died]} == {""}
    assert (episodes.length[~died] == 30).all()
    assert (episodes.length[died] <= 30).all()
    assert {*episodes.error} == {""}


def test_who_dies_in_the_last_step_has_died() -> None:
    forest = ForageConfig(horizon=25, wolves=0)  # Water for 24 steps.
    idle = live_scripted(forest, lambda env, _: np.full(env.num_envs, ACTIONS.index("rest")), np.arange(20))
    assert {*zip(idle.length.tolist(), idle.end, idle.cause, strict=True)} == {(25, "died", "thirst")}


def test_observations_and_vitals_are_those_before_the_action() -> None:
    table = live().transitions
    env = ForageVectorEnv(num_envs=1, config=FOREST)
    env.begin(np.array([30]), np.array([0]))
    mine = (table.agent == 7) & (table.seed == 30)
    told = zip(table.observation[mine], table.vitals[mine], table.action[mine], strict=True)
    for observation, vitals, action in told:
        assert observation == env.observe()[0]
        np.testing.assert_array_equal(vitals, env.vitals[0])
        env.advance(np.array([action]))
    assert env.over.all()


def test_the_probability_of_the_action_taken_is_recorded() -> None:
    table = live().transitions
    strategies = {one.id: one.strategy for one in AGENTS}
    for row in range(0, len(table), 37):
        chances = wander(strategies[table.agent[row]], table.observation[row])
        expected = np.log(chances[table.action[row]] / chances.sum())
        assert table.log_probability[row] == pytest.approx(expected, abs=1e-6)


def test_tokens_are_those_of_strategy_and_observation() -> None:
    table = live().transitions
    assert table.prompt_tokens.tolist() == [1 + len(text.split()) for text in table.observation]


class RecordingEngine(ScriptedEngine):
    """Remembers who was asked."""

    def __init__(self) -> None:
        super().__init__(wander)
        self.asked: list[tuple[list[int], list[str]]] = []

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        self.asked.append((seats.tolist(), list(observations)))
        return super().decide(seats, observations, uniforms)


def test_the_living_are_asked_in_the_order_of_agents_and_worlds() -> None:
    engine = RecordingEngine()
    lives = roll_out(engine, FOREST, AGENTS, SEEDS)
    assert engine.asked[0][0] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    for step, (seats, observations) in enumerate(engine.asked):
        living = lives.episodes.length > step
        assert seats == np.repeat([0, 1, 2], 4)[living].tolist()
        assert observations == lives.transitions.observation[lives.transitions.step == step].tolist()
    assert engine.usage.decisions == lives.episodes.length.sum() == len(lives.transitions)


def test_scripted_lives_are_told_of_like_any_other() -> None:
    episodes = live_scripted(FOREST, random_actions, np.arange(50))
    assert episodes.seed.tolist() == [*range(50)]
    assert {*episodes.agent} == {-1}
    assert 10 < episodes.length.mean() < 40
    again = live_scripted(FOREST, random_actions, np.array([17]))
    assert again.length[0] == episodes.length[17]
    assert again.cause[0] == episodes.cause[17]
