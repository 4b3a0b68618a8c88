"""The loss curve, and the stop at a loss, a gradient or a weight that is no number."""

import math

import pytest
import torch

from sbert_repro.errors import Diverged, UserError
from sbert_repro.training.curve import LossCurve


def filled(values):
    curve = LossCurve("lower the rate")
    for step, value in enumerate(values):
        curve.add(torch.tensor(value), torch.tensor(1.0), torch.tensor([step, step + 100]))
    return curve


def test_values_are_fetched_in_groups_and_kept_in_order():
    curve = filled([1.0, 3.0])
    assert curve.values == []
    assert curve.fetch() == 2.0
    curve.add(torch.tensor(5.0), torch.tensor(1.0), torch.tensor([0]))
    assert curve.fetch() == 5.0
    assert curve.values == [1.0, 3.0, 5.0]
    assert math.isnan(curve.fetch())


def test_ends_are_means_of_a_tenth():
    curve = filled([float(i) for i in range(40)])
    curve.fetch()
    assert curve.ends() == (1.5, 37.5)
    assert all(math.isnan(end) for end in LossCurve().ends())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_bad_step_is_named_with_its_rows(bad):
    curve = filled([1.0, bad, bad, 1.0])
    with pytest.raises(
        UserError, match=rf"loss is {bad} at step 2 \(rows 1, 101\); nothing .* it\. Lower"
    ):
        curve.fetch()


def test_many_rows_are_cut_short():
    curve = LossCurve()
    curve.add(torch.tensor(math.nan), torch.tensor(1.0), torch.arange(64))
    with pytest.raises(UserError, match=r"13, 14, 15 …\)"):
        curve.fetch()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_finite_loss_with_a_gradient_that_is_none_is_named_too(bad):
    curve = filled([1.0, 2.0])
    curve.add(torch.tensor(3.0), torch.tensor(bad), torch.tensor([7, 8]))
    curve.add(torch.tensor(math.nan), torch.tensor(math.nan), torch.tensor([9]))
    curve.last_good = "the last good checkpoint is that of step 2"
    with pytest.raises(
        Diverged,
        match=rf"norm of the gradients is {bad} at step 3 \(rows 7, 8\); .* step 2\. Lower",
    ):
        curve.fetch()


def test_weights_that_are_no_numbers_are_refused():
    curve = filled([1.0])
    curve.fetch()
    curve.look_at([torch.ones(3), torch.zeros(2, 2)], torch.tensor([4]))
    with pytest.raises(Diverged, match=r"norm of the weights is nan at step 1 \(rows 4\)"):
        curve.look_at([torch.ones(3), torch.tensor([0.0, math.nan])], torch.tensor([4]))
