"""CMA-ES on singular values: directions are fixed, and how strongly each acts is searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from deap import cma
from numpy.typing import NDArray

from evo.algorithms.base import AlgorithmState
from evo.algorithms.cloud import CloudAlgorithm
from evo.algorithms.setting import Ids, Materials, PopulationConfig
from evo.genome import Genome
from evo.operators.selection.deap_selection import Score
from fitness.adapter import Adapter
from fitness.checks import check_number
from fitness.errors import ConfigError

_LARGEST = 2_000
"""Singular values beyond which the covariance of all of them takes more time and room than it can repay."""


@dataclass(frozen=True, kw_only=True)
class CmaEsConfig(PopulationConfig):
    """Numbers of CMA-ES on singular values (ESSA, Korotyshova et al. 2025, https://arxiv.org/abs/2507.04453).

    Example: `CmaEsConfig(population=32, elites=0, reach=0.1)`
    """

    reach: float = 0.1
    """First standard deviation of each singular value, as what it changes in a module's output (root mean square) for
    inputs of root mean square 1; above 0."""

    def __post_init__(self) -> None:
        """Refuse a distribution of one point, and a cloud too small to learn from."""
        super().__post_init__()
        check_number("reach", self.reach, 1e-9)
        if self.population < 5:
            raise ConfigError(f"population: expected at least 5 (a centre and four samples), got {self.population}")

    def assemble(self, materials: Materials, ids: Ids) -> "CmaEs":
        """See `PopulationConfig.assemble`.

        Raises:
            ConfigError: the adapters have too many singular values.
        """
        spec = materials.initial.spec
        values = spec.rank * len(spec.shapes)
        if values > _LARGEST:
            raise ConfigError(
                f"adapter.rank: expected at most {_LARGEST} singular values in all for CMA-ES, got {values} (rank "
                f"{spec.rank} in {len(spec.shapes)} modules); adapter fewer modules with model.targets"
            )
        return CmaEs(self, materials, ids)


class CmaEs(CloudAlgorithm):
    """DEAP's CMA-ES moves r signed singular values per module; the singular vectors stay.

    Those are the best founder's, and where its adapter is zero, directions drawn once. ESSA decomposes A and B apart
    and so has twice as many values, of which only the products matter to the model; these are ours.
    """

    def __init__(self, config: CmaEsConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._config = config
        self._frame: Adapter | None = None  # unit singular vectors, each times the root of its unit of strength
        self._strategy: cma.Strategy | None = None
        self._samples = np.zeros((0, 0))

    def _begin(self, adapter: Adapter, rng: np.random.Generator) -> Adapter:
        """Decompose the adapter, and begin with its singular values."""
        a, b, values = {}, {}, []
        for name, _, fan_out in adapter.spec.shapes:
            left, strength, right = _decomposed(adapter, name, rng)
            unit = self._config.reach * np.sqrt(fan_out) / adapter.spec.scaling
            a[name] = torch.from_numpy(right).float()
            b[name] = torch.from_numpy(left * unit).float()
            values.append(strength / unit)
        self._frame = Adapter(adapter.spec, a, b)
        self._strategy = cma.Strategy(np.concatenate(values), 1.0, lambda_=self._size)
        return self._express(self._strategy.centroid)

    def _draw(self, centre: Adapter, rng: np.random.Generator) -> list[Adapter]:
        """Return adapters with other singular values."""
        assert self._strategy is not None
        noise = rng.standard_normal((self._size, self._strategy.dim))
        self._samples = self._strategy.centroid + self._strategy.sigma * noise @ self._strategy.BD.T
        return [self._express(values) for values in self._samples]

    def _move(self, centre: Adapter, drawn: Sequence[Adapter], cases: NDArray[np.float64]) -> Adapter:
        """Update the distribution."""
        assert self._strategy is not None
        individuals = [_Individual.of(*pair) for pair in zip(self._samples, cases.mean(axis=1), strict=True)]
        self._strategy.update(individuals)
        self._strategy.centroid = np.asarray(self._strategy.centroid)
        return self._express(self._strategy.centroid)

    def _express(self, values: NDArray[np.float64]) -> Adapter:
        """Return the adapter with these singular values, [modules * r]."""
        assert self._frame is not None
        parts = torch.from_numpy(np.asarray(values, np.float32)).split(self._frame.spec.rank)
        b = {name: self._frame.b[name] * part for name, part in zip(self._frame.spec.modules, parts, strict=True)}
        return Adapter(self._frame.spec, self._frame.a, b)

    def _own_state(self) -> AlgorithmState:
        """Return centre, frame and distribution."""
        state, made = super()._own_state(), self._strategy
        if made is None or self._centre is None or self._frame is None:
            return state
        frame = Genome(
            id=-1, genes=self._centre.genes, adapter=self._frame, step_sizes=self._centre.step_sizes, operator="frame"
        )
        told = {"sigma": float(made.sigma), "updates": made.update_count, "samples": self._samples.tolist()}
        arrays = {name: getattr(made, name).tolist() for name in ("centroid", "C", "ps", "pc")}
        return AlgorithmState({**state.data, **told, **arrays}, (*state.genomes, frame))

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described; the eigenvectors are computed from C again, by the same code."""
        super()._own_restore(data, genomes)
        self._strategy, self._frame = None, None
        if "C" in data:
            self._frame = genomes[-1].adapter
            made = cma.Strategy(data["centroid"], data["sigma"], lambda_=self._size, cmatrix=np.array(data["C"]))
            made.ps, made.pc, made.update_count = np.array(data["ps"]), np.array(data["pc"]), data["updates"]
            self._strategy, self._samples = made, np.array(data["samples"])


class _Individual(np.ndarray):
    """What DEAP's CMA-ES reads: numbers with a fitness."""

    fitness: Score

    @classmethod
    def of(cls, values: NDArray[np.float64], fitness: float) -> "_Individual":
        """Return the numbers with their fitness."""
        one = values.view(cls)
        one.fitness = Score((float(fitness),))
        return one


def _decomposed(
    adapter: Adapter, name: str, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return left [out, r], values [r] and right [r, in] of B A; drawn directions, if B A is zero."""
    up, down = (factor[name].double().numpy() for factor in (adapter.b, adapter.a))
    rank, drawn = adapter.spec.rank, not up.any()
    if drawn:
        up = rng.standard_normal(up.shape)
    (q_up, r_up), (q_down, r_down) = np.linalg.qr(up), np.linalg.qr(down.T)
    left, strength, right = np.linalg.svd(r_up @ r_down.T)
    wide = min(q_up.shape[1], q_down.shape[1])
    u, s, v = np.zeros((len(up), rank)), np.zeros(rank), np.zeros((rank, down.shape[1]))
    u[:, :wide], v[:wide] = (q_up @ left)[:, :wide], (right @ q_down.T)[:wide]
    s[:wide] = 0.0 if drawn else strength[:wide]
    return u, s, v
