"""A space is written in Hydra's grammar, and means to Optuna what it means to Hydra."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from evo.sweep.asked import Asked, hydra_at_home, tell_apart
from evo.sweep.space import Space
from fitness.errors import ConfigError


def asked(*words: str) -> Asked:
    with hydra_at_home():
        return tell_apart(words)


def space(*words: str) -> Space:
    with hydra_at_home():
        return Space.of(tell_apart(words).swept)


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("finetune.beta=tag(log, interval(0.05,1))", FloatDistribution(0.05, 1.0, log=True)),
        ("finetune.beta=interval(1,3)", FloatDistribution(1.0, 3.0)),
        ("elites=int(interval(1,9))", IntDistribution(1, 9)),
        ("elites=int(tag(log, interval(1,9)))", IntDistribution(1, 9, log=True)),
        ("population=range(8,33,8)", IntDistribution(8, 32, step=8)),
        ("population=range(8,32,8)", IntDistribution(8, 24, step=8)),
        ("population=range(32,8,-8)", IntDistribution(16, 32, step=8)),
        ("population=tag(log, range(8,33))", IntDistribution(8, 32, log=True)),
        ("temperature=range(0.25,1,0.25)", FloatDistribution(0.25, 0.75, step=0.25)),
        ("temperature=range(0.1,1,0.1)", FloatDistribution(0.1, 0.9, step=0.1)),
        ("selection=choice(tournament,lexicase)", CategoricalDistribution(["tournament", "lexicase"])),
        ("selection=tournament,lexicase", CategoricalDistribution(["tournament", "lexicase"])),
        ("selection=glob(*lexicase,exclude=*epsilon*)", CategoricalDistribution(["downsampled_lexicase", "lexicase"])),
        ("selection=shuffle(rank,best)", CategoricalDistribution(["rank", "best"])),
        ("budget.decisions=null,5000", CategoricalDistribution(["null", "5000"])),
        ("tracking.wandb.tags=[a],[a,b]", CategoricalDistribution(["[a]", "[a,b]"])),
    ],
)
def test_hydras_grammar_becomes_optunas_distribution(word: str, distribution: BaseDistribution) -> None:
    (found,) = space(word).dimensions
    assert found.key == word.partition("=")[0]
    assert found.distribution == distribution


def test_what_has_one_value_is_for_every_run() -> None:
    found = asked("experiment=tiny", "seed=3", "tracking.wandb.tags=[a,b]", "selection=rank,best", "~copies")
    assert found.fixed == ("experiment=tiny", "seed=3", "tracking.wandb.tags=[a,b]", "~copies")
    assert [one.key_or_group for one in found.swept] == ["selection"]


def test_a_trial_tries_what_hydra_can_read_and_tries_it_again() -> None:
    wide = space("selection=rank,best", "population=range(8,33,8)", "finetune.beta=tag(log, interval(1e-6,1e-5))")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    tried = wide.suggest(trial)
    assert tried == wide.suggest(trial)
    values = dict(one.split("=") for one in tried)
    assert values.keys() == {"finetune.beta", "population", "selection"}
    assert 1e-6 <= float(values["finetune.beta"]) <= 1e-5
    assert int(values["population"]) in (8, 16, 24, 32)
    assert values["selection"] in ("rank", "best")
    assert asked(*tried) == Asked(fixed=tried, swept=())


def test_values_are_checked_in_company_of_the_first_of_the_others_the_last_and_alone() -> None:
    found = dict(space("selection=rank,best", "population=range(8,33,8)").corners())
    assert list(found) == ["population=8", "population=32", "selection=rank", "selection=best"]
    assert found["population=8"] == (("population=8", "selection=rank"), ("population=8", "selection=best"),
                                     ("population=8",))  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], r"tune: expected a field with several values, such as .*interval.* given none"),
        (["finetune.beta=tag(lok, interval(0.05,1))"], r"finetune\.beta: expected no tag but log.*did you mean 'log'"),
        (
            ["finetune.beta=tag(log, interval(0,1))"],
            r"beta: expected values that can be searched.*interval\(0",
        ),
        (["finetune.beta=interval(2,1)"], r"finetune\.beta: expected values that can be searched"),
        (["selection=tag(log, choice(rank,best))"], r"selection: .*logarithm is taken of an interval or a range"),
        (["selection=rank,rank"], r"selection: .*every choice once"),
        (["population=range(8,9)"], r"population: .*at least two numbers; the end is not among them"),
        (["population=tag(log, range(8,33,8))"], r"population: expected values that can be searched"),
        (["seed=0,1", "seed=2,3"], r"seed: expected its values once, given 'seed=0,1' and 'seed=2,3'"),
        (["seed=0", "seed=2,3"], r"seed: expected its values once, given 'seed=0' and 'seed=2,3'"),
        (["hydra.run.dir=a,b"], r"hydra\.run\.dir: expected one value"),
        (["population"], r"overrides: expected field=value or field=value,value, given 'population'"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space(*words)
