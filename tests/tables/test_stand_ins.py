"""Who takes the place of the paper's encoders."""

import pytest

from sbert_repro.errors import UserError
from sbert_repro.tables.spec import load
from sbert_repro.tables.stand_ins import chosen, trained

LITE = {"bert_base": "minilm_l6"}


def test_the_paper_profile_uses_the_papers_encoders():
    words = ["encoder=bert_large", "experiment=nli"]
    assert chosen(words, {}, "paper") == (words, "")


def test_a_stand_in_takes_the_place_and_the_rest_stays():
    words = ["encoder=bert_base", "pooling=max"]
    assert chosen(words, LITE, "lite") == (["encoder=minilm_l6", "pooling=max"], "bert_base")


def test_no_stand_in_is_said_even_where_the_weights_may_be_there():
    with pytest.raises(UserError, match=r"^no stand-in for bert_large in profile lite$"):
        chosen(["encoder=bert_large"], LITE, "lite")


def test_an_encoder_that_is_not_built_is_said_with_its_file():
    said = r"^encoder not available: configs/encoder/nobody_built\.yaml does not exist$"
    with pytest.raises(UserError, match=said):
        chosen(["encoder=nobody_built"], LITE, "lite")


def test_an_encoder_of_another_kind_is_used_as_it_is(tmp_path):
    (tmp_path / "vectors.yaml").write_text("_target_: sbert_repro.encoders.words.Average\n")
    assert chosen(["encoder=vectors"], LITE, "lite", tmp_path) == (["encoder=vectors"], "")


def test_a_training_may_take_the_place_of_an_encoder():
    rows = {row.name: row for row in load("1").rows}
    own = {"infersent": ["experiment=infersent"]}
    infersent, glove = rows["InferSent - GloVe"], rows["Avg. GloVe embeddings"]
    run = trained(infersent, own)
    assert (run.trained, run.overrides, run.instead_of) == (
        True,
        ("experiment=infersent",),
        "infersent",
    )
    assert (run.name, run.paper) == (infersent.name, infersent.paper)
    assert trained(glove, own) is glove and trained(infersent, {}) is infersent
