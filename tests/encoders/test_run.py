"""The encoder of a finished run: found by key, with the run's layer and notes."""

import pytest

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.encoders.run import from_run
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.training.save import save_model

KEY = "0123456789abcdef"
NOTE = "NLI: 20,000 of 942,069 pairs"


def record(kind="train", layer="second_to_last"):
    settings = {"encoder": {"layer": layer}}
    return {"kind": kind, "settings": settings, "scores": {}, "seed": 1, "notes": [NOTE]}


@pytest.fixture
def runs(tmp_path, tiny_bert):
    ledger = Ledger(tmp_path / "runs")
    settings = {"max_length": 9, "layer": "second_to_last"}
    parts = (load(tiny_bert), load_tokenizer(tiny_bert), MaxPooling(), RegressionLoss())
    save_model(ledger.folder(KEY) / "model", *parts, settings)
    return ledger


def test_pooling_layer_length_and_notes_are_the_runs(runs):
    runs.put(KEY, record())
    encoder = from_run(KEY, str(runs.root))
    assert (encoder.pooling.name, encoder.layer, encoder.max_length) == ("max", "second_to_last", 9)
    assert encoder.notes == [NOTE] and encoder.label == f"run {KEY}"
    assert from_run(KEY, str(runs.root), label="SBERT", max_length=4).max_length == 4


def test_what_is_no_finished_training_is_refused(runs):
    with pytest.raises(UserError, match=f"run {KEY}: no finished run in .*runs"):
        from_run(KEY, str(runs.root))
    runs.put("feedfeedfeedfeed", record(kind="evaluate"))
    with pytest.raises(UserError, match="a record of kind evaluate"):
        from_run("feedfeedfeedfeed", str(runs.root))
    runs.put("deaddeaddeaddead", record())
    with pytest.raises(UserError, match="model is gone"):
        from_run("deaddeaddeaddead", str(runs.root))
    with pytest.raises(UserError, match="is no run key"):
        from_run("../etc", str(runs.root))
