"""What the integration tests share."""

import time
from pathlib import Path

import pytest

from tests.integration.runs import content, kill_at_write, leg


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Return what the small run leaves that nobody disturbs, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    assert leg(folder)
    return content(folder), time.monotonic() - began


@pytest.fixture(scope="session")
def whole(undisturbed: tuple[dict[str, str], float]) -> dict[str, str]:
    """Return what the small run leaves that nobody disturbs."""
    return undisturbed[0]


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Return a run that was killed in its third generation."""
    assert not leg(tmp_path / "run", kill_at_write(45))
    assert len(list((tmp_path / "run/checkpoints").glob("generation=*"))) == 2
    return tmp_path / "run"
