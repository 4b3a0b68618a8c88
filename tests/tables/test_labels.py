"""Labels say what a model is; counts come from records, and only from them."""

import pytest

from sbert_repro.tables import labels

from .conftest import compose


def made(notes):
    return {"notes": notes}


def nli(*words):
    return compose(["profile=lite", "encoder=minilm_l6", "experiment=nli", *words])


def test_an_encoder_as_it_is():
    config = compose(["profile=lite", "encoder=minilm_l6", "pooling=cls"], "evaluate")
    assert labels.whole(config, "") == "all-MiniLM-L6-v2, cls"


def test_another_layer_is_said():
    words = ["profile=lite", "encoder=minilm_l6", "pooling=mean", "encoder.layer=first_last"]
    assert (
        labels.whole(compose(words, "evaluate"), "") == "all-MiniLM-L6-v2, mean of layer first_last"
    )


def test_a_model_without_a_label_is_called_by_its_folder():
    config = compose(["encoder=transformer", "encoder.path=a/b/some-model"], "evaluate")
    assert labels.whole(config, "") == "some-model"


def test_no_count_is_claimed_before_there_is_a_record():
    assert labels.training_of(nli(), None) == "NLI, classification (u, v, |u-v|)"


@pytest.mark.parametrize(
    ("notes", "count"),
    [
        ([], "942,069"),
        (["NLI: 20,000 of 942,069 pairs"], "20,000"),
        (["STSb: 300 of 1,500 pairs", "NLI: 5 of 942,069 pairs"], "5"),
        (["NLI: 785 pairs without a gold label dropped"], "942,069"),
        (["NLI: 4,000 pairs, 1,973 of them of the complete set's 942,069"], "4,000"),
    ],
)
def test_the_count_is_that_of_the_training_rows(notes, count):
    said = labels.training_of(nli(), made(notes))
    assert said == f"{count} NLI pairs, classification (u, v, |u-v|)"


def test_dev_rows_of_the_same_data_set_are_not_taken_for_training_rows():
    config = compose(["profile=lite", "encoder=minilm_l6", "experiment=stsb"])
    notes = ["STSb: 300 of 1,500 pairs", "STSb: 800 of 5,749 pairs"]
    assert labels.training_of(config, made(notes)) == "800 STSb pairs, regression"


def test_a_shortened_run_says_so():
    said = labels.training_of(nli("trainer.max_steps=1000"), made([]))
    assert said == "942,069 NLI pairs for 1,000 steps, classification (u, v, |u-v|)"


def test_both_stages_are_told():
    stages = [(nli(), made([])), (compose(["experiment=stsb"]), None)]
    assert labels.fine_tuning(stages) == (
        "fine-tuned on 942,069 NLI pairs, classification (u, v, |u-v|), then on STSb, regression"
    )
    assert labels.fine_tuning([]) == ""


@pytest.mark.parametrize(
    ("note", "partial"),
    [
        ("NLI: 20,000 of 942,069 pairs", True),
        ("STS12: 3 of 3,108 pairs", True),
        ("NLI: 785 pairs without a gold label dropped", False),
        ("NLI: 4,000 pairs, 1,973 of them of the complete set's 942,069", True),
        ("NLI: 10 texts cut to 128 word pieces", False),
    ],
)
def test_what_counts_as_part_of_a_data_set(note, partial):
    assert labels.is_partial(made([note])) is partial


def test_a_network_with_random_weights_is_trained_not_fine_tuned():
    config = compose(["experiment=infersent", "profile=lite"])
    assert labels.whole(config, labels.fine_tuning([(config, None)])) == (
        "BiLSTM, 2 × 128, on glove10k.100d.txt trained on NLI, fc_classification "
        "(u, v, |u-v|, u*v), max"
    )
