"""Preference between whole lives: which pairs, which decisions of them, and what a pair's loss is."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.episodes import lives_of
from finetune.methods.base import Lesson
from finetune.methods.dpo import TrajectoryPreference
from fitness.errors import ConfigError
from fitness.records import Transitions
from tests.finetune.lives import BARE, Life, poison_world, record
from tests.finetune.methods.people import PROMPTS, people
from tests.fitness.models import ACTIONS

LIVED = poison_world([1, 2, 3, 4], lives=5)


def lived(*lives: tuple[int, int, int]) -> Transitions:
    return record([Life(agent, seed, [BARE] * n, [seed % 7] * n, [(0.5, 0.5)] * n) for agent, seed, n in lives])


def lesson(transitions: Transitions = LIVED, ids: tuple[int, ...] = (1, 2), **knobs: str | float) -> Lesson:
    how = TrajectoryPreference(**({"pairs": 6, "steps": 3, "imitate": 0.0} | knobs))
    return how.prepare(people(*ids), transitions, PROMPTS, np.random.default_rng(0))


def scores(made: Lesson, seed: int = 0) -> Tensor:
    noise = torch.randn(*made.batch.taken.shape, len(ACTIONS), generator=torch.Generator().manual_seed(seed))
    return noise.log_softmax(dim=-1)


def test_blocks_are_the_better_life_and_then_the_worse() -> None:
    made = lesson(lived((1, 7, 5), (2, 7, 2)), length="sum")
    assert made.block == 6
    assert made.batch.taken.shape == (2, 6)  # one pair only
    assert made.batch.advantage.tolist() == [[1.0] * 3 + [-1.0] * 3] * 2
    # three of five decisions stand for all five; two decisions are all there are
    torch.testing.assert_close(made.batch.weight, torch.tensor([[5 / 3] * 3 + [1.0, 1.0, 0.0]] * 2))


def test_own_pairs_come_first() -> None:
    made = lesson(lived((1, 7, 5), (2, 7, 2), (3, 8, 4), (4, 8, 1)), ids=(1, 2, 3, 4), pairs=1)
    assert made.batch.taken[:, 0].tolist() == [0, 0, 1, 1]  # the action tells the world
    both = lesson(lived((1, 7, 5), (2, 7, 2), (3, 8, 4), (4, 8, 1)), ids=(1, 4), pairs=9)
    assert both.batch.taken[:, ::6].tolist() == [[0, 1], [1, 0]]


def test_at_the_reference_the_loss_is_log_two() -> None:
    made = lesson()
    start = scores(made)
    torch.testing.assert_close(
        made.loss(start, start, made.batch), torch.full(made.batch.taken.shape, math.log(2)), atol=1e-6, rtol=0
    )


def test_a_pair_by_hand() -> None:
    made = lesson(lived((1, 7, 5), (2, 7, 2)), ids=(1,), length="sum", beta=0.3)
    start = torch.full((1, 6, len(ACTIONS)), -2.0)
    now = start.clone()
    taken = made.batch.taken[..., None]
    now = now.scatter(2, taken, torch.tensor([-1.9, -1.7, -2.3, -2.5, -2.1, 9.0])[None, :, None])
    margin = 0.3 * ((0.1 + 0.3 - 0.3) * 5 / 3 - (-0.5 - 0.1))
    loss = made.loss(now, start, made.batch)
    torch.testing.assert_close(loss, torch.full((1, 6), math.log(1 + math.exp(-margin))))


def test_whole_pairs_in_any_order_give_the_same_loss() -> None:
    made = lesson()
    start, now = scores(made), scores(made, seed=1)
    whole = made.loss(now, start, made.batch)
    order = torch.tensor([2, 0, 1, 5, 4, 3])
    columns = (order[:, None] * made.block + torch.arange(made.block)).flatten()
    other = made.loss(now[:, columns], start[:, columns], made.batch.part(columns))
    torch.testing.assert_close(other, whole[:, columns])


def test_the_better_life_becomes_likelier_and_the_worse_rarer() -> None:
    made = lesson()
    start = scores(made)
    now = start.clone().requires_grad_()
    slope = torch.autograd.grad(made.loss(now, start, made.batch).sum(), now)[0]
    of_taken = slope.gather(2, made.batch.taken[..., None]).squeeze(2)
    counted = made.batch.weight > 0
    assert bool((of_taken[counted].sign() == -made.batch.advantage[counted]).all())
    assert float(of_taken[~counted].abs().sum()) == 0


@pytest.mark.parametrize(("length", "expected"), [("mean", 1.0), ("sum", 8.0), ("discounted", 1 + 3 / 7 + 1 / 7)])
def test_lengths_by_hand(length: str, expected: float) -> None:
    steps = 3 if length == "discounted" else 8
    made = lesson(lived((1, 7, steps), (2, 7, 1)), ids=(1,), length=length, discount=0.5, steps=8)
    assert float(made.batch.weight[0, :8].sum()) == pytest.approx(expected)
    assert float(made.batch.weight[0, 8:].sum()) == pytest.approx(1.0)


def test_drawn_decisions_stand_for_all_of_a_life() -> None:
    transitions = lived((1, 7, 30), (2, 7, 2))
    sums = [
        float(TrajectoryPreference(steps=4, discount=0.9).prepare(
            people(1), transitions, PROMPTS, np.random.default_rng(seed)
        ).batch.weight[0, :4].sum())
        for seed in range(300)
    ]  # fmt: skip
    places = np.array([0.9**t * (1 - 0.9 ** (30 - t)) / (1 - 0.9**30) for t in range(30)])
    error = places.std() * 30 / math.sqrt(4 * 300)
    assert np.mean(sums) == pytest.approx(places.sum(), abs=4 * error)


def test_imitation_of_the_better_life_is_added() -> None:
    made, plain = lesson(imitate=0.5), lesson()
    start = scores(made)
    extra = made.loss(start, start, made.batch) - plain.loss(start, start, plain.batch)
    taken = start.gather(2, made.batch.taken[..., None]).squeeze(2).reshape(2, -1, 2, 3)[:, :, 0]
    weight = made.batch.weight.reshape(2, -1, 2, 3)[:, :, 0]
    expected = -0.5 * (weight * taken).sum(dim=2) / weight.sum(dim=2)
    torch.testing.assert_close(extra.reshape(2, -1, 6)[..., 0], expected)


def test_all_pairs_of_a_world_are_taken_where_there_is_room() -> None:
    made = lesson(pairs=99, steps=1)
    lives = lives_of(LIVED)
    assert len(made.batch) == 2 * sum(
        int((lives.worth[lives.seed == seed][:, None] - lives.worth[lives.seed == seed] >= 1).sum())
        for seed in np.unique(lives.seed)
    )


def test_where_nobody_outlived_anybody_nothing_is_taught() -> None:
    made = lesson(lived((1, 7, 3), (2, 7, 3), (2, 8, 9)), imitate=0.5)
    start = scores(made)
    now = start.clone().requires_grad_()
    slope = torch.autograd.grad(made.loss(now, start, made.batch).sum(), now)[0]
    assert len(made.batch) == made.block
    assert float(slope.abs().sum()) == 0
    assert made.effective_share.tolist() == [0, 0]


def test_the_same_chance_draws_the_same() -> None:
    one, two = lesson(), lesson()
    assert torch.equal(one.batch.ids, two.batch.ids)
    assert torch.equal(one.batch.weight, two.batch.weight)
    other = TrajectoryPreference(pairs=6, steps=3, imitate=0.0).prepare(
        people(1, 2), LIVED, PROMPTS, np.random.default_rng(1)
    )
    assert not torch.equal(one.batch.weight, other.batch.weight)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pairs": 0}, "pairs: expected an integer of at least 1, got 0"),
        ({"steps": 0}, "steps: expected an integer of at least 1, got 0"),
        ({"margin": 0.0}, r"margin: expected a number above 0, got 0\.0"),
        ({"beta": -1.0}, r"beta: expected a number above 0, got -1\.0"),
        ({"discount": 1.0}, r"discount: expected a number between 0 and 1, got 1\.0"),
        ({"imitate": -0.1}, r"imitate: expected a number of at least 0, got -0\.1"),
        ({"length": "average"}, "length: expected one of discounted, mean, sum, got 'average'"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TrajectoryPreference(**fields)
