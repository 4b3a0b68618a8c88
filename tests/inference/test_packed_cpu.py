"""The packed engine gives the reference's vectors, whatever the network, the layer, the pooling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.inference import packed_cpu
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

POOLINGS = [MeanPooling(), MaxPooling(), ClsPooling()]
SENTENCES = ["a man plays guitar", "no", "the dog sleeps", "", "Ünïcode 漢字 \x00 🙂", "dog " * 80]
WORDS = st.sampled_from("a man plays the guitar no dog sleeps in park zebra ! 12".split())
TEXTS = st.lists(st.lists(WORDS, max_size=30).map(" ".join), min_size=1, max_size=12)


def pair(folder, pooling, **options):
    """The same encoder with either engine."""
    both = [
        TransformerEncoder(str(folder), pooling, engine=engine, **options)
        for engine in ("packed", "reference")
    ]
    assert [one.engine for one in both] == ["packed", "reference"]
    return both


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_vectors_are_the_references(request, family, layer, pooling):
    packed, reference = pair(request.getfixturevalue(family), pooling, layer=layer)
    np.testing.assert_allclose(
        packed.encode(SENTENCES), reference.encode(SENTENCES), atol=1e-5, rtol=0
    )


@settings(deadline=None, max_examples=30)
@given(TEXTS, st.integers(1, 200), st.sampled_from(POOLINGS))
def test_any_lengths_at_any_budget(tiny_bert, texts, budget, pooling):
    packed, reference = pair(tiny_bert, pooling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_cpu, "BUDGET", budget)
        found = packed.encode(texts)
    np.testing.assert_allclose(found, reference.encode(texts), atol=1e-5, rtol=0)
