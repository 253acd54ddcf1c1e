"""What a run was made with: versions, commit and hardware; `manifest.json` of a run.

Owns finding these out. None of it can change what a run comes to, which `config.yaml` alone decides.
"""

import os
import platform
import subprocess
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "forager-evo",
    "torch",
    "transformers",
    "peft",
    "numpy",
    "deap",
    "gymnasium",
    "pyarrow",
    "wandb",
    "hydra-core",
)


def made_with() -> dict[str, Any]:
    """Return versions of packages, the commit, and the machine at hand; None for what cannot be told."""
    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": {
            "system": platform.system(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def processor() -> str:
    """Return the processor's name, as the system tells it, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    """Return an installed package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the source tree, with "+" if files differ from it; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = partial(subprocess.run, cwd=root, capture_output=True, text=True, timeout=5, check=True)
        commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
