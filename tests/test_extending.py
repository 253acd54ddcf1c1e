"""The worked example of docs/extending.md runs, from outside the package."""

import re
import sys
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.integration.runs import OVERRIDES, command, said

ROOT = Path(__file__).resolve().parent.parent
_FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def look_in(folder: Path) -> None:
    """Plant: modules are found in a folder of the user's."""
    sys.path.insert(0, str(folder))


@pytest.mark.slow
def test_an_operator_a_selector_and_an_algorithm_of_ones_own(tmp_path: Path) -> None:
    files = _FILE.findall((ROOT / "docs" / "extending.md").read_text())
    assert len(files) == 6
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    folder, where = tmp_path / "place" / "run", f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]"
    mine = ["selection=favourite", "algorithm=restless", "variation=shuffled", where, "population=6"]
    process = command(folder, "evolve", *OVERRIDES, *mine, f"hydra.run.dir={folder}", plant=partial(look_in, tmp_path))
    process.join(120)
    assert process.exitcode == 0, said(folder)
    config = (folder / "config.yaml").read_text()
    assert all(name in config for name in ("my_selection.Favourite", "my_algorithm.Restless", "my_mutation.TwoSlots"))
    genomes = pq.read_table(folder / "genomes.parquet").to_pylist()
    assert {row["generation"] for row in genomes} == {0, 1, 2}
