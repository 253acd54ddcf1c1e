"""Chance as a pure function of (seed, step, stream, index): the same for an episode whoever shares its batch.

Owns a vectorised counter-based generator built on SplitMix64's finaliser (Steele, Lea and Flood 2014,
https://doi.org/10.1145/2660193.2660195). Environments draw from it instead of holding one generator per episode, which
would be too slow in a batch and would tie an episode's chance to its neighbours'.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STEP, _STREAM, _INDEX = np.uint64(0xD1B54A32D192ED03), np.uint64(0x8CB92BA72F3D8DD7), np.uint64(0xABC98388FB8FAC03)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers so that neighbouring inputs give unrelated outputs."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def uniform(
    seeds: NDArray[np.int64], step: NDArray[np.int64] | int, stream: int, count: int = 1
) -> NDArray[np.float64]:
    """Return [n, count] numbers in [0, 1) that depend on each episode's own seed and step alone.

    Args:
        seeds: [n] episode seeds.
        step: [n] or scalar step of the episode.
        stream: what the numbers are for; two purposes never share a stream.
        count: how many numbers per episode.
    """
    key = _mix(seeds.astype(np.uint64) * _GOLDEN + np.asarray(step).astype(np.uint64) * _STEP)
    key = _mix(key + np.array(stream, np.uint64) * _STREAM)
    drawn = _mix(key[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _INDEX)
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
