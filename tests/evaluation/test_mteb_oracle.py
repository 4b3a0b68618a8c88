"""all-MiniLM-L6-v2 through our evaluation gives the scores that MTEB publishes for it."""

import pytest

from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.released import MINILM
from sbert_repro.pooling.mean import MeanPooling


# 29,023 sentences: a minute on two free cores, several on busy ones.
@pytest.mark.timeout(1500)
def test_all_seven_scores_are_the_published_ones(minilm, data_root):
    encoder = TransformerEncoder(str(minilm), MeanPooling())
    published = dict(MINILM.scores)
    scores = evaluate(encoder, list(published), data_root)
    found = {task: scores[task].get("all", scores[task].get("spearman")) for task in published}
    assert found == {task: pytest.approx(score, abs=0.01) for task, score in published.items()}
    assert sum(scores[task]["n"] for task in published) == 23_850
    assert not any("notes" in scores[task] for task in published)
