"""Dev scores against scikit-free arithmetic by hand, whatever the lengths."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from sbert_repro.data.tokens import TokenColumn
from sbert_repro.training.validation import DevSet

TABLE = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


def column(rows):
    lengths = [len(row) for row in rows]
    return TokenColumn(np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths]), 0, 0)


def rows(count, seed):
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 50, generator.integers(1, 12)) for _ in range(count)]


def embed(tokens):
    """A bag of word pieces, which padding must not enter."""
    return (TABLE[tokens.ids] * tokens.mask.unsqueeze(-1)).sum(1)


def by_hand(texts):
    return np.stack([TABLE[torch.from_numpy(row)].sum(0).numpy() for row in texts])


@pytest.mark.parametrize("count", [5, 64, 150])
def test_scored_pairs_give_spearman_of_the_cosine(count):
    texts, gold = [rows(count, 1), rows(count, 2)], np.random.default_rng(3).uniform(0, 5, count)
    u, v = map(by_hand, texts)
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    dev = DevSet([column(t) for t in texts], gold, pad_id=0)
    assert dev.metric == "spearman"
    assert dev.score(embed, CPU) == pytest.approx(100 * spearmanr(cosine, gold).statistic)


def test_triplets_give_the_share_whose_positive_is_closer():
    texts = [rows(40, seed) for seed in (1, 2, 3)]
    a, p, n = map(by_hand, texts)
    closer = ((a - p) ** 2).sum(1) < ((a - n) ** 2).sum(1)
    dev = DevSet([column(t) for t in texts], None, pad_id=0)
    assert dev.metric == "accuracy"
    assert dev.score(embed, CPU) == pytest.approx(100 * closer.mean())
    same = DevSet([column(texts[0])] * 3, None, pad_id=0)
    assert same.score(embed, CPU) == 0, "a tie is not closer"


def test_vectors_all_alike_give_no_number():
    dev = DevSet([column(rows(9, 1)), column(rows(9, 2))], np.arange(9.0), pad_id=0)
    assert np.isnan(dev.score(lambda tokens: torch.ones(len(tokens.ids), 4), CPU))
