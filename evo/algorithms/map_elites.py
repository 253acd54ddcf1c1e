"""MAP-Elites: the best of every way to live."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.algorithms.archive import ArchiveAlgorithm, ArchiveConfig
from evo.algorithms.setting import Ids, Materials
from fitness.checks import check_integer


@dataclass(frozen=True, kw_only=True)
class MapElitesConfig(ArchiveConfig):
    """Numbers of MAP-Elites (Mouret and Clune 2015, https://arxiv.org/abs/1504.04909).

    Example: `MapElitesConfig(population=32, elites=4, descriptors=("entropy", "rest"), bins=8)`
    """

    bins: int = 8
    """Equal parts that each descriptor's range from 0 to 1 is cut into; the grid has bins to the power of descriptors
    cells."""

    def __post_init__(self) -> None:
        """Refuse a grid of no cells."""
        super().__post_init__()
        check_integer("bins", self.bins, 1)

    def assemble(self, materials: Materials, ids: Ids) -> "MapElites":
        """See `PopulationConfig.assemble`."""
        return MapElites(self, materials, ids)


class MapElites(ArchiveAlgorithm):
    """One genome for each cell of a grid over behaviours: the one with the best score there."""

    def __init__(self, config: MapElitesConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._bins = config.bins

    def _select(self, scores: NDArray[np.float64], behaviours: NDArray[np.float64]) -> list[int]:
        """Return the first, which is the best, of every cell."""
        cells = np.minimum((behaviours * self._bins).astype(np.int64), self._bins - 1)
        return sorted(np.unique(cells, axis=0, return_index=True)[1].tolist())
