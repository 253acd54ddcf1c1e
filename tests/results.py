"""The experiment in docs/results.md, made from the runs of an ablation and from nothing else.

`python -m tests.results outputs/ablation-NAME`, on the machine that made them, compares the runs that are finished once
more, puts what is said of them between the marks of the page, and the pictures beside it.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from evo.outputs import is_finished
from evo.processes import log_of
from evo.report.arms import RunResult, read_result
from evo.report.compare import write_comparison
from evo.report.reading import read_seconds
from tests.benchmarks.findings import machine
from tests.pages import renewed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
BEGIN, END = "<!-- experiment: written by `python -m tests.results` -->", "<!-- end -->"
PICTURES = {"scores.svg": "results.svg", "decisions.svg": "results-decisions.svg", "flops.svg": "results-flops.svg"}
"""Of a comparison -> beside the page."""
_OWN = ("experiment=", "seed=", "hydra.run.dir=")
_RUNS = "\n| run | seed |"


def content(folders: Sequence[Path]) -> str:
    """Compare finished runs, and return what the page says of them; the comparison is written beside the runs."""
    write_comparison(folders)
    arms, _, runs = (folders[0].parent / "comparison" / "comparison.md").read_text(encoding="utf-8").partition(_RUNS)
    results = [read_result(folder) for folder in folders]
    names = list(dict.fromkeys(folder.name.rpartition("-")[0] for folder in folders))
    seeds = len({result.summary.seed for result in results})
    commits = ", ".join(sorted({str(result.commit)[:9] for result in results}))
    facts, hours = machine(), sum(_seconds(result) for result in results) / 3600
    return "\n".join(
        [
            "```console",
            f"$ forager ablate arms=[{','.join(names)}] seeds={seeds} {' '.join(_overrides(folders[0]))}",
            "```",
            "",
            f"{len(results)} runs by commit {commits}, {hours:.1f} hours on one core ({facts['processor']}, "
            f"{facts['cores']} cores, torch {facts['packages']['torch']}).",
            "",
            f"![Held-out score of every arm]({PICTURES['scores.svg']})",
            "",
            arms.strip(),
            "",
            f"![Mean score of the population against decisions]({PICTURES['decisions.svg']})",
            "",
            f"![Mean score of the population against FLOPs]({PICTURES['flops.svg']})",
            "",
            "<details><summary>All runs</summary>",
            "",
            f"{_RUNS}{runs}".strip(),
            "",
            "</details>",
        ]
    )


def _overrides(folder: Path) -> list[str]:
    """Return what an ablation set for all of its runs, as the log of one of them begins."""
    words = shlex.split(log_of(folder).read_text(encoding="utf-8").splitlines()[0])[3:]
    return [word for word in words if not word.startswith(_OWN)]


def _seconds(result: RunResult) -> float:
    """Return how long a run took."""
    took = read_seconds(result.folder)
    return took.wall if took else 0.0


def main(folder: Path) -> None:
    """Write the page and its pictures."""
    folders = sorted(path for path in folder.glob("*-*") if path.is_dir() and is_finished(path))
    if not folders:
        sys.exit(f"results: expected the folder of an ablation with finished runs, given {str(folder)!r}")
    PAGE.write_text(renewed(PAGE, BEGIN, END, content(folders)), encoding="utf-8")
    for name, beside in PICTURES.items():
        shutil.copyfile(folder / "comparison" / name, PAGE.parent / beside)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
