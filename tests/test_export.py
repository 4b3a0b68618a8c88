"""A run given away: sentence-transformers loads it, its card says where it comes from."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from sbert_repro import export as exporting
from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.backbone.transformer import load, load_tokenizer, without_pooler
from sbert_repro.compose import compose
from sbert_repro.encoders.run import from_run
from sbert_repro.errors import UserError
from sbert_repro.export import export
from sbert_repro.facts import rows
from sbert_repro.ledger import Ledger
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.storage import write_file
from sbert_repro.training.save import save_model

NLI, KEY = "a" * 16, "b" * 16
NOTE = "NLI: 20,000 of 942,069 training pairs"
ROWS = rows("nli", "train", title="NLI", unit="pairs", used=20_000, expected=942_069)


def record(data, parent=None, layer="last"):
    return {
        "kind": "train",
        "seed": 1,
        "facts": [ROWS],
        "scores": {"dev_best": 81.0, "dev_last": 70.0, "dev_spearman": 81.234},
        "steps": 12,
        "settings": {
            "encoder": {"layer": layer},
            "pooling": {"name": "max", "version": 1},
            "loss": {"name": "classification", "num_labels": 3, "version": 1},
            "optimizer": {"name": "adamw", "lr": 2e-5, "version": 1},
            "trainer": {"epochs": 1, "batch_size": 16},
            "data": {
                "name": data, "split": "train", "max_length": 128,
                "dev": ["stsb", "dev", None, "0"],
            },
            "checkpoint": "best_dev",
            "seed": 1,
            "parent": parent,
        },
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path, tiny_bert):
    """NLI, then STSb; the second run's model stands in the ledger with a test score."""
    ledger = Ledger(tmp_path / "runs")
    base = {"label": "BERT-base", "path": "google-bert/bert-base-uncased", "revision": "86b5"}
    ledger.put(NLI, record("nli"))
    ledger.put(KEY, record("stsb", parent=NLI))
    for key in (NLI, KEY):
        ledger.folder(key).mkdir(exist_ok=True)
        (ledger.folder(key) / "config.yaml").write_text(yaml.safe_dump({"encoder": base}))
    backbone = load(tiny_bert)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(1.05)
    head = ClassificationLoss(backbone.width)
    parts = (backbone, load_tokenizer(tiny_bert), MaxPooling(), head)
    save_model(ledger.folder(KEY) / "model", *parts, {"max_length": 20, "layer": "last"})
    model = model_sha256(ledger.folder(KEY) / "model")
    scores = {"spearman": 84.6789, "ci_low": 80.0, "ci_high": 88.0, "n": 1379}
    for number, task in enumerate(("stsb", "korsts")):
        # The second score is of another model and has no place in this card.
        settings = {"encoder": {"model": model if number == 0 else "other"}, "task": task}
        one = {"kind": "evaluate", "settings": settings, "scores": scores, "seed": None}
        ledger.put(f"{number}" * 16, one)
    return ledger.root


def test_it_loads_elsewhere_with_the_same_vectors(runs, tmp_path):
    from sentence_transformers import SentenceTransformer

    export(KEY, tmp_path / "new" / "model", runs)
    texts = ["a man plays", "", "dog " * 100]
    ours = from_run(KEY, str(runs)).encode(texts)
    model = SentenceTransformer(str(tmp_path / "new" / "model"), device="cpu")
    np.testing.assert_allclose(model.encode(texts), ours, atol=1e-5)
    assert model[0].auto_model.pooler is None, "a layer that is not in the file was drawn"


def test_a_network_without_such_a_layer_gets_no_option_for_it():
    from transformers import BertConfig, DistilBertConfig

    assert without_pooler(BertConfig()) == {"add_pooling_layer": False}
    assert without_pooler(DistilBertConfig()) == {}


def test_the_card_names_base_data_scores_settings_and_limits(runs, tmp_path):
    export(KEY, tmp_path / "model", runs)
    text = (tmp_path / "model" / "README.md").read_text()
    front, body = text.split("---\n")[1:]
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "sentence-transformers"
    assert metadata["base_model"] == "google-bert/bert-base-uncased"
    assert metadata["datasets"] == [
        "stanfordnlp/snli", "nyu-mll/multi_nli", "mteb/stsbenchmark-sts",
    ]  # fmt: skip
    (index,) = metadata["model-index"]
    assert index["results"] == [
        {
            "task": {"type": "semantic-similarity"},
            "dataset": {"type": "mteb/stsbenchmark-sts", "name": "STSb", "split": "test"},
            "metrics": [{"type": "spearman_cosine", "value": 0.8468}],
        }
    ]
    for words in (
        f"run {KEY}", "`google-bert/bert-base-uncased`", "revision `86b5`", NOTE,
        "| stsb, spearman | 84.68 | 80.00 to 88.00 | 1379 |",
        "| stsb dev: dev_spearman, seen in training | 81.23 |",
        "STSb (train)", "NLI (train)", f"`{NLI}`",
        "classification, num_labels=3", "adamw, lr=2e-05",
    ):  # fmt: skip
        assert words in body, words
    assert "korsts" not in body and "dev_best |" not in body
    assert "Licence" in body and "None" not in body and str(tmp_path) not in text


def test_it_goes_to_wandb_as_an_artifact_of_the_run_that_trained_it(runs, tmp_path, monkeypatch):
    sent = []

    def start(config, key, kind, settings, words):
        track = SimpleNamespace(log_model=lambda *given: sent.append(given), finish=lambda: None)
        sent.append((config.wandb.group, config.profile.name, key, kind, words["pooling"]))
        return track

    monkeypatch.setattr("sbert_repro.training.tracking.start", start)
    path = runs / KEY / "config.yaml"
    trained = {"group": "table_1_demo", "project": None, "mode": "auto", "name": "SBERT"}
    base = yaml.safe_load(path.read_text())
    more = {"wandb": trained, "profile": {"name": "demo"}, "data": {"name": "stsb"}, "seed": 1}
    path.write_text(yaml.safe_dump({**base, **more}))
    words = ["run=" + KEY, "output=x", f"paths.results={runs.parent}", "wandb.artifact=true"]
    exporting.send(KEY, tmp_path / "model", compose(words, "export"))
    assert sent == [("table_1_demo", "demo", KEY, "train", "max"), (tmp_path / "model", KEY)]


def test_metadata_name_what_was_used_alone():
    """Neither a corpus left out, nor a folder as a model of the Hub, nor a score of NaN."""
    data = record("nli")["settings"]["data"] | {"sources": ["mnli"]}
    stage = {**record("nli"), "key": NLI}
    stage["settings"] = stage["settings"] | {"data": data}
    undefined = {"settings": {"task": "stsb"}, "scores": {"spearman": None}}
    written = exporting._metadata(NLI, {"path": "models/mine"}, [stage], [undefined], False)
    metadata = yaml.safe_load(written)
    assert metadata["datasets"] == ["nyu-mll/multi_nli"]
    assert not {"base_model", "model-index"} & set(metadata)


def test_the_card_of_a_demo_says_that_its_sentences_are_made_up(runs, tmp_path):
    for key in (NLI, KEY):
        path = runs / key / "config.yaml"
        options = yaml.safe_load(path.read_text())
        options["encoder"] = {"label": "random", "path": ".cache/demo/models/demo-bert"}
        path.write_text(yaml.safe_dump({**options, "profile": {"name": "demo"}}))
    export(KEY, tmp_path / "model", runs)
    front, body = (tmp_path / "model" / "README.md").read_text().split("---\n")[1:]
    metadata = yaml.safe_load(front)
    assert not {"base_model", "datasets"} & set(metadata)
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["type"] == "synthetic"
    assert "**The sentences are synthetic.**" in body
    for line in body.splitlines():
        if "NLI" in line or "STSb" in line:
            assert "synthetic sentences instead of" in line


def test_the_card_names_a_first_stage_that_lies_under_the_key_of_an_earlier_version(runs, tmp_path):
    key = "c" * 16
    shutil.copytree(runs / KEY, runs / key)
    (runs / key / "record.json").unlink()
    Ledger(runs).put(key, {**record("stsb", parent="d" * 16), "parent": NLI})
    export(key, tmp_path / "model", runs)
    assert f"Run `{NLI}`" in (tmp_path / "model" / "README.md").read_text()


def test_what_is_there_is_left_alone(runs, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("x")
    for output in (full, full / "mine"):
        with pytest.raises(UserError, match="there is something already"):
            export(KEY, output, runs)
    (tmp_path / "empty").mkdir()
    export(KEY, tmp_path / "empty", runs)
    assert (tmp_path / "empty" / "modules.json").exists()


def test_an_export_that_fails_leaves_nothing(runs, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.shutil, "copytree", full)
    with pytest.raises(UserError, match="no space left"):
        export(KEY, tmp_path / "out" / "model", runs)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_does_not_load_is_not_said_to(runs, tmp_path):
    weights = runs / KEY / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"the model cannot be loaded .* copy or download"):
        export(KEY, tmp_path / "out" / "model", runs)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_layer_that_sentence_transformers_does_not_pool_is_refused(runs, tmp_path):
    ledger = Ledger(runs)
    ledger.put("c" * 16, record("nli", layer="second_to_last"))
    write_file(ledger.folder("c" * 16) / "model" / "model.safetensors", b"")
    with pytest.raises(UserError, match="layer=second_to_last"):
        export("c" * 16, tmp_path / "model", runs)
    with pytest.raises(UserError, match="no finished run"):
        export("d" * 16, tmp_path / "model", runs)


def test_its_options_compose():
    config = compose(["run=abc", "output=x"], "export")
    assert (config.run, config.output, config.paths.results) == ("abc", "x", "results")
