"""experiment=infersent from options to a model: watched on NLI dev, resumed, found, refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from sbert_repro.backbone import bilstm, bilstm_folder
from sbert_repro.compose import build, compose
from sbert_repro.encoders.infersent import BiLstmEncoder
from sbert_repro.encoders.run import from_run
from sbert_repro.errors import UserError
from sbert_repro.export import export
from sbert_repro.facts import sentences
from sbert_repro.training import pretrained
from sbert_repro.training.fit import fit
from sbert_repro.training.run import key_of, train
from sbert_repro.training.save import load_head

from .conftest import LABELS

TEXTS = ["the small dog runs outside", "no", "zebra", "", "a man eats a man"]


@pytest.fixture
def typed(infersent):
    return infersent


def test_the_published_recipe(typed):
    config = compose(["experiment=infersent"])
    assert (config.encoder.path, config.encoder.hidden) == ("glove.840B.300d.txt", 2048)
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.decay, optimizer.shrink, optimizer.min_lr) == (
        0.1,
        0.99,
        5,
        1e-5,
    )
    trainer = config.trainer
    assert (trainer.batch_size, trainer.epochs, trainer.max_grad_norm) == (64, 20, 5)
    assert list(config.loss.concatenation) == ["u", "v", "|u-v|", "u*v"]
    assert config.loss.fc_dim == 512
    assert config.pooling["_target_"].endswith("MaxPooling")
    assert (config.data.name, config.data.dev, config.checkpoint.name) == ("nli", "nli", "best_dev")


def test_every_parameter_moves_and_word_vectors_do_not(typed, tmp_path, word_file):
    config = compose(typed("trainer.epochs=1", "checkpoint=last"))
    backbone, _ = pretrained.load(config)
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    fit(config, tmp_path / "run")
    vectors = bilstm_folder.word_vectors(str(word_file), None, tmp_path / "cache", False)
    after = bilstm.load(tmp_path / "run" / "model", vectors)
    assert not {name for name, p in after.named_parameters() if torch.equal(p, before[name])}
    assert torch.equal(after.words, backbone.words)


def test_the_dev_score_is_the_share_rightly_classed(typed, tmp_path):
    config = compose(typed("checkpoint=last"))
    result = fit(config, tmp_path / "run")
    assert list(result.scores)[:2] == ["dev_accuracy", "dev_best"]
    assert sentences(result.facts) == [
        "NLI: 22 of 942,069 training pairs",
        "NLI: 22 of 19,657 dev pairs",
    ]
    backbone, _ = pretrained.load(config, tmp_path / "run" / "model")
    loss = build(config.loss, width=backbone.width)
    load_head(tmp_path / "run" / "model", loss)
    encoder = BiLstmEncoder(config.encoder.path, hidden=4, cache=config.paths.cache)
    encoder.__dict__["backbone"] = backbone.eval()
    frame = pd.read_parquet(f"{config.paths.data}/nli/dev.parquet")
    u, v = (torch.from_numpy(encoder.encode(list(frame[c]))) for c in ("premise", "hypothesis"))
    right = loss.logits(u, v).argmax(1).numpy() == frame.label.map(LABELS.index).to_numpy()
    assert result.scores["dev_accuracy"] == pytest.approx(100 * right.mean())


def test_the_rate_of_the_other_optimizers_does_not_look(typed, tmp_path):
    config = compose(typed("optimizer=adamw", "trainer.max_steps=7"))
    assert fit(config, tmp_path / "run").steps == 7


def test_a_finished_run_is_found_by_its_key(typed, tmp_path, word_file):
    words = typed("trainer.epochs=1")
    record = train(compose(words), words)
    runs = str(tmp_path / "results" / "runs")
    encoder = from_run(record["key"], runs, cache=str(tmp_path / "cache"))
    assert encoder.pooling.name == "max" and encoder.max_length == 128
    assert "NLI: 22 of 942,069 training pairs" in sentences(encoder.facts)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, 8)
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), vectors[:1], atol=1e-6)
    np.testing.assert_array_equal(vectors[2], vectors[3], "nothing of either is known")
    half = from_run(record["key"], runs, cache=str(tmp_path / "cache"), precision="bf16")
    np.testing.assert_allclose(half.encode(TEXTS), vectors, atol=0.02)
    assert half.identity != encoder.identity
    with pytest.raises(UserError, match="is a BiLSTM over word vectors; sentence-transformers"):
        export(record["key"], tmp_path / "out", tmp_path / "results" / "runs")
    assert not (tmp_path / "out").exists()


def test_other_word_vectors_under_the_same_name_are_refused(typed, tmp_path, word_file):
    moved = tmp_path / "moved.txt"
    moved.write_text(word_file.read_text())
    words = typed("trainer.epochs=1", f"encoder.path={moved}")
    record = train(compose(words), words)
    again = typed("trainer.epochs=1")
    assert key_of(compose(again), again) == record["key"], "the key knows the vectors by content"
    moved.write_text(word_file.read_text().replace("the ", "thy "))
    runs = str(tmp_path / "results" / "runs")
    with pytest.raises(UserError, match="was trained with other word vectors") as refused:
        from_run(record["key"], runs, cache=str(tmp_path / "cache"))
    assert "\n" not in str(refused.value)


def test_a_second_stage_starts_from_the_first_ones_weights(typed, tmp_path):
    config = compose(typed("trainer.epochs=1"))
    fit(config, tmp_path / "run")
    backbone, _ = pretrained.load(config, tmp_path / "run" / "model")
    kept = bilstm.load(tmp_path / "run" / "model", bilstm_folder.word_vectors(
        config.encoder.path, None, config.paths.cache, False))  # fmt: skip
    assert torch.equal(backbone.lstm.weight_hh_l0, kept.lstm.weight_hh_l0)


def test_what_changes_the_weights_changes_the_key(typed):
    keys = {
        key_of(compose(typed(*more)), typed(*more))
        for more in (
            [],
            ["encoder.hidden=5"],
            ["encoder.tokenisation=moses"],
            ["optimizer.shrink=2"],
        )
    }
    assert len(keys) == 4
    named = typed("encoder.label=other")
    assert key_of(compose(named), named) in keys


def test_the_untrained_network_is_an_encoder_of_its_own(word_file, tmp_path):
    one = BiLstmEncoder(str(word_file), hidden=4, cache=tmp_path / "cache")
    other = BiLstmEncoder(str(word_file), hidden=4, cache=tmp_path / "cache")
    np.testing.assert_array_equal(one.encode(TEXTS), other.encode(TEXTS))
    assert one.identity == other.identity and one.encode([]).shape == (0, 8)
    json.dumps(one.identity)
