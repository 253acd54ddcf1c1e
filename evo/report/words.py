"""Which words of strategies won and lost: how common a clause is among all, and among those that selection left.

Owns the clauses of a strategy's text and the count of who has them. A genome was *left* by selection if it lived on
into the next generation or has a child there. What a clause gained in one generation is its share among those who were
left less its share among all, the selection differential of Price 1970 (https://doi.org/10.1038/227520a0); summed over
generations it is what selection alone did for it, without mutation. A clause may win by luck or because it sits in a
good genome, so a gain is no proof of use.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evo.records import GenomeRow

_LEAST = 1e-9
"""A smaller gain is rounding."""
Shares = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Word:
    """What became of one clause.

    Example: in half of 4 genomes, and in both of the 2 that were left: `among_all == (0.5, ...)`,
    `among_left == (1.0, ...)` and a gain of 0.5 in that generation.
    """

    clause: str
    among_all: tuple[float, ...]
    """Share of genomes that have it, by generation."""
    among_left: tuple[float, ...]
    """Share of those who were left, by generation but the last, of which nobody knows."""
    gain: float
    """Sum of the differences; above 0 it won."""
    contested: int
    """Generations in which some had it and some had not."""


@dataclass(frozen=True)
class Verdict:
    """The clauses that selection was for and against."""

    won: tuple[Word, ...]
    """The greatest gain first."""
    lost: tuple[Word, ...]
    """The greatest loss first."""


def clauses(strategy: str) -> list[str]:
    """Split a strategy at its full stops, which stay with their clause."""
    return [f"{part}." for part in strategy.strip().rstrip(".").split(". ") if part]


def judge(rows: Iterable[GenomeRow], most: int) -> Verdict:
    """Return the clauses that gained and lost most, at most `most` of each.

    Args:
        rows: every genome in every generation that it lived in.
        most: of each kind.
    """
    generations: dict[int, list[GenomeRow]] = {}
    for row in rows:
        generations.setdefault(row.generation, []).append(row)
    lived = [generations[number] for number in sorted(generations)]
    everyone = [_shares(members) for members in lived]
    left = [_shares(_left(now, after)) for now, after in pairwise(lived)]
    gains: dict[str, float] = {}
    for before, after in zip(everyone, left, strict=False):
        for clause in before if after else ():  # nobody was left where an algorithm's parents are no members
            gains[clause] = gains.get(clause, 0.0) + after.get(clause, 0.0) - before[clause]
    order = sorted(gains, key=lambda clause: (-gains[clause], clause))
    won = [clause for clause in order[:most] if gains[clause] > _LEAST]
    lost = [clause for clause in order[: -most - 1 : -1] if gains[clause] < -_LEAST]
    words = [[_word(clause, gains[clause], everyone, left) for clause in part] for part in (won, lost)]
    return Verdict(*map(tuple, words))


def _left(now: Iterable[GenomeRow], after: Sequence[GenomeRow]) -> list[GenomeRow]:
    """Return who lived on or has a child in the generation after."""
    ids = {row.id for row in after}
    ids |= {parent for row in after for parent in row.parents}
    return [row for row in now if row.id in ids]


def _shares(members: Sequence[GenomeRow]) -> dict[str, float]:
    counts = Counter(clause for row in members for clause in dict.fromkeys(clauses(row.strategy)))
    return {clause: count / len(members) for clause, count in counts.items()}


def _word(clause: str, gain: float, everyone: Sequence[Shares], left: Sequence[Shares]) -> Word:
    among_all = tuple(shares.get(clause, 0.0) for shares in everyone)
    among_left = tuple(
        shares.get(clause, 0.0) if shares else before for shares, before in zip(left, among_all, strict=False)
    )
    contested = sum(0 < share < 1 for share in among_all[: len(left)])
    return Word(clause=clause, among_all=among_all, among_left=among_left, gain=gain, contested=contested)
