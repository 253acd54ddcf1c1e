"""Pieces of work side by side: in order, one core each, errors told."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from fitness.cores import cores, pieces_only, side_by_side


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("fitness.cores._claimed", [])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_pieces() -> None:
    waits = threading.Event()

    def slow_first(piece: int) -> int:
        if piece == 0:
            assert waits.wait(30)  # until another piece has run: they are side by side
        waits.set()
        return piece * piece

    assert side_by_side(slow_first, range(5)) == [0, 1, 4, 9, 16]


def test_each_piece_has_one_core_and_the_caller_gets_all_back() -> None:
    assert side_by_side(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    assert cores() == 2


def test_a_single_piece_has_all_cores_or_as_many_as_are_said() -> None:
    assert side_by_side(lambda _: torch.get_num_threads(), [0]) == [2]
    assert side_by_side(lambda _: torch.get_num_threads(), [0], lone=1) == [1]


def test_a_block_can_leave_the_cores_to_pieces() -> None:
    with pieces_only():
        assert (torch.get_num_threads(), cores()) == (1, 2)
        assert len(set(side_by_side(_meet(2), range(2)))) == 2  # two threads, or they would wait for ever
        assert side_by_side(lambda _: torch.get_num_threads(), [0]) == [2]
        with pieces_only():
            assert cores() == 2
    assert torch.get_num_threads() == 2


def test_pieces_within_a_piece_come_one_after_another() -> None:
    def both(piece: int) -> list[int]:
        return side_by_side(lambda inner: 10 * piece + inner, range(3))

    with pieces_only():
        assert side_by_side(both, range(4)) == [[10 * i, 10 * i + 1, 10 * i + 2] for i in range(4)]


def test_few_pieces_of_a_large_model_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitness.cores._claimed", [4])
    assert side_by_side(lambda _: torch.get_num_threads(), range(3)) == [4] * 3
    assert side_by_side(lambda _: torch.get_num_threads(), range(3), lone=1) == [1] * 3


def _meet(count: int) -> Callable[[int], int]:
    """Return a piece of work that ends when `count` of its kind have begun; it tells its thread."""
    barrier = threading.Barrier(count, timeout=30)

    def work(_: int) -> int:
        barrier.wait()
        return threading.get_ident()

    return work


@pytest.mark.parametrize("enabled", [False, True])
def test_pieces_run_under_the_callers_autograd_mode(enabled: bool) -> None:
    with torch.set_grad_enabled(enabled):
        assert side_by_side(lambda _: torch.is_grad_enabled(), range(3)) == [enabled] * 3
    with torch.inference_mode(enabled):
        assert side_by_side(lambda _: torch.is_inference_mode_enabled(), range(3)) == [enabled] * 3


def test_an_error_is_raised_and_the_cores_come_back() -> None:
    def fail(piece: int) -> int:
        if piece == 1:
            raise ValueError("broken piece")
        return piece

    with pytest.raises(ValueError, match="broken piece"):
        side_by_side(fail, range(3))
    assert cores() == 2
    assert side_by_side(lambda piece: piece, range(3)) == [0, 1, 2]


def test_gradients_of_pieces_are_their_own() -> None:
    def slope(piece: float) -> float:
        x = torch.tensor(piece, requires_grad=True)
        (x * x).backward()
        assert x.grad is not None
        return float(x.grad)

    assert side_by_side(slope, [1.0, 2.0, 3.0]) == [2.0, 4.0, 6.0]
