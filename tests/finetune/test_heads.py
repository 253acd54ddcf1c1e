"""Value heads by hand: what they say, the ridge in closed form, the share that is explained."""

import pytest
import torch

from finetune.heads import explained_share, fitted, predicted


def test_a_head_says_its_product_over_the_root_of_the_width_and_its_constant() -> None:
    states = torch.tensor([[[1.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]]])
    heads = torch.tensor([[2.0, 1.0, 5.0, 3.0, 10.0]])
    assert predicted(heads, states).tolist() == [[10.5, 10.0]]  # (2 + 2 + 0 - 3) / sqrt(4) + 10


def test_the_ridge_halves_a_standardised_slope_at_one_and_spares_the_mean() -> None:
    states, target = torch.tensor([[[5.0], [9.0]]]), torch.tensor([[0.0, 4.0]])
    assert predicted(fitted(states, target, ridge=1.0), states).tolist() == [[1.0, 3.0]]


def test_each_agent_has_the_head_that_it_would_have_alone_and_a_line_is_found() -> None:
    states = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0))
    states[:, :, 2] = 7.0  # a column that says nothing
    target = states @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.0]) + torch.tensor([[0.0], [5.0], [-9.0]])
    together = fitted(states, target, ridge=1e-9)
    torch.testing.assert_close(predicted(together, states), target, atol=1e-4, rtol=0)
    alone = fitted(states[1:2], target[1:2], ridge=1e-9)
    torch.testing.assert_close(together[1:2], alone)
    assert bool(fitted(states[:, :2], target[:, :2]).isfinite().all())  # fewer decisions than columns


def test_explained_is_one_of_the_truth_and_nothing_of_the_mean() -> None:
    target = torch.tensor([[1.0, 3.0], [0.0, 8.0]])
    assert explained_share(target, target) == 1.0
    assert explained_share(torch.full((2, 2), 2.0), target) == 0.0
    assert explained_share(torch.stack([target[0], target[1] / 2]), target) == pytest.approx((1 + 0.75) / 2)
