"""No key, no settings and no W&B server of whoever runs the tests."""

from pathlib import Path

import pytest

from tests.evo.tracking.offline import alone


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in alone(tmp_path).items():
        monkeypatch.setenv(name, value)
