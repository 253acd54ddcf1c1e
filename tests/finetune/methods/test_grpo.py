"""Group-relative policy optimisation: groups are worlds, and on-policy it is REINFORCE with a baseline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.batches import Batch
from finetune.episodes import lives_of
from finetune.losses import Clip
from finetune.methods.base import Lesson
from finetune.methods.grpo import GroupRelative
from fitness.errors import ConfigError
from fitness.records import Transitions
from tests.finetune.lives import BARE, RED, Life, poison_world, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS

RNG = np.random.default_rng


def lived(*lives: tuple[int, int, int]) -> Transitions:
    """Record lives (agent, seed, steps); each is worth one less than its steps."""
    return record([Life(agent, seed, [BARE] * n, list(range(n)), [(0.5, 0.5)] * n) for agent, seed, n in lives])


TWO_WORLDS = lived((1, 7, 2), (1, 9, 2), (2, 7, 4), (2, 9, 2))
"""In world 7 agent 2 outlives agent 1 by two steps; world 9 tells nothing."""


def lesson(transitions: Transitions = TWO_WORLDS, ids: tuple[int, ...] = (1, 2), **knobs: str | float) -> Lesson:
    how = GroupRelative(**({"decisions": 99} | knobs))
    return how.prepare(people(*ids), transitions, PROMPTS, RNG(0))


def slope(made: Lesson, now: Tensor, start: Tensor, part: Batch) -> Tensor:
    now = now.clone().requires_grad_()
    return torch.autograd.grad(made.loss(now, start, part).mean(dim=1).sum(), now)[0]


def scores(part: Batch) -> Tensor:
    noise = torch.randn(*part.taken.shape, len(ACTIONS), generator=torch.Generator().manual_seed(0))
    return noise.log_softmax(dim=-1)


def test_advantages_by_hand_and_worlds_that_tell_nothing_are_dropped() -> None:
    made = lesson(others=False).batch
    assert made.taken.shape == (2, 4)  # as many columns as the longest own list
    assert made.advantage[0][made.weight[0] > 0].tolist() == [-1.0, -1.0]
    assert made.advantage[1][made.weight[1] > 0].tolist() == [1.0] * 4
    assert made.weight.tolist() == [[2.0, 2.0, 0.0, 0.0], [1.0] * 4]


def test_with_others_everybody_learns_from_all_their_own_first() -> None:
    made = lesson().batch
    assert made.taken.shape == (2, 6)
    assert made.advantage[0].tolist() == [-1.0] * 2 + [1.0] * 4
    assert made.advantage[1].tolist() == [1.0] * 4 + [-1.0] * 2
    assert made.weight.tolist() == [[1.0] * 6] * 2


@pytest.mark.parametrize(
    ("scale", "expected"), [("none", 1.0), ("group", 1.0), ("population", 1 / np.std([1.0, -1.0, 0.0, 0.0]))]
)
def test_scales_by_hand(scale: str, expected: float) -> None:
    torch.testing.assert_close(lesson(scale=scale).batch.advantage[1, 0], torch.tensor(expected, dtype=torch.float32))


def test_group_scale_makes_wide_worlds_like_narrow_ones() -> None:
    both = lived((1, 7, 2), (1, 9, 2), (2, 7, 4), (2, 9, 12))
    assert set(lesson(both, scale="group").batch.advantage.abs().flatten().tolist()) == {1.0}
    assert set(lesson(both).batch.advantage.abs().flatten().tolist()) == {1.0, 5.0}


def test_by_lives_every_life_counts_the_same() -> None:
    made = lesson(unit="lives").batch
    weight = made.weight[0].tolist()
    assert sum(weight[:2]) == pytest.approx(sum(weight[2:]))
    assert np.mean(weight) == pytest.approx(1)


def test_on_policy_the_gradient_is_reinforce_with_the_worlds_mean_as_baseline() -> None:
    transitions = poison_world([1, 2, 3], lives=4)
    made = lesson(transitions, ids=(2,), others=False)
    now = scores(made.batch)
    part = replace(made.batch, behaviour=now.gather(2, made.batch.taken[..., None]).squeeze(2))
    # The same from first principles: every decision of a life gets its return less the mean return of its world.
    lives = lives_of(transitions)
    means = {seed: lives.worth[lives.seed == seed].mean() for seed in np.unique(lives.seed)}
    told = {seed: np.ptp(lives.worth[lives.seed == seed]) > 0 for seed in means}
    own = [i for i in range(len(lives)) if lives.agent[i] == 2 and told[lives.seed[i]]]
    gaps = np.concatenate([[lives.worth[i] - means[lives.seed[i]]] * lives.steps[i] for i in own])
    torch.testing.assert_close(part.advantage[0].sort()[0], torch.from_numpy(np.sort(gaps)).float())
    expected = torch.zeros_like(now).scatter(2, part.taken[..., None], -part.advantage[..., None] / len(gaps))
    torch.testing.assert_close(slope(made, now, now, part), expected)


def test_what_others_did_is_weighed_by_how_likely_it_was_and_capped() -> None:
    made = lesson(clip=Clip(importance=3.0))
    now = torch.full((*made.batch.taken.shape, len(ACTIONS)), 1 / len(ACTIONS)).log()
    sizes = [
        float(
            slope(made, now, now, replace(made.batch, behaviour=torch.full(made.batch.taken.shape, p).log()))
            .abs()
            .sum()
        )
        for p in (1 / 7, 1 / 14, 1 / 700, 2 / 7)
    ]
    assert np.array(sizes) / sizes[0] == pytest.approx([1, 2, 3, 0.5], rel=1e-5)


def test_beyond_the_bounds_nothing_pulls() -> None:
    made = lesson(ids=(2,), others=False)
    start = scores(made.batch)
    start[..., :] = -np.log(len(ACTIONS))
    inside, outside = (start + float(np.log(ratio)) for ratio in (1.27, 1.29))
    assert float(slope(made, inside, start, made.batch).abs().sum()) > 0
    assert float(slope(made, outside, start, made.batch).abs().sum()) == 0


def test_where_all_live_alike_nothing_is_taught() -> None:
    made = lesson(lived((1, 7, 3), (2, 7, 3)))
    assert float(made.batch.weight.abs().sum()) == 0
    assert made.effective_share.tolist() == [0, 0]
    now = scores(made.batch)
    assert float(slope(made, now, now, made.batch).abs().sum()) == 0


def test_who_has_no_lives_of_its_own_is_left_alone_without_others() -> None:
    made = lesson(ids=(2, 77), others=False)
    assert float(made.batch.weight[1].sum()) == 0
    assert float(made.batch.weight[0].mean()) == 1


def test_the_longer_life_of_a_red_world_is_preferred() -> None:
    red = record(
        [
            Life(1, 3, [RED], [4], [(0.5, 0.5)]),
            Life(2, 3, [RED, BARE, BARE], [6, 6, 6], [(0.5, 0.5)] * 3),
        ]
    )
    made = lesson(red)
    assert {(int(a), float(w) > 0) for a, w in zip(made.batch.taken[0], made.batch.advantage[0], strict=True)} == {
        (4, False),
        (6, True),
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"scale": "groups"},
            r"scale: expected one of none, group, population, got 'groups' \(did you mean 'group'\?\)",
        ),
        ({"unit": "tokens"}, "unit: expected one of decisions, lives, got 'tokens'"),
        ({"decisions": 0}, "decisions: expected an integer of at least 1, got 0"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        GroupRelative(**fields)
