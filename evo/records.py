"""What a run says about itself: the frozen facts that trackers, tables and reports get.

Owns the events of a run and the summary that it ends in. Does not own who listens (evo/tracking/), how rows are stored
(fitness/telemetry.py) or what is drawn (evo/report/). Imports nothing heavy. To say one more thing about a generation,
add a field to `GenerationRecord` and a column of the same name to the schema `generations` in fitness/telemetry.py.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitness.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run is about to make its first generation."""

    run: str
    """The run's name."""
    folder: Path
    """outputs/<run>/, which is there and can be written."""
    environment: str
    """The environment's id."""
    seed: int
    """Of the whole run."""
    generations: int
    """How many are planned."""
    population: int
    """Genomes per generation."""
    config: str
    """The resolved configuration as YAML."""
    identity: str
    """The run's own and no other's, the same after an interruption."""
    over: int = 0
    """Generations that are over: 0 unless the run goes on after an interruption."""


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """What happened in one generation. Numbers that do not exist (nothing was fine-tuned) are NaN."""

    generation: int
    """From 0."""
    generations: int
    """How many are planned."""
    genomes: int
    """How many lived."""
    episodes: int
    """How many were lived in this generation."""
    decisions: int
    """Taken since the run began."""
    forward_flops: float
    """Floating-point operations of deciding since the run began."""
    training_flops: float
    """Floating-point operations of fine-tuning since the run began."""
    best: float
    """Best score of this generation's members; 0 is the random policy, 1 the expert."""
    median: float
    """Median score."""
    mean: float
    """Mean score."""
    best_lifespan: float
    """Best mean lifespan of a member, in decisions."""
    mean_lifespan: float
    """Mean lifespan over the members, in decisions."""
    strategy_diversity: float
    """How different the strategies are; 0 if all are the same."""
    text_diversity: float
    """How many tokens of one strategy must be edited to make another, as a share; 0 if all are the same."""
    adapter_diversity: float
    """How different the adapters are; 0 if all are the same."""
    behaviour_diversity: float
    """How differently members would act on the same observations, in bits from 0 to 1."""
    founders: float
    """How many founders of equal share would have left survivors as diverse."""
    ancestor: float
    """Generations since the last common ancestor of all survivors was born; NaN if there is none."""
    copies: int
    """Genomes that were not tested, because they are copies of known ones."""
    screened: int
    """Children that were bred and did not live, because a screen expected less of them than of others."""
    screen_rank: float
    """Spearman's rank correlation between what the screen expected of those who lived and their mean lifespans; NaN
    without a screen, or for fewer than three."""
    written: int
    """Texts that a language model wrote for operators."""
    unusable: int
    """Of them, texts of no use, so that the grammar's operator took over."""
    unreadable: int
    """Decisions of this generation whose answer in words named no action, so that the idle one was taken."""
    deaths: tuple[tuple[str, int], ...]
    """How many episodes ended in each cause, with "outlived" and "failed" among the causes."""
    ess: float
    """Effective sample size of the fine-tuning weights, as a fraction of the samples."""
    explained: float
    """Share of the variance of returns that fine-tuning's value explains on decisions that it was fitted on; NaN for
    methods without a fitted value."""
    loss: float
    """Fine-tuning loss, mean over the elites."""
    kl: float
    """Divergence of the tuned policies from the ones before, in nats per decision."""
    accepted: int
    """Tuned adapters that were not worse than before, and so were kept where training is inherited."""
    refused: int
    """Tuned adapters that were refused, so that the parent was kept."""
    refusals: tuple[tuple[str, int], ...]
    """Of them, how many for which reason (`evo.verdicts`)."""
    shrunk: int
    """Tuned adapters that drifted too far and went back a part of their way."""
    seconds: float
    """Wall-clock seconds of the whole generation."""
    rollout_seconds: float
    """Of them, living."""
    finetune_seconds: float
    """Of them, fine-tuning."""
    model_seconds: float
    """Of them, inside the model."""

    def row(self) -> dict[str, object]:
        """Return the row of the table `generations`, without its `run`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclass(frozen=True, kw_only=True)
class GenomeRow:
    """One genome as it stood after one generation."""

    generation: int
    """From 0."""
    id: int
    """Unique in the run."""
    parents: tuple[int, ...]
    """Ids; empty for a founder. The first is the one that most was taken from."""
    operator: str
    """How it was made from its parents."""
    strategy: str
    """Its strategy text."""
    adapter: str
    """sha256 of its adapter, in hexadecimal."""
    fitness: float
    """Mean lifespan over all its episodes so far, in decisions."""
    count: int
    """How many episodes that mean is over."""
    standard_error: float
    """Of that mean."""
    score: float
    """The same lifespan on the yardstick: 0 is the random policy, 1 the expert."""
    rate: float = 1.0
    """Multiple of the trainer's learning rate that it is fine-tuned with."""
    beta: float = 1.0
    """Multiple of the fine-tuning method's beta."""

    def row(self) -> dict[str, object]:
        """Return the row of the table `genomes`, without its `run`; the id is its column `genome`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {("genome" if name == "id" else name): value for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How one policy did on seeds that never selected or trained."""

    score: float
    """(mean lifespan - random) / (expert - random)."""
    ci: tuple[float, float]
    """95% bootstrap interval of the score."""
    lifespan: float
    """Mean, in decisions."""
    episodes: int
    """How many were lived."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run has spent."""

    decisions: int
    """Environment decisions."""
    forward_flops: float
    """Floating-point operations of deciding, of writing and of screening."""
    training_flops: float
    """Floating-point operations of fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """How long a run took, in all its parts if it was interrupted: in manifest.json, since no two runs agree on it."""

    wall: float
    """From start to summary."""
    model: float
    """Of them, inside the model."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run ends in: summary.json. The same run makes the same summary, to the last bit."""

    run: str
    """The run's name."""
    environment: str
    """The environment's id."""
    seed: int
    """Of the whole run."""
    heldout: tuple[tuple[str, HeldOut], ...]
    """By policy, in the order to show: random, frozen, evolved, expert."""
    budget: Budget
    """What it took."""
    split: tuple[tuple[str, HeldOut], ...] = ()
    """What the best genome's parts do (`evo.heldout.split`), in the order to show: neither, prompt, weights, both;
    empty if that was not asked for."""

    def to_json(self) -> str:
        """Return the text of summary.json; a number that is not finite becomes null."""
        heldout = {name: finite(dataclasses.asdict(result)) for name, result in self.heldout}
        split = {name: finite(dataclasses.asdict(result)) for name, result in self.split}
        content = {
            "run": self.run,
            "environment": self.environment,
            "seed": self.seed,
            "heldout": heldout,
            **({"split": split} if split else {}),
            "budget": finite(dataclasses.asdict(self.budget)),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Summary":
        """Return the summary that `to_json` wrote.

        Raises:
            OutputError: The text is not JSON, or a field is missing or of the wrong kind.
        """
        try:
            content = json.loads(text)
            heldout = tuple((name, _to_heldout(result)) for name, result in content["heldout"].items())
            return cls(
                run=str(content["run"]),
                environment=str(content["environment"]),
                seed=int(content["seed"]),
                heldout=heldout,
                budget=_to_budget(content["budget"]),
                split=tuple((name, _to_heldout(result)) for name, result in content.get("split", {}).items()),
            )
        except KeyError as error:
            raise OutputError(f"summary.json: expected the field {error}, found none") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise OutputError(f"summary.json: expected the summary of a run, got {error}") from error


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """A run has reached its end."""

    summary: Summary
    """As in summary.json."""
    seconds: Seconds
    """As in manifest.json."""


def finite(value: Any) -> Any:
    """Return the same JSON value with null for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _number(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]  # a wrong kind raises TypeError


def _to_heldout(content: Mapping[str, Any]) -> HeldOut:
    low, high = content["ci"]
    return HeldOut(
        score=_number(content["score"]),
        ci=(_number(low), _number(high)),
        lifespan=_number(content["lifespan"]),
        episodes=int(content["episodes"]),
    )


def _to_budget(content: Mapping[str, Any]) -> Budget:
    return Budget(
        decisions=int(content["decisions"]),
        forward_flops=_number(content["forward_flops"]),
        training_flops=_number(content["training_flops"]),
    )
