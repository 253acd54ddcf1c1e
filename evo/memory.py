"""What optimisers remember of those who were tuned, and who goes on from it.

Owns the heredity of moments: a genome has its own if it was tuned, else its only parent's, and so on; a child of two
has none, since its weights are nobody's that were ever trained. Does not own their form (`finetune.moments`) or whether
they are kept at all (`TrainerConfig.moments`).
"""

from collections.abc import Iterable, Mapping

from evo.genome import Genome
from evo.lineage import Birth
from finetune.moments import Moments


class Memory:
    """Moments by the id of the genome that training made."""

    def __init__(self, births: Mapping[int, Birth], moments: Mapping[int, Moments]) -> None:
        """Go on with `moments`; `births` may grow, and says who descends from whom."""
        self._births, self.moments = births, dict(moments)

    def of(self, genome: Genome) -> Moments | None:
        """Return what `genome` goes on from; None: nothing."""
        source = self._source(genome)
        return None if source is None else self.moments[source]

    def prune(self, living: Iterable[Genome]) -> None:
        """Forget what none of the living goes on from."""
        needed = {self._source(genome) for genome in living}
        self.moments = {id_: kept for id_, kept in self.moments.items() if id_ in needed}

    def _source(self, genome: Genome) -> int | None:
        """Return whose moments they are."""
        id_, parents = genome.id, genome.parents
        while self.moments and id_ not in self.moments:
            if len(parents) != 1:
                return None
            id_ = parents[0]
            parents = self._births[id_].parents
        return id_ if self.moments else None
