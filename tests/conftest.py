"""What all tests share."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch

from fitness.cores import pieces_only

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL's trainers would tell the hub that they were made

_BESIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _BESIDE > 1:  # tests that run beside each other share the cores, and so do the processes that they begin
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _BESIDE))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # whoever began the tests with `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def a_core_each() -> Iterator[None]:
    """Small operations that are split among cores wait for each other, and for whoever else uses the machine."""
    with pieces_only():
        yield
