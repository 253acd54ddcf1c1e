"""The environments' contract: every configured environment keeps it, and every way of breaking it is caught."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from hydra.utils import get_class

from fitness.environments.base import Bools, EnvironmentConfig, Ints
from fitness.environments.conformance import ConformanceError, check_environment, digest, sample_actions
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.env import ForageVectorEnv
from fitness.environments.grammar import Grammar, Slot

ROOT = Path(__file__).parents[3]
CONFIGURED = sorted((ROOT / "conf" / "environment").glob("*.yaml"))
SEEDS = np.arange(16)
VERSION_1 = "493a951a83e60e5d5f59a3b6e458d7140f993f8ef33f58d527b1916caf204acb"
"""What 16 lives of forage version 1 look like. If it changes, the same seeds end otherwise: raise the version."""


def configured(path: Path) -> EnvironmentConfig:
    knobs = yaml.safe_load(path.read_text())
    return get_class(knobs.pop("_target_"))(**knobs)


@pytest.mark.parametrize("path", CONFIGURED, ids=lambda path: path.stem)
def test_every_configured_environment_conforms(path: Path) -> None:
    check_environment(configured(path))


@pytest.mark.parametrize(
    "knobs",
    [
        {"size": 6, "bushes": 3, "ponds": 1, "dens": 1, "wolves": 0, "horizon": 3},
        {"size": 7, "wolves": 5, "scarcity": 0.01, "horizon": 1},
        {"size": 31, "bushes": 100, "view": 40, "scarcity": 10.0, "horizon": 40},
    ],
    ids=["no-wolves", "one-step", "sees-all"],
)
def test_forage_conforms_at_its_edges(knobs: dict[str, Any]) -> None:
    check_environment(ForageConfig(**knobs))


def test_forage_version_1_is_what_it_was() -> None:
    config = ForageConfig()
    assert config.version == "1"
    assert digest(config, SEEDS, sample_actions(config, SEEDS)) == VERSION_1


def test_digest_is_equal_in_fresh_processes() -> None:
    program = (
        "import numpy as np; from fitness.environments.forage.config import ForageConfig as C;"
        "from fitness.environments.conformance import digest, sample_actions; s = np.arange(16);"
        "print(digest(C(), s, sample_actions(C(), s)))"
    )
    for hash_seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == VERSION_1


def test_digest_tells_seeds_and_actions_apart() -> None:
    config = ForageConfig()
    rest = np.full((3, 4), 6)
    digests = {
        digest(config, np.arange(4), rest),
        digest(config, np.arange(1, 5), rest),
        digest(config, np.arange(4), rest * 0),
        digest(config, np.arange(4), rest[:2]),
    }
    assert len(digests) == 4


def test_gymnasium_makes_forage() -> None:
    env = gymnasium.make_vec("forager/Forage-v1", num_envs=3, wolves=0)
    observations, _ = env.reset(seed=5)
    assert observations in env.observation_space
    again, *_ = env.step(np.full(3, 6))
    assert again in env.observation_space
    assert env.reset(seed=[5, 6, 7])[0] == observations
    assert env.unwrapped.config == ForageConfig(wolves=0)


def test_seeds_are_drawn_where_none_are_given() -> None:
    env = ForageVectorEnv(num_envs=8)
    first, _ = env.reset()
    assert env.reset()[0] != first


@pytest.mark.parametrize("seed", [-1, [1, 2], [1, -2, 3]])
def test_seeds_that_fit_no_batch_are_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed: expected 3 integers of at least 0, got"):
        ForageVectorEnv(num_envs=3).reset(seed=seed)


@pytest.mark.parametrize("actions", [[0, 1], [0, 1, 7], [0, 1, -1]])
def test_actions_that_fit_no_batch_are_refused(actions: list[int]) -> None:
    env = ForageVectorEnv(num_envs=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions: expected 3 integers below 7, got"):
        env.step(np.array(actions))


class Breaks(ForageVectorEnv):
    """Forage with one promise broken; `Broken` makes it."""


class LooksAtNeighbours(Breaks):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        super().begin(seeds + len(seeds), rows)


class DrawsItsOwnChance(Breaks):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        super().begin(np.random.default_rng().integers(0, 2**31, len(seeds)), rows)


class IgnoresSeeds(Breaks):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        super().begin(seeds * 0, rows)


class DependsOnPlace(Breaks):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        super().begin(seeds + rows, rows)


class BeginsAll(Breaks):
    def begin(self, seeds: Ints, rows: Ints) -> None:
        if len(rows) < self.num_envs and self.num_envs > 4:
            rows = np.arange(self.num_envs)
            seeds = rows
        super().begin(seeds, rows)


class EndsTwice(Breaks):
    @property
    def outlived(self) -> Bools:
        return self.world.died | super().outlived


class NeverEnds(Breaks):
    @property
    def outlived(self) -> Bools:
        return super().outlived & False


class GoesOnAfterTheEnd(Breaks):
    def advance(self, actions: Ints) -> None:
        over = self.over
        super().advance(actions)
        self.world.place[over] += 1
        self.world.place %= self.config.size


class HidesCauses(Breaks):
    @property
    def cause(self) -> Ints:
        return np.where(super().cause == 0, -1, super().cause)


class InventsCauses(Breaks):
    @property
    def cause(self) -> Ints:
        return np.where(super().cause == 0, len(self.causes), super().cause)


class MiscountsLives(Breaks):
    @property
    def length(self) -> Ints:
        return super().length + 1


class OverflowingVitals(Breaks):
    @property
    def vitals(self) -> Any:
        return super().vitals + np.float32(0.5)


class WideVitals(Breaks):
    @property
    def vitals(self) -> Any:
        return super().vitals.astype(np.float64)


class SpeaksUnicode(Breaks):
    def observe(self) -> list[str]:
        return [f"{text} \N{WOLF FACE}" for text in super().observe()]


class SpeaksTooMuch(Breaks):
    def observe(self) -> list[str]:
        return [text * 3 for text in super().observe()]


class ChangesByLooking(Breaks):
    def observe(self) -> list[str]:
        self.world.vitals *= np.float32(0.999)
        return super().observe()


class DrawsWhatHasNoSign(Breaks):
    def picture(self) -> list[str]:
        return [one.replace("@", "?") for one in super().picture()]


class DrawsRaggedMaps(Breaks):
    def picture(self) -> list[str]:
        return [f"{one}." for one in super().picture()]


class ChangesByDrawing(Breaks):
    def picture(self) -> list[str]:
        self.world.vitals *= np.float32(0.999)
        return super().picture()


class HasSignsButNoMap(Breaks):
    def picture(self) -> list[str]:
        return [""] * self.num_envs


class ExpertBreaksTheLaw(Breaks):
    def expert_actions(self) -> Ints:
        return super().expert_actions() + 5


class SaysNothing(Breaks):
    manual = ""


class SpeaksInSentences(Breaks):
    action_names = ("go north", *ForageVectorEnv.action_names[1:])


class IdlesInWordsOfItsOwn(Breaks):
    idle = "sleep"


class NamesTwice(Breaks):
    causes = ("hunger", *ForageVectorEnv.causes[:4])


class AmbiguousGrammar(Breaks):
    grammar = Grammar((Slot("pace", ("walk. rest", "run. rest")),))


@dataclass(frozen=True)
class Broken(ForageConfig):
    """Makes a broken environment."""

    breaks: Callable[..., ForageVectorEnv] = Breaks

    def make(self, num_envs: int) -> ForageVectorEnv:
        return self.breaks(num_envs=num_envs, config=self)


def test_the_breaking_begins_from_an_environment_that_conforms() -> None:
    check_environment(Broken(breaks=Breaks, horizon=32))


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (LooksAtNeighbours, "without neighbours: expected the same life"),
        (DrawsItsOwnChance, "same seeds and actions: expected the same lives"),
        (IgnoresSeeds, "12 seeds under the same actions: expected different lives"),
        (DependsOnPlace, "another order of the batch: expected the same lives"),
        (BeginsAll, "reset_mask: expected marked episodes begun"),
        (EndsTwice, "terminated, truncated: expected never both"),
        (NeverEnds, "over: expected all, after 32 steps"),
        (GoesOnAfterTheEnd, "an ended episode: expected"),
        (HidesCauses, "cause: expected at least 0 for the dead alone"),
        (InventsCauses, "cause: expected below 5"),
        (MiscountsLives, "length: expected 0 for all who live after 0 steps"),
        (OverflowingVitals, r"vitals: expected finite numbers in \[0, 1\]"),
        (WideVitals, "vitals: expected float32"),
        (SpeaksUnicode, "observation: expected printable ASCII"),
        (SpeaksTooMuch, "observation: expected at most 200 characters"),
        (ChangesByLooking, "expected no change by looking"),
        (DrawsWhatHasNoSign, r"picture: expected marks of signs \('"),
        (DrawsRaggedMaps, "picture: expected lines of equal length"),
        (ChangesByDrawing, "picture: expected no change by drawing"),
        (HasSignsButNoMap, "picture: expected a map if there are signs"),
        (ExpertBreaksTheLaw, "expert_actions: expected int64"),
        (SaysNothing, "manual: expected printable ASCII text, got ''"),
        (SpeaksInSentences, "action_names: expected a tuple of different lower-case words"),
        (IdlesInWordsOfItsOwn, "idle: expected the name of an action, or an empty text, got 'sleep'"),
        (NamesTwice, "causes: expected a tuple of different lower-case words"),
        (AmbiguousGrammar, "strategy: expected 1 clauses"),
    ],
)
def test_a_broken_promise_is_caught(breaks: Callable[..., ForageVectorEnv], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_environment(Broken(breaks=breaks, horizon=32))
    assert isinstance(caught.value, ConformanceError) or breaks is AmbiguousGrammar
