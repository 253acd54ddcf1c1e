"""What all tests share."""

import os
from collections.abc import Iterator

import pytest

from fitness.cores import pieces_only

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL's trainers would tell the hub that they were made


@pytest.fixture(scope="session", autouse=True)
def a_core_each() -> Iterator[None]:
    """Small operations that are split among cores wait for each other, and for whoever else uses the machine."""
    with pieces_only():
        yield
