"""Which decisions of a run are worth learning from: whole lives, and preferences between two lives in one world.

Owns the reading of lives from telemetry, the choice of the longest and the pairing. Does not own texts or tokens.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fitness.errors import OutputError
from fitness.telemetry import read_table

MARGIN = 1.5
"""A life is preferred to another one in the same world if it was at least this many times as long."""
_DECISIONS = ("generation", "genome", "seed", "step", "observation", "action", "prompt_tokens", "answer_tokens")


@dataclass(frozen=True, kw_only=True)
class Life:
    """One life of one genome, to its death or to the horizon."""

    generation: int
    genome: int
    seed: int
    """Of the world; all of a generation's genomes live in the same worlds."""
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    """What was done on reading each observation."""
    prompt_tokens: tuple[int, ...]
    """Tokens that were read before each decision."""
    answers: tuple[tuple[int, ...], ...] = ()
    """The tokens of each decision in words, as they were sampled; empty where agents chose among names."""

    def __len__(self) -> int:
        """Return the lifespan, in decisions."""
        return len(self.actions)

    def answer(self, step: int) -> tuple[int, ...]:
        """Return the tokens of one decision in words, or none."""
        return self.answers[step] if self.answers else ()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a genome did on reading an observation."""

    genome: int
    """Whose prompt it was."""
    observation: str
    action: str
    prompt_tokens: int
    """As recorded."""
    answer: tuple[int, ...] = ()
    """Tokens in which it was said; empty if the action's name was chosen."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Two answers to what a genome has read: that of a long life and that of a short one, in the same world."""

    genome: int
    """Whose prompt it was."""
    observation: str
    chosen: str
    """Action of the long life."""
    rejected: str
    """Action of the short one."""
    prompt_tokens: int
    """As recorded."""
    chosen_answer: tuple[int, ...] = ()
    """Tokens in which it was said; empty if the action's name was chosen."""
    rejected_answer: tuple[int, ...] = ()
    """The same of the short life."""


def read_lives(run: Path, genomes: Collection[int]) -> tuple[list[Life], list[Life]]:
    """Return the lives of `genomes`, and those of all others in the same generations; failed ones do not count.

    Both are in order of generation, genome and world.

    Raises:
        OutputError: the telemetry is missing or cannot be read, or none of `genomes` has lived.
    """
    episodes = read_table(run, "episodes", columns=["generation", "genome", "seed", "end"])
    mine = pc.is_in(episodes["genome"], value_set=pa.array(sorted(genomes), pa.int64()))
    generations = pc.unique(episodes.filter(mine)["generation"])
    ended = episodes.filter(pc.is_in(episodes["generation"], value_set=generations)).to_pylist()
    whole = {(row["generation"], row["genome"], row["seed"]) for row in ended if row["end"] != "failed"}
    decisions = read_table(run, "transitions", columns=_DECISIONS)
    decisions = decisions.filter(pc.is_in(decisions["generation"], value_set=generations))
    decisions = decisions.sort_by([(name, "ascending") for name in _DECISIONS[:4]])
    lives = [life for life in _lives(decisions) if (life.generation, life.genome, life.seed) in whole]
    own = [life for life in lives if life.genome in genomes]
    if not own:
        raise OutputError(f"{run}: expected recorded lives of genomes {sorted(genomes)}, found none")
    return own, [life for life in lives if life.genome not in genomes]


def _lives(decisions: pa.Table) -> Iterator[Life]:
    """Yield what lies together in a table that is in order."""
    columns = decisions.to_pydict()
    keys = list(zip(columns["generation"], columns["genome"], columns["seed"], strict=True))
    first = 0
    for place in range(1, len(keys) + 1):
        if place == len(keys) or keys[place] != keys[first]:
            generation, genome, seed = keys[first]
            yield Life(
                generation=generation,
                genome=genome,
                seed=seed,
                observations=tuple(columns["observation"][first:place]),
                actions=tuple(columns["action"][first:place]),
                prompt_tokens=tuple(columns["prompt_tokens"][first:place]),
                answers=tuple(tuple(said) for said in columns["answer_tokens"][first:place] if said is not None),
            )
            first = place


def longest(lives: Sequence[Life], share: float) -> list[Life]:
    """Return the longest-lived share of the lives, at least one, longest first; of equals, the earlier ones."""
    return sorted(lives, key=lambda life: -len(life))[: math.ceil(share * len(lives))]


def decisions_of(life: Life) -> list[Decision]:
    """Return the decisions of a life, in order."""
    return [
        Decision(
            genome=life.genome,
            observation=life.observations[step],
            action=life.actions[step],
            prompt_tokens=life.prompt_tokens[step],
            answer=life.answer(step),
        )
        for step in range(len(life))
    ]


def preferences(own: Sequence[Life], others: Sequence[Life]) -> list[Preference]:
    """Return what the longer of two lives in one world did and the shorter did not, on reading the same.

    One of the two is always the exported genome's, so that its prompt was really read; the other is that of a genome
    with another adapter, and mostly another strategy. Two places tell them apart:

    * the fork, where the two first act differently: the world is the same to the last bit until then, so all that
      follows follows from there (direct comparison of whole trajectories: Song et al. 2024, ETO,
      https://arxiv.org/abs/2403.02502, without its need of one prompt for both);
    * observations that both read again later and to which they have no answer in common; the text is then the same,
      but what it leaves out may differ.

    Lives of similar length (`MARGIN`) are not compared.
    """
    everyone: dict[tuple[int, int], list[Life]] = {}
    for life in (*own, *others):
        everyone.setdefault((life.generation, life.seed), []).append(life)
    return [
        preference
        for life in own
        for other in everyone[life.generation, life.seed]
        if other.genome != life.genome
        for preference in _compare(life, other)
    ]


def _compare(own: Life, other: Life) -> Iterator[Preference]:
    """Yield the preferences between a life and another one in the same world."""
    short, long = sorted((len(own), len(other)))
    fork = _fork(own, other)
    if fork is None or long < MARGIN * short:
        return
    yield _prefer(own, fork, other, fork)
    mine, theirs = _answers(own, fork + 1), _answers(other, fork + 1)
    for observation, (done, place) in mine.items():
        done_there, place_there = theirs.get(observation, (done, 0))
        if observation != own.observations[fork] and not done & done_there:
            yield _prefer(own, place, other, place_there)


def _prefer(own: Life, place: int, other: Life, place_there: int) -> Preference:
    """Return the preference between what two lives did at two steps where they read the same."""
    done, done_there = (own.actions[place], own.answer(place)), (other.actions[place_there], other.answer(place_there))
    chosen, rejected = (done, done_there) if len(own) > len(other) else (done_there, done)
    return Preference(
        genome=own.genome,
        observation=own.observations[place],
        chosen=chosen[0],
        rejected=rejected[0],
        prompt_tokens=own.prompt_tokens[place],
        chosen_answer=chosen[1],
        rejected_answer=rejected[1],
    )


def _fork(one: Life, other: Life) -> int | None:
    """Return the step at which two lives first answer the same observation differently; None if they never meet so."""
    for step, (seen, done) in enumerate(zip(one.observations, one.actions, strict=True)):
        if step >= len(other) or seen != other.observations[step]:
            return None
        if done != other.actions[step]:
            return step
    return None


def _answers(life: Life, since: int) -> dict[str, tuple[set[str], int]]:
    """Return, for each observation from a step on, all that was done on reading it and where it was read first."""
    found: dict[str, tuple[set[str], int]] = {}
    for step in range(since, len(life)):
        found.setdefault(life.observations[step], (set(), step))[0].add(life.actions[step])
    return found
