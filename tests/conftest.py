"""What all tests share."""

from collections.abc import Iterator

import pytest

from fitness.cores import pieces_only


@pytest.fixture(scope="session", autouse=True)
def a_core_each() -> Iterator[None]:
    """Small operations that are split among cores wait for each other, and for whoever else uses the machine."""
    with pieces_only():
        yield
