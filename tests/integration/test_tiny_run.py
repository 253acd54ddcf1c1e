"""The whole slice in one process: `forager evolve experiment=tiny`, twice, and everything that it leaves behind."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from fitness.adapter import AdapterStack, load_adapter
from fitness.gallery import read_gallery
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER, SUFFIX
from fitness.telemetry import SCHEMA_VERSION, VERSION_KEY, read_table, table_path

GENERATIONS, POPULATION = 2, 8
EPISODES = (4, 8)
"""Of every genome, by generation: finals=2 doubles them in the last one."""


def evolve(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evo.cli", "evolve", "experiment=tiny", "finals=2"]
    command += [f"hydra.run.dir={folder}", *overrides]
    env = {**os.environ, "WANDB_MODE": "offline"}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder.parent, timeout=300)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    first = evolve(folder / "first")
    assert first.returncode == 0, first.stderr
    second = evolve(folder / "second", "tracking=none")
    assert second.returncode == 0, second.stderr
    (folder / "stdout").write_text(first.stdout)
    return str(folder)


@pytest.fixture(scope="module")
def run(outputs: str) -> Path:
    return Path(outputs) / "first"


def test_the_last_lines_name_the_folder_and_where_to_look(outputs: str, run: Path) -> None:
    last = (Path(outputs) / "stdout").read_text().splitlines()[-6:]
    assert any(str(run) in line for line in last)
    assert any("forager report" in line for line in last)


def test_the_summary_has_the_promised_form(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert list(summary) == ["run", "environment", "seed", "heldout", "budget"]
    assert (summary["run"], summary["environment"], summary["seed"]) == ("first", "forage", 0)
    assert list(summary["heldout"]) == ["random", "frozen", "evolved", "expert"]
    for row in summary["heldout"].values():
        assert list(row) == ["score", "ci", "lifespan", "episodes"]
        assert row["ci"][0] <= row["score"] <= row["ci"][1]
    assert summary["heldout"]["random"]["score"] == 0
    assert summary["heldout"]["expert"]["score"] == 1
    assert list(summary["budget"]) == ["decisions", "forward_flops", "training_flops"]
    seconds = json.loads((run / "manifest.json").read_text())["seconds"]
    assert 0 < seconds["model"] < seconds["wall"]


def test_everything_that_was_done_is_recorded(run: Path) -> None:
    transitions, episodes = read_table(run, "transitions"), read_table(run, "episodes")
    budget = json.loads((run / "summary.json").read_text())["budget"]
    assert episodes.num_rows == POPULATION * sum(EPISODES)
    assert transitions.num_rows == budget["decisions"] == pc.sum(episodes["length"]).as_py()
    dead = pc.sum(pc.equal(episodes["end"], "died")).as_py()
    assert pc.sum(pc.invert(transitions["alive"])).as_py() == dead
    assert pc.sum(transitions["reward"]).as_py() == transitions.num_rows - dead
    assert table_path(run, "transitions", 1).is_file()
    assert read_table(run, "generations").schema.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()


def test_members_of_a_generation_live_in_the_same_worlds(run: Path) -> None:
    episodes = read_table(run, "episodes").to_pylist()
    for generation in range(GENERATIONS):
        worlds: dict[int, list[int]] = {}
        for row in episodes:
            if row["generation"] == generation:
                worlds.setdefault(row["genome"], []).append(row["seed"])
        assert len(worlds) == POPULATION
        assert len({tuple(seeds) for seeds in worlds.values()}) == 1
        assert {len(set(seeds)) for seeds in worlds.values()} == {EPISODES[generation]}
        assert all(seed < 400_000_000 for seeds in worlds.values() for seed in seeds)


def test_some_lives_are_kept_to_be_looked_at(run: Path) -> None:
    lives = read_gallery(run).lives
    best = json.loads((run / "best.json").read_text())["genome"]
    assert [one.agent for one in lives[:2]] == [best, best]
    assert len(lives[1].action) >= len(lives[0].action)
    assert all(one.seed >= 500_000_000 and one.end in ("died", "outlived") for one in lives)
    assert all((one.probabilities[range(len(one.action)), one.action] > 0).all() for one in lives)


def test_the_phylogeny_links_every_child_to_its_parents(run: Path) -> None:
    rows = list(csv.DictReader((run / "phylogeny.csv").read_text().splitlines()))
    known = {row["id"] for row in rows}
    founders = [row for row in rows if row["ancestor_list"] == "[none]"]
    assert len(founders) == POPULATION
    for row in rows:
        parents = row["ancestor_list"].strip("[]").split(",")
        assert row in founders or set(parents) <= known
    assert {row["operator"] for row in rows} >= {"founder", "finetune"}


def test_adapters_of_those_who_survived_are_kept_and_no_others(run: Path) -> None:
    kept = {folder.name for folder in (run / "adapters").iterdir()}
    born = {row["adapter"] for row in read_table(run, "genomes").to_pylist()}
    assert kept < born
    assert Path(json.loads((run / "best.json").read_text())["adapter"]).name in kept


def test_a_tuned_adapter_is_plain_peft_and_acts_as_it_did_in_the_engine(run: Path) -> None:
    rows = [row for row in read_table(run, "genomes").to_pylist() if row["operator"] == "finetune"]
    tuned = next(row for row in rows if (run / "adapters" / row["adapter"]).is_dir())
    folder = run / "adapters" / tuned["adapter"]
    adapter = load_adapter(folder)
    assert adapter.digest() == tuned["adapter"]
    model = PopulationModel(load_base_model(ModelConfig(name="organism", suffix=SUFFIX)))
    prompts = model.prompts(("north", "south", "east", "west", "eat", "drink", "rest"))
    told, seen = prompts.prefixes([tuned["strategy"]]), prompts.rows(["spring day energy low water good gold 2 north"])
    with torch.inference_mode():
        prefix = model.read(AdapterStack.of([adapter]), told)
        ours = model.action_log_probs(prefix, torch.tensor([seen]), torch.tensor([[len(seen[0])]]), prompts.actions)
        peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(FOLDER), folder)
        logits = peft(torch.tensor([told[0] + seen[0]])).logits[0, -1, list(prompts.actions)]
    assert torch.allclose(ours.flatten(), logits.log_softmax(-1), atol=1e-5)


def test_the_same_seed_gives_the_same_genomes_and_the_same_summary(outputs: str) -> None:
    first, second = Path(outputs) / "first", Path(outputs) / "second"
    assert (first / "phylogeny.csv").read_bytes() == (second / "phylogeny.csv").read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (first, second)]
    for summary in summaries:
        del summary["run"]
    assert summaries[0] == summaries[1]
    for table in ("transitions", "replays"):
        a, b = (read_table(folder, table).drop_columns(["run"]) for folder in (first, second))
        assert a.equals(b)


def test_w_and_b_keeps_the_run_offline_beside_it(run: Path) -> None:
    assert list(run.glob("wandb/offline-run-*/run-*.wandb"))


def test_the_report_needs_nothing_from_outside(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "<svg" in page
    assert "evolved" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "default-src 'none'" in page
    assert re.findall("<script[^>]*>", page) == ['<script type="application/json" id="replay-data">', "<script>"]
    assert "src=" not in page
