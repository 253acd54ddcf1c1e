"""What all tests share."""

import os
import signal
from collections.abc import Iterator

import pytest

from fitness.cores import pieces_only

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL's trainers would tell the hub that they were made

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # whoever began the tests with `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def a_core_each() -> Iterator[None]:
    """Small operations that are split among cores wait for each other, and for whoever else uses the machine."""
    with pieces_only():
        yield
