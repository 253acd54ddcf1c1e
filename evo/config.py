"""The typed root of a run's configuration.

Owns `RunConfig`: the numbers that belong to the run as a whole, and one slot for every swappable part. Does not own the
parts' own fields (they sit in the frozen dataclass that the part's `_target_` names), reading YAML (`evo/compose.py`)
or making the parts (`evo/build.py`). Imports nothing heavy, so that `forager config` answers at once.

To add a number: add a field here, a line in `conf/config.yaml`, and its reader. To add a swappable part: add a slot
here and a folder with its members in `conf/`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fitness.checks import LARGEST_SEED
from fitness.errors import ConfigError

PARTS = {
    "environment": "make",
    "model": "name",
    "engine": "build",
    "objective": "by_agent",
    "algorithm": "build",
    "selection": "select",
    "variation": "breed",
    "screening": "screening",
    "racing": "plan",
    "finetune": "prepare",
    "reflection": "reflecting",
}
"""What every member of a part's family has; enough to tell one that stands in the wrong place."""

OPTIONAL = ("screening", "racing", "finetune", "reflection")
"""Parts that a run can do without."""

REPEATED = ("population", "elites")
"""Numbers of the run that the algorithm repeats; they are set here."""

HOTTEST = 100.0
"""Temperature above which every action is as likely as any other, whatever an adapter says."""

LEAST = {"seed": 0, "generations": 1, "episodes": 1, "finals": 1, "heldout": 1, "lookback": 1, "retries": 0}
"""The smallest value that each whole number of the run may have."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The form of every genome's LoRA adapter."""

    rank: int = 8
    """Inner dimension of the update; at least 1."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank; above 0."""
    start: Path | None = None
    """Folder of an adapter in PEFT's format that every founder starts from; None: a fresh one, of no effect."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.rank < 1:
            raise ConfigError(f"rank: expected at least 1, given {self.rank}")
        if not 0 < self.alpha < math.inf:
            raise ConfigError(f"alpha: expected a number above 0, given {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What a run may spend before its held-out worlds; the first limit that is met ends it (`evo.budget` has the rule).

    Arms of an experiment that share a budget end within one generation's cost of each other.
    """

    decisions: int | None = None
    """Environment decisions, at least 1; None: no limit."""
    flops: float | None = None
    """Floating-point operations of deciding and fine-tuning, above 0; None: no limit."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.decisions is not None and self.decisions < 1:
            raise ConfigError(f"decisions: expected at least 1, or null for no limit, given {self.decisions}")
        if self.flops is not None and not 0 < self.flops < math.inf:
            raise ConfigError(f"flops: expected a number above 0, or null for no limit, given {self.flops}")


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """What a long run keeps on disk; tables, lineage and checkpoints do not depend on it."""

    adapters: int | None = None
    """Latest generations whose survivors' adapters are kept; None: all."""
    telemetry: int | None = None
    """Latest generations whose decisions and lives are kept; None: all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("adapters", "telemetry"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise ConfigError(f"{name}: expected at least 1, or null for all, given {given}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a run is made from. The parts are what `evo/build.py` made of the YAML nodes."""

    seed: int
    """Seed of every stream of chance in the run; at least 0."""
    generations: int
    """Generations that are bred, generation 0 included; at least 1, and no more than `budget` allows."""
    population: int
    """Genomes in a generation. The algorithm repeats it and knows its range."""
    elites: int
    """Best genomes that are fine-tuned. The algorithm repeats it and knows its range."""
    episodes: int
    """Episodes that each genome lives in a generation, on seeds that all its peers share; at least 1."""
    finals: int
    """The last generation lives in this many times `episodes` worlds, so that luck has less say; at least 1."""
    heldout: int
    """Episodes of the final table, for each of its rows, on seeds that never select or train; at least 1."""
    split: str | None
    """A strategy, in the environment's own words: the final table then tells what the best genome's prompt and what its
    weights have over the model as it is with this strategy; None: it does not."""
    lookback: int
    """Generations whose lives the elites are trained on, this one included; at least 1."""
    retries: int
    """How often an episode that failed, by no fault of its agent, is tried again on the same seed; at least 0."""
    copies: bool
    """Whether a child that is a copy, to the last bit, of a genome that was tested before is tested all the same."""
    temperature: float
    """Divides the model's logits in every decision; above 0, and the lower, the surer of itself an agent acts."""
    adapter: AdapterConfig
    """The form of the weights that evolve."""
    budget: BudgetConfig
    """What the run may spend, where that is not left to the number of generations."""
    retention: RetentionConfig
    """What a long run keeps on disk."""
    environment: object
    """The world that is lived in; `conf/environment/`."""
    model: object
    """The language model that decides; `conf/model/`."""
    engine: object
    """How a population's decisions are computed; `conf/engine/`."""
    objective: object
    """What makes one life better than another; `conf/objective/`."""
    algorithm: object
    """Who survives from one generation to the next; `conf/algorithm/`."""
    selection: object
    """Who becomes a parent; `conf/selection/`."""
    variation: object
    """How children differ from their parents; `conf/variation/`."""
    screening: object | None
    """Which of the newborn live at all, by what is expected of them; None: all; `conf/screening/`."""
    racing: object | None
    """How episodes go to those in question; None: everybody lives in as many worlds; `conf/racing/`."""
    finetune: object | None
    """How the elites' adapters are trained on what the population lived; None: not at all; `conf/finetune/`."""
    reflection: object | None
    """How strategies are rewritten in view of their deaths, by a language model; None: not; `conf/reflection/`."""
    tracking: Mapping[str, object]
    """Where the curves go besides the run's folder, by name; empty: nowhere; `conf/tracking/`."""

    def __post_init__(self) -> None:
        """Check the ranges, all of them before any complaint."""
        problems = [
            f"{name}: expected at least {least}, given {getattr(self, name)}"
            for name, least in LEAST.items()
            if getattr(self, name) < least
        ]
        if self.seed > LARGEST_SEED:
            problems.append(f"seed: expected at most {LARGEST_SEED}, given {self.seed}")
        if not 0 < self.temperature <= HOTTEST:
            problems.append(f"temperature: expected a number above 0 and at most {HOTTEST:g}, given {self.temperature}")
        if self.retention.telemetry is not None and self.retention.telemetry < self.lookback:
            problems.append(
                f"retention.telemetry: expected null or at least {self.lookback}, since so many generations are learnt "
                f"from (lookback), given {self.retention.telemetry}"
            )
        problems += [*_misplaced(self), *_unread(self), *_incomparable(self)]
        problems += [
            f"algorithm.{name}: expected {getattr(self, name)}, which is the run's own {name} (set that one), "
            f"given {getattr(self.algorithm, name)}"
            for name in REPEATED
            if getattr(self.algorithm, name, getattr(self, name)) != getattr(self, name)
        ]
        problems += [
            f"tracking.{name}: expected a component with a _target_, given {given!r}"
            for name, given in self.tracking.items()
            if isinstance(given, bool | int | float | str | list | dict)
        ]
        if problems:
            raise ConfigError("\n".join(problems))


def _unread(config: RunConfig) -> list[str]:
    """Return a complaint if genomes are to breed a beta that the method does not have."""
    bounds = getattr(getattr(config.variation, "adaptation", None), "beta", None)
    if bounds is None or getattr(config.finetune, "tempered", True):
        return []
    method = type(config.finetune).__name__
    return [f"variation.adaptation.beta: expected null, for {method} as it is set has no beta, given {list(bounds)}"]


def _incomparable(config: RunConfig) -> list[str]:
    """Return a complaint if agents answer in words and the method compares all that could have been done."""
    if getattr(config.engine, "mode", "") != "generate" or not getattr(config.finetune, "compares_actions", False):
        return []
    method = type(config.finetune).__name__
    return [
        "finetune: expected a method that needs no more than how likely an answer was beside mode=generate (such as "
        "awr, crr, rejection, rest, grpo, dpo or return_conditioned), since words are too many to compare with all "
        f"that could have been said, given {method} as it is set"
    ]


def _misplaced(config: RunConfig) -> list[str]:
    """Return a complaint for every part that is no member of its family."""
    return [
        f"{part}: expected a component of the family conf/{part}/ (one that has `{member}`), "
        f"given {'no _target_' if isinstance(given, dict) else type(given).__name__}"
        for part, member in PARTS.items()
        if not hasattr(given := getattr(config, part), member) and not (part in OPTIONAL and given is None)
    ]
