"""The benchmark measures what it says it measures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sbert_repro.benchmarks.senteval import SentEvalBenchmark
from sbert_repro.compose import compose
from sbert_repro.errors import UserError


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    words = "the a man woman plays runs happy small red green".split()
    texts = [" ".join(random.choice(words, random.integers(1, 6))) for _ in range(80)]
    frame = pd.DataFrame({"text": texts, "label": ["happy" in t for t in texts]})
    (tmp_path / "data" / "cr").mkdir(parents=True)
    frame.astype({"label": int}).to_parquet(tmp_path / "data" / "cr" / "all.parquet")
    return tmp_path


@pytest.fixture
def words(root, tiny_bert):
    quick = ["classifier.kfold=3", "classifier.max_epoch=8", "data.allow_partial=true"]
    paths = [f"paths.data={root / 'data'}", f"paths.cache={root / 'cache'}"]
    encoder = ["encoder=transformer", f"encoder.path={tiny_bert}", "progress=false"]
    return [*quick, *paths, *encoder, "what=senteval"]


def test_the_command_prints_and_writes_both_sides(root, words, typed, capsys):
    output = root / "figures.json"
    what = ["what.tasks=[cr]", "what.repeats=2", "what.test_folds=2", f"output={output}"]
    typed("benchmark", *words, *what)
    assert "faster" in capsys.readouterr().out
    (row,) = json.loads(output.read_text())["rows"]
    assert row["accuracy, same folds"] == pytest.approx(row["loop's accuracy"], abs=1e-6)
    assert row["loop ran"] == "2 of 3 test folds"
    assert row["times faster"] == pytest.approx(row["loop s"] / row["ours s"])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["what.tasks=[cr,sts12]"], r"what\.tasks=sts12: expected some of mr, cr"),
        (["what.tasks=[cr]", "classifier=sklearn"], "compares classifier=batched"),
    ],
)
def test_what_cannot_be_compared_is_one_line(extra, message, words):
    kept = [w for w in words if not w.startswith("classifier.") or "kfold" in w]
    config = compose([*kept, *extra], "benchmark")
    what = SentEvalBenchmark(tasks=config.what.tasks, test_folds=1, repeats=1)
    with pytest.raises(UserError, match=message):
        what.run(config)
