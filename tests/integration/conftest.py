"""What the integration tests share."""

import shutil
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


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was killed in its third generation; `half` is a copy of it."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    assert not leg(folder, kill_at_write(71))
    assert len(list((folder / "checkpoints").glob("generation=*"))) == 2
    return folder


@pytest.fixture
def half(tmp_path: Path, killed: Path) -> Path:
    """Return a run that was killed in its third generation."""
    return Path(shutil.copytree(killed, tmp_path / "run"))
