"""EGGROLL: evolution strategies whose noise has low rank, so that a population acts in one forward.

Owns the algorithm; the noise is a genome's last rank or two, so no noise is remembered and none is drawn again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.algorithms.cloud import CloudAlgorithm
from evo.algorithms.setting import Ids, Materials, PopulationConfig
from fitness.adapter import Adapter
from fitness.checks import check_integer, check_number
from fitness.errors import ConfigError

_TINY = 1e-5
"""Added to a variance before it divides."""


@dataclass(frozen=True, kw_only=True)
class EggrollConfig(PopulationConfig):
    """Numbers of EGGROLL (Sarkar et al. 2025, https://arxiv.org/abs/2511.16652).

    Example: `EggrollConfig(population=32, elites=0, reach=0.1)`
    """

    reach: float = 0.1
    """How much the noise changes a module's output (root mean square) for inputs of root mean square 1; above 0."""
    noise_rank: int = 1
    """Rank of each member's noise; at least 1 and below the adapters' rank."""
    step: float = 1.0
    """Length of the centre's step, relative to the noise; above 0."""
    decay: float = 0.0
    """Share of its way that the centre goes back to the base model after each step, 0 to 1: an anchor against drift."""

    def __post_init__(self) -> None:
        """Refuse a distribution of one point."""
        super().__post_init__()
        check_number("reach", self.reach, 1e-9)
        check_integer("noise_rank", self.noise_rank, 1)
        check_number("step", self.step, 1e-9)
        check_number("decay", self.decay, 0.0, 1.0)

    def assemble(self, materials: Materials, ids: Ids) -> "Eggroll":
        """See `PopulationConfig.assemble`.

        Raises:
            ConfigError: the adapters have no rank to spare for the noise.
        """
        rank = materials.initial.spec.rank
        if self.noise_rank >= rank:
            raise ConfigError(f"algorithm.noise_rank: expected less than adapter.rank = {rank}, got {self.noise_rank}")
        return Eggroll(self, materials, ids)


class Eggroll(CloudAlgorithm):
    """Antithetic low-rank noise `E = sigma / sqrt(k) * U V^T` on delta W; steps along the fitness-weighted noise.

    Every module's noise has entries of standard deviation `sigma = reach / sqrt(in_features)`, in pairs of opposite
    sign. Fitness is centred on each world's mean and divided by the deviation of all. The centre steps by `step *
    sqrt(n) / n * sum_i f_i E_i`; there is no division by sigma squared, so the step is as long as the noise is strong.
    The sum is cut to the rank that the noise leaves, which is exact until that rank is used up.
    """

    def __init__(self, config: EggrollConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._config = config
        self._own_rank = materials.initial.spec.rank - config.noise_rank

    def _begin(self, adapter: Adapter, rng: np.random.Generator) -> Adapter:
        """Return the adapter cut to the rank that the noise leaves."""
        return self._sum([adapter], [1.0])

    def _draw(self, centre: Adapter, rng: np.random.Generator) -> list[Adapter]:
        """Return the centre with noise in its last ranks, twice with opposite signs."""
        pairs = -(-self._size // 2)
        drawn = [self._with_noise(centre, rng) for _ in range(pairs)]
        return [one for plus in drawn for one in (plus, self._mirrored(plus))][: self._size]

    def _move(self, centre: Adapter, drawn: Sequence[Adapter], cases: NDArray[np.float64]) -> Adapter:
        """Return the centre after one step."""
        centred = cases - cases.mean(axis=0)
        fitness = centred.mean(axis=1) / math.sqrt(float(cases.var()) + _TINY)
        weights = self._config.step * fitness / math.sqrt(len(drawn))
        noise = [self._noise(one) for one in drawn]
        return self._sum([centre, *noise], [1.0 - self._config.decay, *((1.0 - self._config.decay) * weights)])

    def _with_noise(self, centre: Adapter, rng: np.random.Generator) -> Adapter:
        """Return the centre with fresh noise."""
        a, b, kept = {}, {}, self._own_rank
        for name, fan_in, fan_out in centre.spec.shapes:
            a[name], b[name] = centre.a[name].clone(), centre.b[name].clone()
            sigma = self._config.reach / math.sqrt(fan_in * self._config.noise_rank) / centre.spec.scaling
            a[name][kept:] = _normal((self._config.noise_rank, fan_in), rng)
            b[name][:, kept:] = sigma * _normal((fan_out, self._config.noise_rank), rng)
        return Adapter(centre.spec, a, b)

    def _mirrored(self, plus: Adapter) -> Adapter:
        """Return the same with the opposite noise."""
        b = {name: factor.clone() for name, factor in plus.b.items()}
        for factor in b.values():
            factor[:, self._own_rank :] *= -1
        return Adapter(plus.spec, plus.a, b)

    def _noise(self, drawn: Adapter) -> Adapter:
        """Return the noise alone."""
        b = {name: factor.clone() for name, factor in drawn.b.items()}
        for factor in b.values():
            factor[:, : self._own_rank] = 0
        return Adapter(drawn.spec, drawn.a, b)

    def _sum(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
        """Return the weighted sum of delta W, cut to the rank that the noise leaves; later ranks are zero."""
        spec = adapters[0].spec
        a, b = {}, {}
        for name, fan_in, fan_out in spec.shapes:
            up = torch.cat([w * one.b[name].double() for one, w in zip(adapters, weights, strict=True)], dim=1)
            down = torch.cat([one.a[name].double() for one in adapters])
            used = up.abs().sum(dim=0) > 0
            a[name], b[name] = torch.zeros(spec.rank, fan_in), torch.zeros(fan_out, spec.rank)
            if used.any():
                left, right = _principal(up[:, used], down[used], self._own_rank)
                b[name][:, : left.shape[1]], a[name][: right.shape[0]] = left.float(), right.float()
        return Adapter(spec, a, b)


def _principal(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return balanced factors of the best approximation of `up @ down` of at most `rank`, through two small QRs."""
    (q_up, r_up), (q_down, r_down) = torch.linalg.qr(up), torch.linalg.qr(down.mT)
    left, strength, right = torch.linalg.svd(r_up @ r_down.mT)
    rank = min(rank, len(strength))
    root = strength[:rank].sqrt()
    return q_up @ (left[:, :rank] * root), (root[:, None] * right[:rank]) @ q_down.mT


def _normal(shape: tuple[int, int], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
