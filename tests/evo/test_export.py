"""What others train on is what agents read and did, token by token, and what they trained comes back as founders."""

import ast
import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from evo.cli import main
from evo.config import AdapterConfig
from evo.export import trl
from evo.export.lives import MARGIN, Decision, Life, Preference, longest, preferences, read_lives
from evo.export.script import TRAIN
from evo.export.texts import Rows
from evo.start import founders_adapter, read_fitting
from fitness.adapter import LoraSpec, initial_adapter, load_adapter, save_adapter
from fitness.errors import ConfigError, OutputError
from fitness.model import ModelConfig, PopulationModel, Prompts, load_base_model
from fitness.organism import FOLDER, SUFFIX
from fitness.records import Episodes, Transitions
from fitness.telemetry import Source, read_table, write_episodes, write_transitions

RUN = (
    "experiment=tiny", "tracking=none", "population=4", "elites=2", "episodes=2", "generations=2", "heldout=4",
    "finetune.decisions=64", "environment.horizon=40",
)  # fmt: skip


ACTIONS = ("north", "south", "east", "west", "eat", "drink", "rest")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    assert main(["evolve", *RUN, f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def best(run: Path) -> int:
    return int(json.loads((run / "best.json").read_text())["genome"])


@pytest.fixture(scope="module")
def exported(run: Path, best: int) -> Path:
    """Return all that the best genome has lived."""
    folder = run.parent / "exported"
    assert main(["export", str(run), "--to", str(folder), "--genome", str(best), "--lives", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def organism() -> PopulationModel:
    return PopulationModel(load_base_model(ModelConfig(name="organism", suffix=SUFFIX)))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def life(genome: int, told: str, *, generation: int = 0, seed: int = 0) -> Life:
    """Return a life of steps like "a>east"."""
    seen, done = zip(*(step.split(">") for step in told.split()), strict=True)
    return Life(
        generation=generation, genome=genome, seed=seed, observations=seen, actions=done, prompt_tokens=(9,) * len(seen)
    )  # fmt: skip


def prefer(genome: int, observation: str, chosen: str, rejected: str) -> Preference:
    return Preference(genome=genome, observation=observation, chosen=chosen, rejected=rejected, prompt_tokens=9)


def test_lives_are_preferred_where_they_fork_and_where_they_read_the_same_again() -> None:
    long = life(1, "a>east b>east c>eat d>rest c>eat e>west f>rest")
    short = life(2, "a>east b>west d>rest c>drink")
    assert preferences([long], [short]) == [prefer(1, "b", "east", "west"), prefer(1, "c", "eat", "drink")]
    assert preferences([short], [long]) == [prefer(2, "b", "east", "west"), prefer(2, "c", "eat", "drink")]


def test_an_answer_that_both_lives_gave_is_no_preference() -> None:
    long = life(1, "a>east b>east c>eat c>drink d>rest e>rest f>rest")
    assert preferences([long], [life(2, "a>east b>west c>drink")]) == [prefer(1, "b", "east", "west")]


@pytest.mark.parametrize(
    "other",
    [
        life(2, "a>west b>east c>eat d>rest"),
        life(2, "a>west", seed=1),
        life(2, "a>west", generation=1),
        life(2, "x>west"),
        life(2, "a>east b>east"),
        life(1, "a>west"),
    ],
    ids=["as long", "other world", "other generation", "other beginning", "never differs", "its own"],
)
def test_other_lives_are_not_compared(other: Life) -> None:
    long = life(1, "a>east b>east c>eat d>rest e>rest")
    assert not preferences([long], [] if other.genome == 1 else [other])
    assert preferences([long], [life(2, "a>west")]) == [prefer(1, "a", "east", "west")]


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["east", "west", "eat"])), min_size=1, max_size=9)


@given(STEPS, STEPS)
def test_what_is_chosen_was_done_by_the_longer_life_only(mine: Any, theirs: Any) -> None:
    one, other = (life(i, " ".join(">".join(s) for s in steps)) for i, steps in ((1, mine), (2, theirs)))
    long, short = (mine, theirs) if len(mine) > len(theirs) else (theirs, mine)
    found = preferences([one], [other])
    assert not found or len(long) >= MARGIN * len(short)
    for pair in found:
        assert pair.chosen != pair.rejected
        assert (pair.observation, pair.chosen) in long
        assert (pair.observation, pair.rejected) in short


@pytest.mark.parametrize(("share", "expected"), [(0.01, [3]), (0.5, [3, 2]), (0.6, [3, 2, 2]), (1.0, [3, 2, 2, 1])])
def test_the_longest_share_of_lives_is_taken(share: float, expected: list[int]) -> None:
    lives = [life(1, "a>b"), life(2, "a>b a>b"), life(3, "a>b a>b a>b"), life(4, "a>b a>b")]
    assert [len(one) for one in longest(lives, share)] == expected
    assert [one.genome for one in longest(lives, 0.6)] == [3, 2, 4]


def test_lives_are_read_whole_in_order_and_without_failed_ones(tmp_path: Path) -> None:
    source = Source(run="r", generation=3, environment="e", environment_version="1")
    agent, seed = np.array([1, 1, 1, 2, 2, 4]), np.array([5, 5, 6, 5, 5, 5])
    made = Transitions(
        agent=agent,
        seed=seed,
        step=np.array([1, 0, 0, 0, 1, 0], np.int32),
        observation=np.array(list("badefg"), object),
        action=np.array([1, 0, 0, 1, 0, 0], np.int16),
        log_probability=np.zeros(6, np.float32),
        reward=np.ones(6, np.float32),
        vitals=np.ones((6, 1), np.float32),
        alive=np.ones(6, np.bool_),
        prompt_tokens=np.full(6, 9, np.int32),
    )
    ends = np.array(["died", "failed", "died", "outlived"], object)
    empty = np.array([""] * 4, object)
    episodes = Episodes(np.array([1, 1, 2, 4]), np.array([5, 6, 5, 5]), np.ones(4, np.int32), ends, empty, empty)
    write_transitions(tmp_path, source, made, action_names=("east", "west"), vital_names=("energy",))
    write_episodes(tmp_path, source, episodes)
    own, others = read_lives(tmp_path, [1])
    assert own == [life(1, "a>east b>west", generation=3, seed=5)]
    assert others == [life(2, "e>west f>east", generation=3, seed=5), life(4, "g>east", generation=3, seed=5)]
    with pytest.raises(OutputError, match=r"expected recorded lives of genomes \[7\]"):
        read_lives(tmp_path, [7])


def test_every_decision_is_there_and_text_is_the_tokens_that_were_acted_on(
    run: Path, best: int, exported: Path, organism: PopulationModel
) -> None:
    lived = [row for row in read_table(run, "transitions").to_pylist() if row["genome"] == best]
    strategy = next(row["strategy"] for row in read_table(run, "genomes").to_pylist() if row["genome"] == best)
    names = sorted({row["action"] for row in lived})
    prompts = organism.prompts(names)
    (prefix,) = prompts.prefixes([strategy])
    expected = {
        (*prefix, *row, prompts.actions[names.index(one["action"])])
        for one, row in zip(lived, prompts.rows([one["observation"] for one in lived]), strict=True)
    }
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    found = rows(exported / "sft.jsonl")
    assert len(found) == len(lived)
    assert {tuple(tokenizer(row["prompt"] + row["completion"])["input_ids"]) for row in found} == expected


class Plain:
    """The organism with an adapter, under plain PEFT, at the temperature of the tests' runs."""

    def __init__(self, adapter: Path) -> None:
        self.words = AutoTokenizer.from_pretrained(FOLDER)
        self.network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(FOLDER), adapter).eval()

    def log_probability(self, prompt: str, action: str) -> float:
        """Return that of an action among the named ones."""
        ids, named = (self.words(text)["input_ids"] for text in (prompt, "".join(f" {name}" for name in ACTIONS)))
        with torch.inference_mode():
            logits = self.network(torch.tensor([ids])).logits[0, -1, named]
        return float(torch.log_softmax(logits / 0.5, dim=-1)[ACTIONS.index(action)])

    def margin(self, pair: dict[str, str]) -> float:
        """Return by how much what was chosen is likelier than what was rejected."""
        chosen, rejected = (self.log_probability(pair["prompt"], pair[one].strip()) for one in ("chosen", "rejected"))
        return chosen - rejected


def test_plain_peft_gives_the_recorded_chances_on_the_exported_text(run: Path, best: int, exported: Path) -> None:
    lived = [row for row in read_table(run, "transitions").to_pylist() if row["genome"] == best]
    recorded = {(one["observation"], one["action"]): one["log_probability"] for one in lived}
    plain = Plain(exported / "adapter")
    for row in rows(exported / "sft.jsonl")[::9]:
        action = row["completion"].strip()
        observation = row["prompt"].split("\n")[1].removesuffix(SUFFIX)
        assert plain.log_probability(row["prompt"], action) == pytest.approx(recorded[observation, action], abs=2e-4)


def test_pairs_are_answers_to_prompts_that_the_genome_read(exported: Path) -> None:
    read = {row["prompt"] for row in rows(exported / "sft.jsonl")}
    pairs = rows(exported / "dpo.jsonl")
    assert pairs
    assert all(pair["prompt"] in read and pair["chosen"] != pair["rejected"] for pair in pairs)


def test_peers_are_exported_under_their_own_strategies(run: Path, best: int, tmp_path: Path) -> None:
    assert main(["export", str(run), "--to", str(tmp_path / "out"), "--lives", "1.0"]) == 0
    strategies = {row["genome"]: row["strategy"] for row in read_table(run, "genomes").to_pylist()}
    told = (tmp_path / "out/README.md").read_text()
    genomes = [int(one) for one in told.split("of genomes ")[1].split(" |")[0].split(", ")]
    found = {row["prompt"].split("\n")[0] for row in rows(tmp_path / "out/sft.jsonl")}
    assert genomes[0] == best
    assert len(genomes) == 3  # it and the two elites of the configuration
    assert found == {strategies[genome] for genome in genomes}


def merging() -> PreTrainedTokenizerFast:
    """Return a tokenizer that begins a text with a token of its own, and every piece with a mark of a space."""
    made = Tokenizer(models.WordLevel(unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.WordLevelTrainer(special_tokens=["?", "<s>"])
    made.train_from_iterator(["eat. go.", "red berry ->", "red berry -> east", "east", "west"], trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", unk_token="?")


def prompts_of(words: PreTrainedTokenizerFast) -> Prompts:
    actions = tuple(words([" east", " west"], add_special_tokens=False)["input_ids"])
    return Prompts(words, "", " ->", ("east", "west"), tuple(one[0] for one in actions), (1,), len(words))


def test_token_ids_are_written_where_one_text_would_give_others() -> None:
    words = merging()
    prompts = prompts_of(words)
    expected = [*prompts.prefixes(["eat. go."])[0], *prompts.rows(["red berry"])[0]]
    made = Rows(prompts, {7: "eat. go."})
    decision = Decision(genome=7, observation="red berry", action="west", prompt_tokens=len(expected))
    assert words("eat. go.\nred berry ->")["input_ids"] != expected
    assert made.completions([decision]) == [
        {"input_ids": [*expected, prompts.actions[1]], "completion_mask": [0] * len(expected) + [1]}
    ]
    pair = Preference(
        genome=7, observation="red berry", chosen="east", rejected="west", prompt_tokens=decision.prompt_tokens
    )
    ids = {"prompt_ids": expected, "chosen_ids": [prompts.actions[0]], "rejected_ids": [prompts.actions[1]]}
    assert made.preferences([pair]) == [ids]


def test_text_leaves_the_token_of_beginning_to_the_tokenizer(organism: PopulationModel) -> None:
    words = AutoTokenizer.from_pretrained(FOLDER)
    begin = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    words.backend_tokenizer.post_processor = begin
    words.bos_token = "<|end|>"
    prompts = replace(organism.prompts(("east", "west")), tokenizer=words, bos=(0,), manual="Live long.")
    expected = [*prompts.prefixes(["eat when low."])[0], *prompts.rows(["red 1 east"])[0]]
    decision = Decision(genome=7, observation="red 1 east", action="west", prompt_tokens=len(expected))
    (row,) = Rows(prompts, {7: "eat when low."}).completions([decision])
    assert row == {"prompt": "Live long.\n\neat when low.\nred 1 east ->", "completion": " west"}
    assert words(row["prompt"] + row["completion"])["input_ids"] == [*expected, prompts.actions[1]]
    assert expected[0] == 0


def test_a_prompt_of_another_length_than_was_read_is_refused(organism: PopulationModel) -> None:
    made = Rows(organism.prompts(("east", "west")), {7: "eat when low."})
    decision = Decision(genome=7, observation="red 1 east", action="west", prompt_tokens=3)
    with pytest.raises(OutputError, match="model: expected the prompts that the run's agents read, of 3 tokens, got"):
        made.completions([decision])


def test_the_script_makes_of_text_the_ids_that_would_be_written_without_it(exported: Path) -> None:
    wanted = [one for one in ast.parse(TRAIN).body if isinstance(one, ast.FunctionDef) and one.name != "main"]
    script: dict[str, Any] = {"os": os}
    exec(compile(ast.Module(body=wanted, type_ignores=[]), "train.py", "exec"), script)
    words = AutoTokenizer.from_pretrained(FOLDER)

    def ids(text: str) -> list[int]:
        return list(words(text)["input_ids"])

    row = rows(exported / "sft.jsonl")[0]
    read, done = ids(row["prompt"]), ids(row["completion"])
    told = {"input_ids": read + done, "completion_mask": [0] * len(read) + [1] * len(done)}
    assert script["sft_row"](words, row) == told
    pair = rows(exported / "dpo.jsonl")[0]
    parts = {f"{name}_ids": ids(pair[name]) for name in ("prompt", "chosen", "rejected")}
    assert script["dpo_row"](words, pair) == parts


def mistakes(run: Path, tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    return {
        "taken": ([str(run), "--to", str(run)], "to: expected a new or empty folder"),
        "genome": ([str(run), "--to", "x", "--genome", "999"], "genome: expected one of the run's"),
        "share": (
            [str(run), "--to", "x", "--lives", "1.5"],
            "lives: expected a share above 0 and at most 1, given 1.5",
        ),
        "no run": ([str(tmp_path), "--to", "x"], "expected the folder of a run"),
        "format": ([str(run), "--format", "verl"], "--format"),
    }


@pytest.mark.parametrize("name", ["taken", "genome", "share", "no run", "format"])
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = mistakes(run, tmp_path)[name]
    assert main(["export", *arguments]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert words in told
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_not_over_or_lost_an_adapter_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "adapters")
    assert main(["export", str(copy)]) == 2
    assert "genome: expected one that survived a generation" in capsys.readouterr().err
    (copy / "best.json").unlink()
    assert main(["export", str(copy)]) == 2
    assert "expected a run that has come to its end" in capsys.readouterr().err
    assert not (copy / "trl").exists()


def test_a_folder_that_could_not_be_finished_is_not_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trl, "write_text_atomically", full)
    assert main(["export", str(run), "--to", str(tmp_path / "out")]) == 2
    assert not list(tmp_path.iterdir())


def train_elsewhere(exported: Path, method: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the exported script with TRL."""
    options = ["--steps", "4", "--batch", "8", "--learning-rate", "5e-3", "--cpu"]
    monkeypatch.setattr(sys, "argv", ["train.py", method, str(FOLDER), str(folder), *options])
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder.parent / "cache")
    runpy.run_path(str(exported / "train.py"), run_name="__main__")


@pytest.mark.filterwarnings("ignore")  # TRL's and those of what it stands on
def test_trl_imitates_what_was_done(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_elsewhere(exported, "sft", tmp_path / "tuned", monkeypatch)
    taught = [(row["prompt"], row["completion"].strip()) for row in rows(exported / "sft.jsonl")[::4]]
    policies = Plain(exported / "adapter"), Plain(tmp_path / "tuned")
    before, after = (-np.mean([policy.log_probability(*one) for one in taught]) for policy in policies)
    assert after < 0.8 * before


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_that_trl_has_trained_comes_back_as_everybodys_first(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_elsewhere(exported, "dpo", tmp_path / "tuned", monkeypatch)
    before, after = Plain(exported / "adapter"), Plain(tmp_path / "tuned")
    pairs = rows(exported / "dpo.jsonl")
    margins = [np.mean([policy.margin(pair) for pair in pairs]) for policy in (before, after)]
    assert margins[1] > margins[0] + 1
    tuned = load_adapter(tmp_path / "tuned")
    arguments = [*RUN, "generations=1", f"adapter.start={tmp_path / 'tuned'}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["evolve", *arguments]) == 0
    genomes = read_table(tmp_path / "run", "genomes").to_pylist()
    assert {row["adapter"] for row in genomes} == {tuned.digest()}
    assert load_adapter(tmp_path / "run/start").digest() == tuned.digest()
    strategies = {row["genome"]: row["strategy"] for row in genomes}
    moved = []
    for row in read_table(tmp_path / "run", "transitions").to_pylist()[::9]:
        read = f"{strategies[row['genome']]}\n{row['observation']}{SUFFIX}"
        assert after.log_probability(read, row["action"]) == pytest.approx(row["log_probability"], abs=2e-4)
        moved.append(abs(before.log_probability(read, row["action"]) - row["log_probability"]))
    assert max(moved) > 0.01


SPEC = LoraSpec(2, 4.0, (("a", 3, 4), ("b", 4, 3)))


def written(folder: Path, spec: LoraSpec = SPEC, **settings: object) -> Path:
    """Write an adapter in PEFT's format, with some settings changed."""
    save_adapter(initial_adapter(spec, 1), folder, "base")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def test_a_run_keeps_its_own_copy_of_the_start(tmp_path: Path) -> None:
    config = AdapterConfig(rank=2, alpha=4.0, start=written(tmp_path / "there"))
    first = founders_adapter(config, SPEC, 0, tmp_path / "run", "base")
    assert first.digest() == initial_adapter(SPEC, 1).digest()
    written(tmp_path / "there", LoraSpec(1, 4.0, SPEC.shapes))
    assert founders_adapter(config, SPEC, 0, tmp_path / "run", "base").digest() == first.digest()


def test_without_a_start_the_adapter_is_drawn_from_the_seed(tmp_path: Path) -> None:
    made = founders_adapter(AdapterConfig(rank=2, alpha=4.0), SPEC, 7, tmp_path, "base")
    assert made.digest() == initial_adapter(SPEC, 7).digest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spec", "settings", "complaints"),
    [
        (LoraSpec(3, 4.0, SPEC.shapes), {}, ["adapter.rank: expected 3"]),
        (LoraSpec(2, 8.0, SPEC.shapes), {}, ["adapter.alpha: expected 8"]),
        (LoraSpec(3, 8.0, SPEC.shapes), {}, ["adapter.rank: expected 3", "adapter.alpha: expected 8"]),
        (LoraSpec(2, 4.0, SPEC.shapes[:1]), {}, ["expected factors for all 2 adapted layers", "none for b"]),
        (LoraSpec(2, 4.0, (*SPEC.shapes, ("c", 1, 1))), {}, ["one for c, which the model has not"]),
        (LoraSpec(2, 4.0, (("a", 3, 4), ("b", 5, 3))), {}, ["expected (module, in, out) ('b', 4, 3)", "another model"]),
        (SPEC, {"use_rslora": True}, ["expected plain LoRA, given use_rslora=True"]),
        (SPEC, {"alpha_pattern": {"a": 1}}, ["expected plain LoRA, given alpha_pattern={'a': 1}"]),
        (SPEC, {"bias": "all"}, ["expected plain LoRA, given bias=all"]),
        (SPEC, {"init_lora_weights": "pissa_niter_4"}, ["expected plain LoRA, given init_lora_weights=pissa"]),
        (SPEC, {"r": "many"}, ["adapter.start: expected a LoRA adapter that PEFT has written"]),
    ],
)  # fmt: skip
def test_an_adapter_of_another_form_is_refused_by_what_is_wrong(
    spec: LoraSpec, settings: dict[str, object], complaints: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_fitting(written(tmp_path / "there", spec, **settings), SPEC)
    assert all(words in str(caught.value) for words in complaints), caught.value


def test_a_start_that_does_not_fit_ends_the_run_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "there")
    arguments = [f"adapter.start={tmp_path / 'there'}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["evolve", *RUN, *arguments]) == 2
    told = capsys.readouterr().err
    assert "adapter.start: expected factors for all" in told
    assert "adapter.rank: expected 2" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_trl_trains_on_the_files_and_the_adapter_comes_back(method: str, exported: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(exported / "train.py"), method, str(FOLDER), str(tmp_path / "tuned")]
    answer = subprocess.run([*command, "--steps", "2", "--batch", "4", "--cpu"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    before = load_adapter(exported / "adapter")
    after = read_fitting(tmp_path / "tuned", before.spec)
    assert after.digest() != before.digest()
