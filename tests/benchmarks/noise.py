"""Luck against merit: rules that decide by few noisy lives who survives, at equal episodes, where the truth is known.

A simulation of (mu + lambda) evolution in which a genome is one number. A lifespan is drawn as in the small worlds of
Forage: whole steps, never fewer than a body lasts without food, skewed, and cut off at the horizon, so that good
genomes often tie. A share of the luck lies in the world and is common to all who live in it; a tenth of the variance
does in Forage, and the second setting has worlds that differ more. Every rule has the same episodes in all, and turns
them into generations of its own length; what it spares buys more generations.

False elites: the share of generations whose best-ranked genome is truly not among the best mu of its pool. Regret: what
the pool's truly best lives longer than the best-ranked. Final: what the best-ranked of the last generation truly lives.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from evo.noise import adjusted_means
from evo.racing import advance, rungs
from tests.benchmarks.findings import Finding, tell

Floats = NDArray[np.float64]

FLOOR, HORIZON = 24, 128
POPULATION, SURVIVORS, WORLDS, GENERATIONS = 24, 6, 8, 12
BUDGET = POPULATION * WORLDS * GENERATIONS
START, SPREAD, STEP, DECAY = 3.0, 0.25, 0.25, 0.1
"""Founders' mean and standard deviation, a mutation's standard deviation and what it loses on average, in log steps."""
REPLICATES = 100
"""Runs of each rule, times `--repeats`."""
DOUBT = 2.0
"""Lives that a newcomer's prior counts as under ours; it was chosen, as all of ours, on other streams of chance."""
_STREAMS = 10_000
_SURE = 0.05
_GRID = np.linspace(-4.0, 12.0, 3201)


def _true_lifespans(merit: Floats) -> Floats:
    """Return the expected lifespan of each merit: of a whole number, the sum over steps of the chance to live on."""
    steps = np.arange(1, HORIZON - FLOOR)
    return FLOOR + 1.0 + ndtr(merit[:, None] - np.log(steps)).sum(axis=1)


_TRUTH = _true_lifespans(_GRID)


def truth(merit: Floats) -> Floats:
    """Return what genomes of such merit live on average."""
    return np.interp(merit, _GRID, _TRUTH)


class Nature:
    """Lets genomes live, and counts."""

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.rng, self.left = rng, BUDGET
        self._common, self._own = np.sqrt(share), np.sqrt(1.0 - share)

    def live(self, merit: Floats, worlds: int) -> Floats:
        """Return lifespans [G, worlds] in new worlds, the same for all."""
        self.left -= len(merit) * worlds
        luck = self._common * self.rng.normal(size=worlds) + self._own * self.rng.normal(size=(len(merit), worlds))
        return np.minimum(HORIZON, FLOOR + np.ceil(np.exp(merit[:, None] + luck)))

    def breed(self, parents: Floats, count: int) -> Floats:
        """Return the merit of children; founders without parents."""
        if not len(parents):
            return self.rng.normal(START, SPREAD, count)
        return self.rng.choice(parents, count) + self.rng.normal(-DECAY, STEP, count)


class Told(NamedTuple):
    """A generation: everyone's merit, and the position of the one that the rule holds for the best."""

    pool: Floats
    best: int


Rule = Callable[[Nature], Iterator[Told]]
"""Runs generations for as long as there are episodes."""
Test = Callable[[Nature, Floats, float], Floats]
"""Gives newcomers their values: nature, merit, the value to beat."""


def once_tested(test: Test, least: int) -> Rule:
    """Return the rule that tests newcomers, and then believes their values for good; survivors are not tested again."""

    def run(nature: Nature) -> Iterator[Told]:
        merit = values = np.zeros(0)
        while nature.left >= (POPULATION - len(merit)) * least:
            new = nature.breed(merit, POPULATION - len(merit))
            to_beat = values[-1] if len(values) else -np.inf
            pool, known = np.append(merit, new), np.append(values, test(nature, new, to_beat))
            kept = np.argsort(-known, kind="stable")[:SURVIVORS]
            yield Told(pool, int(kept[0]))
            merit, values = pool[kept], known[kept]

    return run


def fixed(worlds: int) -> Test:
    """Return the test in a number of worlds."""
    return lambda nature, merit, _: nature.live(merit, worlds).mean(axis=1)


def normal_stop(nature: Nature, merit: Floats, to_beat: float) -> Floats:
    """Stop each test, after two lives or more, where a normal posterior is sure that its mean is on one side.

    That is ShinkaEvolve's rule: with mean m and standard error s / sqrt(n) of n lives, P(mean > to_beat) is below 0.05
    or above 0.95; without spread it is sure at once.
    """
    lived, going = np.full((len(merit), WORLDS), np.nan), np.ones(len(merit), bool)
    for trial in range(WORLDS):
        lived[going, trial] = nature.live(merit[going], 1)[:, 0]
        if trial:
            part = lived[going, : trial + 1]
            error = np.maximum(part.std(axis=1, ddof=1) / np.sqrt(trial + 1), 1e-10)
            beats = ndtr((part.mean(axis=1) - to_beat) / error)
            going[going] = (beats >= _SURE) & (beats <= 1 - _SURE) | np.isinf(to_beat)
        if not going.any():
            break
    return np.nanmean(lived, axis=1)


def retested(nature: Nature) -> Iterator[Told]:
    """Test all in the same worlds, survivors again; running means drawn to the mean of all: no race, worlds left in."""
    merit = means = counts = np.zeros(0)
    while nature.left >= POPULATION * WORLDS:
        pool = np.append(merit, nature.breed(merit, POPULATION - len(merit)))
        means, counts = (np.append(known, np.zeros(POPULATION - len(merit))) for known in (means, counts))
        means = (counts * means + nature.live(pool, WORLDS).sum(axis=1)) / (counts + WORLDS)
        counts = counts + WORLDS
        kept = np.argsort(-(counts * means + WORLDS * means.mean()) / (counts + WORLDS), kind="stable")[:SURVIVORS]
        yield Told(pool, int(kept[0]))
        merit, means, counts = pool[kept], means[kept], counts[kept]


def raced(nature: Nature) -> Iterator[Told]:
    """Ours: rungs in common worlds, survivors in them too, and means without the worlds' part drawn to a prior."""
    merit = means = counts = np.zeros(0)
    while nature.left >= POPULATION * WORLDS:
        new = POPULATION - len(merit)
        pool = np.append(merit, nature.breed(merit, new))
        prior, weight = np.append(means, np.full(new, np.nan)), np.append(counts, np.full(new, DOUBT))
        alive, scores, lived = np.ones(POPULATION, bool), np.zeros(POPULATION), np.zeros((POPULATION, 0))
        for rung in rungs(POPULATION, WORLDS, SURVIVORS):
            alive = advance(lived, scores, alive, rung.genomes, SURVIVORS)
            seen = np.full((POPULATION, rung.worlds), np.nan)
            seen[alive] = nature.live(pool[alive], rung.worlds)
            lived = np.hstack([lived, seen])
            scores = adjusted_means(lived, prior, weight)
        kept = np.argsort(-np.where(alive, scores, -np.inf), kind="stable")[:SURVIVORS]
        yield Told(pool, int(kept[0]))
        merit, means = pool[kept], scores[kept]
        counts = weight[kept] + (~np.isnan(lived[kept])).sum(axis=1)


RULES: dict[str, Rule] = {
    "ours": raced,
    "single shot": once_tested(fixed(1), 1),
    f"fixed {WORLDS}": once_tested(fixed(WORLDS), WORLDS),
    "Shinka's normal stop": once_tested(normal_stop, WORLDS),
    "re-tested, no race": retested,
}


@dataclass(frozen=True)
class Outcome:
    """What runs of one rule came to; arrays [replicates]."""

    false_elites: Floats
    regret: Floats
    final: Floats


def play(rule: Rule, share: float, replicates: int) -> Outcome:
    """Run a rule; replicate i has the same stream of chance under every rule."""
    return Outcome(
        *np.array([_run(rule(Nature(share, np.random.default_rng(_STREAMS + i)))) for i in range(replicates)]).T
    )


def _run(generations: Iterator[Told]) -> tuple[float, float, float]:
    """Return the share of false elites, the mean regret and the final value of one run."""
    false, regret, final = [], [], 0.0
    for told in generations:
        lifespans = truth(told.pool)
        final = float(lifespans[told.best])
        false.append(float((lifespans > final).sum() >= SURVIVORS))
        regret.append(float(lifespans.max()) - final)
    return float(np.mean(false)), float(np.mean(regret)), final


def measure(repeats: int) -> list[Finding]:
    """Play all rules in both settings."""
    return [finding for share in (0.15, 0.6) for finding in _measure(share, REPLICATES * repeats)]


def _measure(share: float, replicates: int) -> list[Finding]:
    outcomes = {name: play(rule, share, replicates) for name, rule in RULES.items()}
    case = f"noise: {share:.0%} of luck in the world, {BUDGET} episodes"
    tell(f"{case}, {replicates} runs: false elites, regret and final lifespan, with 95% intervals")
    for name, outcome in outcomes.items():
        tell(f"  {name:22s} {_mean(outcome.false_elites)}  {_mean(outcome.regret)}  {_mean(outcome.final)}")
    ours, *peers = outcomes
    return [finding for peer in peers for finding in _compare(case, peer, outcomes[ours], outcomes[peer])]


def _compare(case: str, peer: str, ours: Outcome, theirs: Outcome) -> list[Finding]:
    """Return one finding for each measure, of means; the ratio is above 1 where ours is better."""
    found = []
    for name, unit in (("false_elites", "share"), ("regret", "steps"), ("final", "steps")):
        mine, other = float(getattr(ours, name).mean()), float(getattr(theirs, name).mean())
        ratio = mine / other if name == "final" else other / mine
        target = None if name == "final" else 1.0  # who never errs but never dares either goes nowhere: it is told
        told = f"{case}, {name.replace('_', ' ')}"
        found.append(Finding(case=told, unit=unit, peer=peer, ours=mine, theirs=other, ratio=ratio, target=target))
    return found


def _mean(values: Floats) -> str:
    """Return a mean with the half-width of its interval."""
    return f"{values.mean():7.3f} +-{1.96 * values.std(ddof=1) / np.sqrt(len(values)):6.3f}"
