"""Rejection sampling: only decisions of the best lives are imitated, from here or from the base."""

import numpy as np
import pytest
import torch

from finetune.episodes import beside_others, lives_of
from finetune.methods.base import Lesson
from finetune.methods.rejection import Rejection
from fitness.errors import ConfigError
from fitness.records import Transitions
from tests.finetune.lives import BARE, Life, poison_world, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS

LIVES = ((1, 7, 30), (2, 7, 28), (3, 7, 26), (1, 8, 3), (2, 8, 9), (3, 8, 3))
"""World 7 is easy for all; in world 8, agent 2 is outstanding."""


def lived() -> Transitions:
    """Record the lives; the action tells which it was."""
    return record([Life(a, seed, [BARE] * n, [i] * n, [(0.5, 0.5)] * n) for i, (a, seed, n) in enumerate(LIVES)])


def lesson(ids: tuple[int, ...] = (1, 2), **knobs: str | float) -> Lesson:
    return Rejection(**({"decisions": 200} | knobs)).prepare(people(*ids), lived(), PROMPTS, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("among", "share", "kept"),
    [
        ("world", 1 / 6, {4}),
        ("all", 1 / 6, {0}),
        ("world", 1 / 3, {0, 4}),
        ("all", 1 / 2, {0, 1, 2}),
        ("all", 1e-9, {0}),
    ],
)
def test_the_best_lives_by_hand(among: str, share: float, kept: set[int]) -> None:
    made = lesson(among=among, share=share).batch
    assert set(made.taken.flatten().tolist()) == kept
    assert made.taken.shape[1] == sum(LIVES[i][2] for i in kept)  # all of each life


def test_own_lives_come_first() -> None:
    made = lesson(share=1 / 3, decisions=9).batch
    assert set(made.taken[0].tolist()) == {0}
    assert set(made.taken[1].tolist()) == {4}


def test_all_lives_are_supervised_fine_tuning() -> None:
    made = lesson(share=1.0)
    now = torch.randn(*made.batch.taken.shape, len(ACTIONS), generator=torch.Generator().manual_seed(0))
    now = now.log_softmax(dim=-1)
    taken = now.gather(2, made.batch.taken[..., None]).squeeze(2)
    torch.testing.assert_close(made.loss(now, now, made.batch), -taken)
    assert made.batch.taken.shape[1] == len(lived())


def test_from_the_base_all_begin_with_what_changes_nothing() -> None:
    agents = people(1, 2)
    trained = [torch.ones(3, 2) for _ in agents]
    for agent, b in zip(agents, trained, strict=True):
        agent.adapter.b["layer"] = b
    made = Rejection(start="base").prepare(agents, lived(), PROMPTS, np.random.default_rng(0))
    assert made.pupils is not None
    assert all(pupil.adapter.is_zero() for pupil in made.pupils)
    assert [pupil.id for pupil in made.pupils] == [1, 2]
    assert not any(agent.adapter.is_zero() for agent in agents)
    assert Rejection().prepare(agents, lived(), PROMPTS, np.random.default_rng(0)).pupils is None


def test_what_is_kept_lived_longer_than_what_is_not() -> None:
    transitions = poison_world([1, 2, 3, 4])
    lives = lives_of(transitions)
    contrast, _ = beside_others(lives)
    order = np.argsort(-contrast)
    kept = max(1, round(0.2 * len(lives)))
    assert contrast[order[:kept]].min() >= contrast[order[kept:]].max()
    made = Rejection(decisions=10_000).prepare(people(1), transitions, PROMPTS, np.random.default_rng(0))
    assert made.batch.taken.shape[1] == lives.steps[np.argsort(-contrast, kind="stable")[:kept]].sum()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0.0}, r"share: expected a number above 0 and at most 1, got 0\.0"),
        ({"among": "worlds"}, r"among: expected one of world, all, got 'worlds' \(did you mean 'world'\?\)"),
        ({"start": "zero"}, "start: expected one of current, base, got 'zero'"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Rejection(**fields)
