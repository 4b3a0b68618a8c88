"""The networks that are timed where the real ones are not."""

from __future__ import annotations

from transformers import AutoConfig

from sbert_repro.backbone.random_bert import Size
from sbert_repro.benchmarks import models
from sbert_repro.compose import compose_speed

TEXTS = ["the man plays guitar", "a dog"]


def test_a_stand_in_has_the_published_shape_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(models.SIZES, models.BASE, Size(2, 32, 4, 48, positions=40))
    paths = [f"paths.models={tmp_path / 'm'}", f"paths.cache={tmp_path / 'c'}"]
    config = compose_speed("lite", paths)
    folder, facts = models.model_to_time(models.BASE, config, TEXTS)
    assert models.model_to_time(models.BASE, config, TEXTS) == (folder, facts)
    made = AutoConfig.from_pretrained(folder)
    assert (made.num_hidden_layers, made.hidden_size, made.intermediate_size) == (2, 32, 48)
    shape = {"model": "bert-base-uncased", "layers": 2, "width": 32}
    assert facts == [{"code": "random_weights", **shape}]
    real = tmp_path / "m" / "bert-base-uncased"
    real.parent.mkdir()
    folder.rename(real)
    assert models.model_to_time(models.BASE, config, TEXTS) == (real, [])


def test_what_bert_base_stands_for():
    size = models.SIZES[models.BASE]
    assert (size.layers, size.width, size.heads, size.intermediate) == (12, 768, 12, 3072)


def test_the_timed_cross_encoder_scores_pairs_and_is_kept(tiny_bert, tmp_path):
    made = models.untrained_cross_encoder(tiny_bert, tmp_path)
    scores = made.score([("a dog runs", "the man eats"), ("a dog", "a cat")])
    assert scores.shape == (2,) and len(set(scores)) == 2
    assert models.untrained_cross_encoder(tiny_bert, tmp_path).identity == made.identity
