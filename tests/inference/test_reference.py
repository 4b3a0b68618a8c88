"""The reference engine puts every vector where its sentence stands, whatever its batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.data.batches import pad
from sbert_repro.inference import progress, reference

PIECES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=12), min_size=1, max_size=20)


def embed(tokens):
    """Sum and count of the real word pieces: wrong as soon as padding is looked at."""
    ids = torch.where(tokens.mask, tokens.ids, 0)
    return torch.stack([ids.sum(1), tokens.mask.sum(1)], dim=1).float()


@settings(deadline=None)
@given(PIECES, st.integers(1, 40))
def test_rows_come_back_in_their_order_at_any_budget(pieces, budget):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reference.BUDGET, "cpu", budget)
        vectors = reference.encode([np.array(p, np.int32) for p in pieces], embed, pad_id=7)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[sum(p), len(p)] for p in pieces])


@settings(deadline=None)
@given(PIECES)
def test_padding_is_at_the_right_and_masked(pieces):
    tokens = pad([np.array(p, np.int32) for p in pieces], pad_id=7)
    assert tokens.ids.dtype == torch.int64 and tokens.mask.dtype == torch.bool
    for ids, mask, piece in zip(tokens.ids, tokens.mask, pieces, strict=True):
        assert ids[mask].tolist() == piece
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)
        assert set(ids[~mask].tolist()) <= {7}


def test_long_work_shows_a_bar_on_stderr_and_nothing_on_stdout(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LONG_WORK", 3)
    monkeypatch.setenv("FORCE_COLOR", "1")
    for batches in ([np.arange(2), np.arange(2, 5)], [np.arange(2)]):
        given_out = progress.shown(batches, total=sum(map(len, batches)), progress=True)
        assert [rows.tolist() for rows in given_out] == [rows.tolist() for rows in batches]
        seen = capsys.readouterr()
        assert ("sentences" in seen.err) == (len(batches) > 1) and seen.out == ""
