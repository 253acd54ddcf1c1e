"""The knobs of engines: what a YAML file under `conf/engine/` may set. Light to import."""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fitness.checks import check_choice, check_integer
from fitness.environments.base import TextVectorEnv
from fitness.errors import ConfigError, nearest

if TYPE_CHECKING:
    from fitness.engines.population import PopulationEngine
    from fitness.engines.worker import WorkerEngine
    from fitness.model import ModelConfig

_FORWARDS = ("auto", "huggingface", "llama")
_MODES = ("choose", "generate")


@dataclass(frozen=True, kw_only=True)
class PopulationEngineConfig:
    """The whole population in one forward."""

    row_chunk: int | None = None
    """Rows that go through the model together; null for what is fastest: a cache's fill on a CPU, many elsewhere."""
    forward: str = "auto"
    """"huggingface" runs the model's own code, "llama" ours for that family, "auto" the fastest that fits."""
    mode: str = "choose"
    """"choose" scores the actions' names in one go; "generate" samples an answer in words, whose first must be one."""
    limit: int = 8
    """Most tokens of an answer; at least 1; of "generate"."""
    stops: tuple[str, ...] = (" ", "\n", ".", ",")
    """What ends an answer once it has begun; none of them empty; of "generate"."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.row_chunk is not None and self.row_chunk < 1:
            raise ConfigError(f"row_chunk: expected an integer of at least 1, got {self.row_chunk}")
        if self.forward not in _FORWARDS:
            hint = nearest(self.forward, _FORWARDS)
            raise ConfigError(f"forward: expected one of {', '.join(_FORWARDS)}, got {self.forward!r}{hint}")
        check_choice("mode", self.mode, _MODES)
        check_integer("limit", self.limit, 1)
        object.__setattr__(self, "stops", tuple(self.stops))
        if not all(self.stops):
            raise ConfigError("stops: expected words, got an empty one")

    def build(self, model: "ModelConfig", env: "TextVectorEnv | Sayings") -> "PopulationEngine":
        """Load the model and return an engine for an environment's actions.

        Raises:
            ConfigError: agents are to answer in words, and the environment names no idle action.
            ModelError: the model cannot be loaded or cannot tell the actions apart.
        """
        from fitness.engines.answers import Wording
        from fitness.engines.population import PopulationEngine
        from fitness.model import PopulationModel, load_base_model

        wording = Wording.of(env, self.limit, self.stops) if self.mode == "generate" else None
        loaded = PopulationModel(load_base_model(model), forward=self.forward)
        return PopulationEngine(
            loaded, action_names=env.action_names, manual=env.manual, row_chunk=self.row_chunk, wording=wording
        )


@dataclass(frozen=True)
class Sayings:
    """What an engine needs to know of an environment."""

    action_names: tuple[str, ...]
    manual: str
    idle: str


@dataclass(frozen=True, kw_only=True)
class WorkerEngineConfig:
    """Another engine in a process of its own, which is ended and begun anew when it hangs or dies."""

    engine: PopulationEngineConfig
    """The engine there."""
    seconds: float = 60.0
    """Longest time for one step of the whole population; above 0."""

    def __post_init__(self) -> None:
        """Check every field."""
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"seconds: expected a finite number above 0, got {self.seconds}")

    @property
    def mode(self) -> str:
        """How agents decide."""
        return self.engine.mode

    def build(self, model: "ModelConfig", env: TextVectorEnv) -> "WorkerEngine":
        """Return the engine; its process is begun when agents are seated."""
        from fitness.engines.worker import Work, WorkerEngine

        sayings = Sayings(tuple(env.action_names), env.manual, env.idle)
        return WorkerEngine(Work(partial(self.engine.build, model, sayings), self.seconds))
