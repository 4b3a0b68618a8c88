"""The parts of (u, v, |u-v|, u*v), alone and side by side."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.errors import UserError
from sbert_repro.losses.concatenation import PARTS, check_parts, concatenate

U, V = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 5.0]])


@pytest.mark.parametrize(
    ("part", "value"), [("u", [1, -2]), ("v", [3, 5]), ("|u-v|", [2, 7]), ("u*v", [3, -10])]
)
def test_each_part(part, value):
    assert concatenate([part], U, V)[0].tolist() == value


@given(st.lists(st.sampled_from(list(PARTS)), min_size=1, max_size=6))
def test_width_is_parts_times_width_and_order_is_kept(parts):
    joined = concatenate(check_parts(parts), U, V)
    assert joined.shape == (1, 2 * len(parts))
    assert torch.equal(joined, torch.cat([PARTS[p](U, V) for p in parts], 1))


@pytest.mark.parametrize("part", ["|u-v|", "u*v"])
def test_these_parts_do_not_know_which_sentence_came_first(part):
    assert torch.equal(concatenate([part], U, V), concatenate([part], V, U))


@pytest.mark.parametrize("parts", [[], ["u", "w"], ["|v-u|"]])
def test_unknown_and_missing_parts_are_refused_in_one_line(parts):
    with pytest.raises(UserError, match=r"concatenation\.parts.*u, v, \|u-v\|, u\*v"):
        check_parts(parts)
