"""What was found: ours against a peer, the ratio, and whether it is what it should be; as a table and as JSON."""

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from evo.manifest import processor
from tests.pages import renewed

_MARKS = ("<!-- measured -->", "<!-- end -->")
_PACKAGES = ("torch", "transformers", "peft", "numpy")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table."""

    case: str
    """What was done, and how much of it."""
    unit: str
    peer: str
    """Whom or what ours is compared with."""
    ours: float
    theirs: float
    ratio: float
    """How many times better ours is; for shares and limits, ours by theirs."""
    target: float | None = None
    """The least ratio that it should have; None where nothing is promised."""

    @property
    def held(self) -> bool | None:
        """Whether the target was reached; None without one."""
        return None if self.target is None else self.ratio >= self.target


def faster(case: str, unit: str, work: float, seconds: dict[str, float], targets: dict[str, float]) -> list[Finding]:
    """Compare the first of `seconds`, ours, with all others, by work done per second."""
    ours, *peers = seconds
    rate = {name: work / value for name, value in seconds.items()}
    return [
        Finding(
            case=case,
            unit=unit,
            peer=peer,
            ours=rate[ours],
            theirs=rate[peer],
            ratio=rate[ours] / rate[peer],
            target=targets.get(peer),
        )
        for peer in peers
    ]


def tell(case: str) -> None:
    """Say on standard error what is being measured: some cases take minutes."""
    print(f"  {case}", file=sys.stderr, flush=True)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as text: first column to the left, numbers to the right."""
    columns = ("case", "unit", "peer", "ours", "peer's", "ratio", "target", "held")
    rows = [columns, *map(_cells, findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def into_page(page: Path, findings: Sequence[Finding]) -> None:
    """Put the table, and what it was measured on, in place of what stands between the marks of a page."""
    facts = machine()
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    told = f"{facts['processor']}, {facts['cores']} cores; Python {facts['python']}, {packages}."
    rows = [("case", "unit", "peer", "ours", "peer's", "ratio", "target", "held"), ("---",) * 8]
    lines = [f"| {' | '.join(cells)} |" for cells in (*rows, *map(_cells, findings))]
    page.write_text(renewed(page, *_MARKS, "\n".join([told, "", *lines])), encoding="utf-8")


def save(folder: Path, part: str, findings: Sequence[Finding]) -> Path:
    """Write a part's findings with the facts of the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    content = {"machine": machine(), "findings": [asdict(f) | {"held": f.held} for f in findings]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def load(folder: Path, part: str) -> list[Finding]:
    """Return what a part found when it was last measured; nothing if it never was."""
    path = folder / f"{part}.json"
    told = json.loads(path.read_text())["findings"] if path.is_file() else []
    return [Finding(**{name: value for name, value in finding.items() if name != "held"}) for finding in told]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d"),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _cells(finding: Finding) -> tuple[str, ...]:
    """Return a line of the table."""
    target = "" if finding.target is None else f"{finding.target:g}"
    held = {None: "", True: "yes", False: "NO"}[finding.held]
    numbers = (_short(finding.ours), _short(finding.theirs), _short(finding.ratio))
    return (finding.case, finding.unit, finding.peer, *numbers, target, held)


def _short(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
