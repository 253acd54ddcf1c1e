"""Who computes on which core: pieces of model work side by side, each on a core of its own.

Owns the threads. PyTorch by itself splits every small operation among the cores, and they wait for each other at its
end: with a busy neighbour, one core's delay is everyone's, an operation at a time. Pieces that meet only at the end of
all the work lose nothing to waiting. Does not own what a piece is, or whether pieces pay on the device at hand
(`PopulationModel.side_by_side`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_claimed: list[int] = []
"""How many cores each `pieces_only` block in force found."""
_dealt: list[int] = []
"""Threads that each `_threads` block in force gave to an operation."""
_here = threading.local()
"""`in_a_piece` is set in the pool's threads."""


def cores() -> int:
    """Return how many cores there are to use: PyTorch's threads (`OMP_NUM_THREADS`, `torch.set_num_threads`)."""
    return _claimed[0] if _claimed else torch.get_num_threads()


@contextmanager
def pieces_only() -> Iterator[None]:
    """Leave all cores but one to `side_by_side`; PyTorch's other operations inside the block stay on one."""
    _claimed.append(cores())
    try:
        with _threads(1):
            yield
    finally:
        _claimed.pop()


def side_by_side(do: Callable[[Piece], Result], pieces: Sequence[Piece], *, lone: int | None = None) -> list[Result]:
    """Return `do` of every piece, in their order, as many at a time as there are cores.

    `do` runs under the caller's autograd mode and must share nothing that it changes with other pieces. The first error
    of a piece is raised; pieces that have not begun are dropped. Inside a piece, pieces come one after another.

    Args:
        do: what to do.
        pieces: to what.
        lone: cores for a piece that is alone; None: pieces that are fewer than the cores come one after another and
            each has all of them.
    """
    if getattr(_here, "in_a_piece", False):
        return [do(piece) for piece in pieces]
    count = cores()
    if min(count, len(pieces)) < 2 or (lone is None and len(pieces) < count):
        with _threads(count if lone is None else min(lone, count)):
            return [do(piece) for piece in pieces]
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def alone(piece: Piece) -> Result:
        _here.in_a_piece = True
        torch.set_num_threads(1)  # for this thread: some libraries count each thread's own
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return do(piece)

    with _threads(1):
        return list(_pool(count).map(alone, pieces))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have PyTorch and NumPy split operations in `count`; the setting is the process's own, so it is put back."""
    if _dealt and _dealt[-1] == count == torch.get_num_threads():
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    _dealt.append(count)
    try:
        with _libraries().limit(limits=count):
            yield
    finally:
        _dealt.pop()
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries() -> Any:
    """Return control over the linear algebra libraries of NumPy and SciPy, which have threads of their own."""
    import scipy.linalg  # noqa: F401 - loads its library, so that it is found

    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=4)
def _pool(workers: int) -> ThreadPoolExecutor:
    """Return threads that are kept for the next time: PyTorch sets up each thread once."""
    return ThreadPoolExecutor(workers, thread_name_prefix="forager")
