"""Dominated novelty search: an archive without cells, in which the good and the different compete directly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.algorithms.archive import ArchiveAlgorithm, ArchiveConfig
from evo.algorithms.setting import Ids, Materials
from fitness.checks import check_integer


@dataclass(frozen=True, kw_only=True)
class DominatedNoveltyConfig(ArchiveConfig):
    """Numbers of dominated novelty search (Bahlous-Boldi, Faldor et al. 2025, https://arxiv.org/abs/2502.00593).

    Example: `DominatedNoveltyConfig(population=32, elites=4, descriptors=(), size=64)`
    """

    size: int = 64
    """Genomes that are kept, at least 1."""
    neighbours: int = 3
    """Nearest fitter genomes whose mean distance counts, at least 1."""

    def __post_init__(self) -> None:
        """Refuse an empty archive."""
        super().__post_init__()
        check_integer("size", self.size, 1)
        check_integer("neighbours", self.neighbours, 1)

    def assemble(self, materials: Materials, ids: Ids) -> "DominatedNovelty":
        """See `PopulationConfig.assemble`."""
        return DominatedNovelty(self, materials, ids)


class DominatedNovelty(ArchiveAlgorithm):
    """Keeps those who are far from everybody fitter."""

    def __init__(self, config: DominatedNoveltyConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._size, self._neighbours = config.size, config.neighbours

    def _select(self, scores: NDArray[np.float64], behaviours: NDArray[np.float64]) -> list[int]:
        """Return those with the largest mean distance to their nearest fitter ones; the fittest always remains."""
        distances = np.linalg.norm(behaviours[:, None] - behaviours[None], axis=2)
        fitter = np.tri(len(scores), k=-1, dtype=bool)  # they come best first
        nearest = np.sort(np.where(fitter, distances, np.inf), axis=1)[:, : self._neighbours]
        there = np.isfinite(nearest)
        total = np.where(there, nearest, 0.0).sum(axis=1)
        novelty = np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.inf)
        return sorted(np.argsort(-novelty, kind="stable")[: self._size].tolist())
