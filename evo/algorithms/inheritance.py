"""What becomes of training: whether tuned weights are inherited, and whether tuned lives count.

Owns the three answers, and what each makes of the verdicts on tuned children. A tuned child lives the same worlds as
its parent under every one of them, so that runs that differ in nothing else cost the same:

* "lamarckian": unless it is worse, the child takes its parent's place, and its weights are inherited.
* "baldwinian": unless it is worse, the child's lives count for its parent in place of the parent's own, and what the
  child did is what the parent did; but the parent stays as it was born, and so are its children. Hinton and Nowlan 1987
  (how learning can guide evolution); both beside each other: Whitley, Gordon and Mathias 1994,
  https://doi.org/10.1007/3-540-58484-6_245. Theirs train everybody, before any test; ours the elites, between two.
* "none": the child is tested, judged and recorded, and then forgotten: the control of equal cost.

Does not own the verdict (`evo.algorithms.base.judge`). A child whose genes were rewritten is no tuned one: it is
inherited always. To add an answer, add its name and say in `settle` what it makes of a verdict.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evo.algorithms.base import Judgement

INHERITANCES = ("lamarckian", "baldwinian", "none")


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What follows from the verdicts of one generation.

    Example: of two accepted children 8 of 1 and 9 of 2, where 9 alone was tuned and lives are lent ("baldwinian"),
        `heirs` is ((8, 1),), `lent` is ((9, 2),), `leaving` is {1, 9} and `apart` is {9}.
    """

    heirs: tuple[tuple[int, int], ...]
    """(child, parent) where the child takes the parent's place."""
    lent: tuple[tuple[int, int], ...]
    """(child, parent) where the child's lives count for the parent."""
    leaving: frozenset[int]
    """Ids of those who cannot survive."""
    apart: frozenset[int]
    """Ids of those who say nothing of the population: they are measured and no part of it."""


def settle(inheritance: str, judgements: Sequence[Judgement], tuned: Collection[int]) -> Settlement:
    """Return what follows from verdicts.

    Args:
        inheritance: one of `INHERITANCES`.
        judgements: verdicts on children that stood beside their parents.
        tuned: ids of the children that were fine-tuned.
    """
    apart = frozenset() if inheritance == "lamarckian" else frozenset(one.child for one in judgements) & set(tuned)
    accepted = [(one.child, one.parent) for one in judgements if one.accepted]
    heirs = tuple(pair for pair in accepted if pair[0] not in apart)
    gone = dict(heirs)
    return Settlement(
        heirs=heirs,
        lent=tuple(pair for pair in accepted if pair[0] in apart) if inheritance == "baldwinian" else (),
        leaving=frozenset(gone.get(one.child, one.child) for one in judgements),
        apart=apart,
    )
