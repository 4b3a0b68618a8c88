"""The encoder of a finished run: found by key, with the run's layer and facts."""

import pytest

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.run import from_run
from sbert_repro.errors import UserError
from sbert_repro.facts import rows
from sbert_repro.ledger import Ledger
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.training.save import save_model

KEY = "0123456789abcdef"
FACTS = [rows("nli", "train", title="NLI", unit="pairs", used=20_000, expected=942_069)]


def record(kind="train", layer="second_to_last"):
    settings = {"encoder": {"layer": layer}, "task": "stsb"}
    return {"kind": kind, "settings": settings, "scores": {}, "seed": 1, "facts": FACTS}


@pytest.fixture
def runs(tmp_path, tiny_bert):
    ledger = Ledger(tmp_path / "runs")
    settings = {"max_length": 9, "layer": "second_to_last"}
    parts = (load(tiny_bert), load_tokenizer(tiny_bert), MaxPooling(), RegressionLoss())
    save_model(ledger.folder(KEY) / "model", *parts, settings)
    return ledger


def test_pooling_layer_length_and_facts_are_the_runs(runs):
    runs.put(KEY, record())
    encoder = from_run(KEY, str(runs.root))
    assert (encoder.pooling.name, encoder.layer, encoder.max_length) == ("max", "second_to_last", 9)
    assert encoder.facts == FACTS and encoder.label == f"run {KEY}"
    assert from_run(KEY, str(runs.root), label="SBERT", max_length=4).max_length == 4


def test_what_is_no_finished_training_is_refused(runs):
    with pytest.raises(UserError, match=f"runs: run {KEY}: no finished run: train.py prints"):
        from_run(KEY, str(runs.root))
    runs.put("feedfeedfeedfeed", record(kind="evaluate"))
    with pytest.raises(UserError, match="a record of kind evaluate"):
        from_run("feedfeedfeedfeed", str(runs.root))
    runs.put("deaddeaddeaddead", record())
    with pytest.raises(UserError, match="the model of run deaddeaddeaddead is gone"):
        from_run("deaddeaddeaddead", str(runs.root))
    with pytest.raises(UserError, match="run key"):
        from_run("../etc", str(runs.root))


def test_a_runs_cross_encoder_is_found_by_its_key(runs, tiny_bert):
    backbone = load(tiny_bert)
    trained = {
        "loss": {"name": "cross_regression", "error": "bce"},
        "pooling": {"name": "max"},
        "max_length": 9,
        "layer": "last",
    }
    parts = (backbone, load_tokenizer(tiny_bert), MaxPooling())
    loss = CrossRegressionLoss(backbone.width)
    save_model(runs.folder("c0ffeec0ffeec0ff") / "model", *parts, loss, trained)
    runs.put("c0ffeec0ffeec0ff", record(layer="last"))
    encoder = from_run("c0ffeec0ffeec0ff", str(runs.root))
    assert isinstance(encoder, CrossEncoder) and encoder.facts == FACTS
    with pytest.raises(UserError, match=r"^pooling=max: run \w+ is a cross-encoder, .*: leave it"):
        from_run("c0ffeec0ffeec0ff", str(runs.root), pooling=MaxPooling())
