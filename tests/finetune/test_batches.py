"""Which decisions each agent is trained on, and what of them becomes a tensor."""

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.batches import Batch, choose, informative, make_batch
from fitness.model import Prompts
from tests.finetune.lives import Life, record
from tests.fitness.models import ACTIONS, OBSERVATIONS, population_model, save_tiny

AGENT = np.array([1, 1, 1, 2, 2, 3, 3, 3, 3, 3])
POOL = np.array([0, 2, 3, 5, 6, 8, 9])


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Prompts:
    folder: Path = tmp_path_factory.mktemp("llama")
    return population_model(save_tiny(folder, "llama")).prompts(ACTIONS)


def picked(ids: list[int], most: int, seed: int = 0) -> np.ndarray:
    return choose(POOL, AGENT, ids, most, np.random.default_rng(seed))


def test_the_largest_advantages_of_either_sign_are_informative() -> None:
    advantage = np.array([0.1, -5.0, 0.0, 4.0, -0.2, 0.3, 2.0, 0.1, 0.0, 0.0])
    assert informative(advantage, 0.3).tolist() == [1, 3, 6]
    assert informative(advantage, 1.0).tolist() == list(range(10))
    assert informative(advantage, 1e-9).tolist() == [1]


def test_own_decisions_come_before_others() -> None:
    chosen = picked([1, 2, 3], most=5)
    assert chosen.shape == (3, 5)
    for agent, row, own in zip((1, 2, 3), chosen, ({0, 2}, {3}, {5, 6, 8, 9}), strict=True):
        assert set(row[: len(own)]) == own
        assert (AGENT[row[len(own) :]] != agent).all()
        assert len(set(row)) == 5
        assert set(row) <= set(POOL)


def test_an_agent_with_enough_of_its_own_learns_from_nobody_else() -> None:
    assert (AGENT[picked([3], most=3)] == 3).all()


def test_an_agent_that_left_nothing_learns_from_others() -> None:
    assert sorted(picked([99], most=100)[0]) == POOL.tolist()


def test_the_choice_among_others_is_random_and_reproducible() -> None:
    draws = {tuple(picked([1], most=4, seed=seed)[0]) for seed in range(20)}
    assert len(draws) > 5
    np.testing.assert_array_equal(picked([1, 2], most=4, seed=3), picked([1, 2], most=4, seed=3))


def made(prompts: Prompts) -> tuple[Batch, np.ndarray, np.ndarray]:
    """A batch of 2 agents x 4 decisions, the indices that it was made from, and the advantages."""
    lived = record([Life(1, 1, OBSERVATIONS, (0, 1, 2, 3, 4), ((0.0,),) * 5)])
    chosen, advantage = np.array([[0, 1, 2, 1], [4, 3, 2, 0]]), np.array([4.0, -2.0, 0.0, 1.0, 7.0])
    return make_batch(lived, advantage, chosen, prompts), chosen, advantage


def test_tokens_are_those_of_the_prompts(prompts: Prompts) -> None:
    batch, chosen, _ = made(prompts)
    rows = prompts.rows(OBSERVATIONS)
    assert len(batch) == 4
    for p, k in np.ndindex(chosen.shape):
        assert batch.ids[p, k, : batch.lengths[p, k]].tolist() == rows[chosen[p, k]]
    assert batch.taken.tolist() == chosen.tolist()  # the i-th decision took action i
    torch.testing.assert_close(batch.behaviour, torch.full((2, 4), -np.log(7)).float())
    assert bool((batch.weight == 1).all())


def test_advantages_are_in_standard_deviations_and_keep_their_sign(prompts: Prompts) -> None:
    batch, chosen, advantage = made(prompts)
    torch.testing.assert_close(batch.advantage, torch.from_numpy(advantage[chosen] / advantage.std()).float())


def test_advantages_that_are_all_the_same_stay_finite(prompts: Prompts) -> None:
    lived = record([Life(1, 1, OBSERVATIONS, (0,) * 5, ((0.0,),) * 5)])
    batch = make_batch(lived, np.zeros(5), np.array([[0, 1]]), prompts)
    assert batch.advantage.tolist() == [[0.0, 0.0]]


def test_a_part_holds_its_columns_and_no_needless_padding(prompts: Prompts) -> None:
    batch, chosen, _ = made(prompts)
    columns = torch.tensor([2, 0])
    part = batch.part(columns)
    assert part.ids.shape == (2, 2, int(part.lengths.max()))
    assert part.ids.shape[2] < batch.ids.shape[2]
    assert part.taken.tolist() == chosen[:, columns].tolist()
    for name in ("lengths", "taken", "behaviour", "advantage", "weight"):
        torch.testing.assert_close(getattr(part, name), getattr(batch, name)[:, columns])
    torch.testing.assert_close(part.ids, batch.ids[:, columns, : part.ids.shape[2]])
