"""A real run with W&B offline, read back: it says what the run's own files say, and has all that a dashboard shows."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evo.compose import from_yaml
from evo.report.reading import read_generations, read_genomes
from evo.tracking.curves import AXES, BY_DECISIONS, quantiles
from evo.tracking.workspace import Wanted, build_workspace, specification
from fitness.telemetry import read_table
from tests.evo.tracking.offline import alone, axes_of, history, of_kind, read, run_of, summary_of, table
from tests.integration.runs import command, said

pytestmark = pytest.mark.slow  # a whole run, tracked by a real W&B

OVERRIDES = (
    "experiment=ablation/joint", "population=4", "elites=2", "episodes=2", "generations=3", "finals=1", "heldout=4",
    "finetune.decisions=64", "environment.horizon=40", "tracking.wandb.tags=[mine]",
)  # fmt: skip
SILENT = {"Run Comparer"}
"""Panels that name nothing."""


class Real(NamedTuple):
    folder: Path
    records: list[Any]


def plant(settings: dict[str, str]) -> None:
    os.environ.update(settings)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Return a run of three generations, where `forager ablate` would have put it."""
    top = tmp_path_factory.mktemp("outputs")
    folder = top / "ablation-short" / "joint-0"
    quiet = partial(plant, {**alone(top), "WANDB_MODE": "offline"})
    process = command(folder, "evolve", *OVERRIDES, f"hydra.run.dir={folder}", plant=quiet)
    process.join(240)
    assert process.exitcode == 0, said(folder)
    return Real(folder, read(folder))


def curves_of(real: Real) -> list[dict[str, Any]]:
    return [row for row in history(real.records) if "population/best" in row]


def test_a_run_of_an_ablation_is_grouped_by_its_arm_without_a_flag(real: Real) -> None:
    run = run_of(real.records)
    assert (run.run_group, run.job_type) == ("ablation-short", "joint")
    assert list(run.tags) == ["mine", "joint", "forage", "Generational", "AdvantageWeighted"]


def test_every_curve_has_its_axis(real: Real) -> None:
    axes = axes_of(real.records)
    assert {axis for axis in axes.values() if axis} == set(AXES)
    assert all(axis in axes for axis in AXES)  # by name, or the pattern would draw an axis over the other
    assert axes["*"] == "generation"
    spent = {name for row in curves_of(real) for name in row if name.startswith("by_decisions/")}
    assert spent == {f"by_decisions/{name}" for name in BY_DECISIONS}
    assert {axes[name] for name in spent} == {"decisions"}  # by name: of two patterns that fit, W&B takes either


def test_curves_are_what_the_tables_say_over_both_axes(real: Real) -> None:
    told, rows = read_generations(real.folder), read_genomes(real.folder)
    logged = curves_of(real)
    assert [(row["generation"], row["decisions"]) for row in logged] == [(r.generation, r.decisions) for r in told]
    for row, record in zip(logged, told, strict=True):
        assert row["population/median"] == row["by_decisions/median"] == record.median
        low, *_, high = quantiles(one for one in rows if one.generation == record.generation)
        assert (row["population/q05"], row["by_decisions/q95"]) == pytest.approx((low, high))
        assert {cause: row[f"deaths/{cause}"] for cause, _ in record.deaths} == dict(record.deaths)


def test_each_generation_has_a_histogram_of_its_lives(real: Real) -> None:
    for row in curves_of(real):
        lengths = read_table(real.folder, "episodes", generation=row["generation"])["length"].to_pylist()
        counts, edges = row["population/lifespans/values"], row["population/lifespans/bins"]
        assert sum(counts) == len(lengths) == 8
        assert (edges[0], edges[-1]) == (0, max(lengths))
        middle = edges[16]
        assert sum(counts[:16]) == sum(length < middle for length in lengths)


def test_tables_hold_everybody_and_whom_they_descend_from(real: Real) -> None:
    rows = read_genomes(real.folder)
    lineage = {line["genome"]: line for line in table(real.folder, "lineage")}
    assert set(lineage) == {row.id for row in rows}
    for row in rows:
        told = lineage[row.id]
        assert told["parents"] == " ".join(map(str, row.parents))
        assert told["born"] <= row.generation <= told["last"]
        assert (told["operator"], told["strategy"], told["adapter"]) == (row.operator, row.strategy, row.adapter)
    last = [row for row in rows if row.generation == 2]
    assert [line["score"] for line in table(real.folder, "genomes")] == [row.score for row in last]


def test_the_best_adapters_are_an_artifact_whose_files_lie_in_the_run(real: Real) -> None:
    found = [one for one in of_kind(real.records, "artifact") if one.type == "adapter"]
    assert len({one.name for one in found}) == 1
    assert [alias for one in found for alias in one.aliases if alias.startswith("best")][-1] == "best"
    assert "best-so-far" in found[0].aliases
    best = json.loads((real.folder / "best.json").read_text())
    first = next(iter(json.loads(found[-1].metadata)["genomes"].values()))
    assert (first["genome"], first["strategy"]) == (best["genome"], best["strategy"])
    assert best["adapter"] == f"adapters/{first['sha256']}"
    names = {Path(entry.path).name for entry in found[-1].manifest.contents}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    for entry in found[-1].manifest.contents:
        path = Path(entry.local_path)
        assert path.is_relative_to(real.folder.resolve() / "adapters")
        assert path.stat().st_size == entry.size


def test_the_settings_the_page_and_the_result_are_there(real: Real) -> None:
    config = {entry.key: json.loads(entry.value_json) for entry in run_of(real.records).config.update}
    settings = from_yaml((real.folder / "config.yaml").read_text(), resolve=False)
    assert {name: config[name] for name in settings} == settings
    assert (config["forager"]["group"], config["forager"]["arm"]) == ("ablation-short", "joint")
    (page,) = (real.folder / "wandb").glob("offline-run-*/files/media/html/report_*.html")
    assert page.read_bytes() == (real.folder / "report.html").read_bytes()
    told = json.loads((real.folder / "summary.json").read_text())["heldout"]["evolved"]["score"]
    assert summary_of(real.records)["heldout/evolved/score"] == told


@pytest.mark.parametrize("given", ["run", "project"])
def test_a_dashboard_shows_nothing_that_a_run_does_not_log(real: Real, given: str) -> None:
    run, project = (real.folder, None) if given == "run" else (None, "forager")
    view = json.loads(specification(build_workspace(Wanted.of(run, project=project, entity=None))))
    logged = {name for row in history(real.records) for name in row} | set(summary_of(real.records))
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    shown = {section["name"]: [list(named(panel)) for panel in section["panels"]] for section in sections}
    for name, panels in shown.items():
        assert panels, name
        for names in panels:
            missing = [one for one in names if not any(known == one or known.startswith(f"{one}/") for known in logged)]
            assert not missing, name
    assert {"Arms compared", "Population", "Deaths", "Fine-tuning", "Diversity", "Lineage"} <= set(shown)
    assert "deaths/wolf" in {one for names in shown["Deaths"] for one in names} or given == "project"


def named(panel: dict[str, Any]) -> Iterator[str]:
    """Yield every metric that a panel names, its axes among them; fail on one that says nothing."""
    config = panel["config"]
    names = [*config.get("metrics", []), *config.get("mediaKeys", [])]
    names += [config[axis].removeprefix("summary:") for axis in ("xAxis", "yAxis") if axis in config]
    if "metricRegex" in config:
        assert config["metricRegex"] == "^deaths/"
        names.append("deaths")
    if panel["viewType"] == "Weave":
        names.append(config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"])
    assert names or panel["viewType"] in SILENT, panel
    yield from names
