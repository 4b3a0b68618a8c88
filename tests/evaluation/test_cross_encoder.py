"""A cross-encoder that was trained here, scored by name of its folder or by its key."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sbert_repro.composition import build, compose
from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.run import evaluate_trained, scored
from sbert_repro.evaluation.show import table
from sbert_repro.training.run import train

from .conftest import pairs


@pytest.fixture
def options(tiny_bert, small_root, tmp_path):
    for name, count in (("train", 16), ("dev", 8)):
        pairs(count, count).to_parquet(small_root / "stsb" / f"{name}.parquet")
    record = dataset("bws")
    frame = pairs(60, 60)
    frame["score"] /= 5
    frame[record.subset_column] = np.resize(["cloning", "gun control", "wind"], 60)
    (small_root / "bws").mkdir()
    frame.to_parquet(small_root / "bws" / "all.parquet")
    return [
        "encoder=transformer",
        f"encoder.path={tiny_bert}",
        "experiment=cross_encoder_stsb",
        f"paths.data={small_root}",
        f"paths.results={tmp_path / 'results'}",
        f"paths.cache={tmp_path / 'cache'}",
        "data.allow_partial=true",
        "trainer.max_steps=3",
        "trainer.accelerator=cpu",
        "trainer.progress=false",
    ]


def test_it_is_scored_by_its_own_scores_through_the_ledger(options, small_root, tmp_path):
    config = compose([*options, "evaluate=[stsb,sickr,bws]"])
    key = train(config, options)["key"]
    found = evaluate_trained(config, key)
    assert set(found) == {"stsb", "sickr", "bws"} and np.isfinite(list(found.values())).all()
    records = scored(config, key, ["stsb"])
    assert records["stsb"]["settings"]["encoder"]["encoder"] == "cross_encoder"
    assert "STSb: 16 of 5,749 pairs" in records["stsb"]["notes"]

    folder = tmp_path / "results" / "runs" / key / "model"
    node = compose(["encoder=cross_encoder", f"encoder.path={folder}"], "evaluate").encoder
    model = build(node, models_root=None, precision="fp32", progress=False)
    frame = pd.read_parquet(small_root / "stsb" / "test.parquet")
    scores = model.score(list(zip(frame.sentence1, frame.sentence2, strict=True)))
    by_hand = 100 * stats.spearmanr(scores, frame.score)[0]
    assert found["stsb"] == pytest.approx(by_hand)
    again = evaluate(model, "stsb,bws", small_root, allow_partial=True)
    assert again["stsb"]["spearman"] == pytest.approx(found["stsb"], abs=1e-9)
    assert again["stsb"]["similarities"] == {} and again["bws"]["n"] == 60
    assert again["_meta"]["label"] == "model"
    json.dumps(again, allow_nan=False)


def test_the_screen_does_not_speak_of_a_cosine(options, small_root, lengths):
    scores = evaluate(lengths, "stsb", small_root, allow_partial=True)
    assert "the cosine" in str(table(scores).title)
    scores["_meta"]["encoder"] = {"encoder": "cross_encoder"}
    assert "correlation of the score of each pair" in str(table(scores).title)


def test_a_first_stage_has_no_score_to_evaluate(options):
    first = [o for o in options if not o.startswith("experiment")] + ["data.dev=null"]
    config = compose([*first, "experiment=cross_encoder_nli"])
    assert list(config.evaluate) == []
    folder = _nli(config)
    record = train(config, [*first, "experiment=cross_encoder_nli"])
    assert folder.exists() and evaluate_trained(config, record["key"]) == {}
    with pytest.raises(UserError, match="no cross-encoder that gives a score"):
        scored(config, record["key"], ["stsb"])


def _nli(config):
    folder = Path(config.paths.data) / "nli"
    folder.mkdir()
    frame = pairs(16, 5).rename(columns={"sentence1": "premise", "sentence2": "hypothesis"})
    frame["label"] = np.resize(["contradiction", "entailment", "neutral"], 16)
    frame.assign(source="snli").drop(columns="score").to_parquet(folder / "train.parquet")
    return folder
