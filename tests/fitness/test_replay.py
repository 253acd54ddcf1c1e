"""A life that is lived again is the one that was recorded, and is kept as it was."""

from pathlib import Path

import numpy as np
import pytest

from fitness.engines.scripted import ScriptedEngine
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.forage.world import ACTIONS, VITALS
from fitness.errors import EngineError, OutputError
from fitness.gallery import Gallery, read_gallery, write_gallery
from fitness.records import Sign
from fitness.replay import live_again
from fitness.telemetry import Source, table_path
from tests.fitness.test_rollout import AGENTS, FOREST, live, rows_of, wander

SOURCE = Source(run="r", generation=3, environment="forage", environment_version="1")


def test_what_is_shown_is_what_was_lived() -> None:
    lives, told = live(), live().episodes
    for one in AGENTS:
        replay = live_again(ScriptedEngine(wander), FOREST, one, lives, 8, "")
        lived = rows_of(lives.transitions, one.id, 8)
        assert list(replay.observation[:-1]) == lived["observation"]
        assert replay.action.tolist() == lived["action"]
        taken = replay.probabilities[np.arange(len(replay.action)), replay.action]
        assert np.log(taken) == pytest.approx(lived["log_probability"], abs=1e-6)
        assert replay.probabilities.sum(axis=1) == pytest.approx(1)
        assert replay.vitals[:-1].tolist() == lived["vitals"]
        assert (replay.vitals[-1] == 0).any() == (replay.end == "died")
        (place,) = np.flatnonzero((told.agent == one.id) & (told.seed == 8))
        assert (replay.end, replay.cause) == (told.end[place], told.cause[place])
        assert all(one.count("@") == 1 for one in replay.picture)


def test_another_life_is_not_passed_off_as_the_one_that_was_recorded() -> None:
    with pytest.raises(EngineError, match="expected the life of genome 7 on seed 8 as recorded, got another one"):
        live_again(ScriptedEngine(wander), ForageConfig(horizon=60, wolves=2), AGENTS[1], live(), 8, "")


def test_a_gallery_is_read_as_it_was_written(tmp_path: Path) -> None:
    lives = live()
    kept = tuple(live_again(ScriptedEngine(wander), FOREST, one, lives, 30, f"<{one.id}>") for one in AGENTS)
    gallery = Gallery(lives=kept, actions=ACTIONS, vitals=VITALS, signs=ForageVectorEnv.signs)
    path = write_gallery(tmp_path, SOURCE, gallery)
    first = path.read_bytes()
    read = read_gallery(tmp_path)
    assert (read.actions, read.vitals, read.signs) == (ACTIONS, VITALS, ForageVectorEnv.signs)
    for one, other in zip(read.lives, kept, strict=True):
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value)
    assert write_gallery(tmp_path, SOURCE, read).read_bytes() == first


def test_a_gallery_without_names_is_refused(tmp_path: Path) -> None:
    replay = live_again(ScriptedEngine(wander), FOREST, AGENTS[0], live(), 30, "")
    write_gallery(tmp_path, SOURCE, Gallery(lives=(replay,), actions=ACTIONS, vitals=VITALS, signs=()))
    path = table_path(tmp_path, "replays")
    path.write_bytes(path.read_bytes().replace(b"forager.signs", b"forager.sighs"))
    with pytest.raises(OutputError, match="replays"):
        read_gallery(tmp_path)


@pytest.mark.parametrize(("mark", "colour"), [("ab", "red"), ("", "red"), ("\n", "red"), ("a", "crimson")])
def test_a_sign_that_no_page_could_show_is_refused(mark: str, colour: str) -> None:
    with pytest.raises(ValueError, match=r"sign\.(mark|colour): expected one"):
        Sign(mark, "thing", colour)


def test_a_world_without_a_map_has_a_replay() -> None:
    class Unmapped(ForageVectorEnv):
        signs = ()

        def picture(self) -> list[str]:
            return [""] * self.num_envs

    class Config(ForageConfig):
        def make(self, num_envs: int) -> Unmapped:
            return Unmapped(num_envs=num_envs, config=self)

    replay = live_again(ScriptedEngine(wander), Config(horizon=60), AGENTS[0], live(), 8, "")
    assert set(replay.picture) == {""}
