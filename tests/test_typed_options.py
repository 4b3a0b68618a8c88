"""What was typed and would change nothing is refused; what a profile brings along is not."""

import pytest

import sbert_repro.export  # noqa: F401 - its options are known once it is imported
from sbert_repro.composition import compose
from sbert_repro.errors import UserError
from sbert_repro.tables.plan import Request, check
from sbert_repro.typed_options import refuse_ignored


def refused(*words, root="train"):
    refuse_ignored(compose(list(words), root), words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("loss=regression", "concatenation=u_v"),
            r"concatenation=u_v: loss=regression concatenates nothing.*use loss=classification",
        ),
        (("loss=triplet", "concatenation=product"), r"loss=triplet concatenates nothing"),
        (("experiment=stsb", "concatenation.parts=[u]"), r"concatenation\.parts=\[u\]: loss=reg"),
        (("experiment=cross_encoder_nli", "concatenation=u_v"), r"cross_classification concaten"),
        (
            ("encoder.max_length=64",),
            r"encoder\.max_length=64: training .* use data\.max_length=64",
        ),
        (("encoder.max_length=0",), r"encoder\.max_length=0: expected at least 1"),
        (("data.max_length=0",), r"data\.max_length=0: expected at least 1"),
    ],
)
def test_training_refuses_what_it_would_not_read(words, said):
    with pytest.raises(UserError, match=said) as problem:
        refused(*words)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("encoder=glove", "pooling=max"), "pooling=max: Avg. GloVe embeddings pools in its own"),
        (("encoder=tfidf", "pooling=cls"), "pools in its own way"),
        (("encoder=bert_base", "encoder.max_length=0"), r"encoder\.max_length=0: expected at l"),
        (("encoder=bert_base", "encoder.max_length=-3"), r"encoder\.max_length=-3: expected at l"),
    ],
)
def test_evaluation_refuses_what_it_would_not_read(words, said):
    with pytest.raises(UserError, match=said):
        refused(*words, root="evaluate")


@pytest.mark.parametrize(
    "words",
    [
        ("concatenation=u_v",),
        ("loss=classification", "concatenation=product", "pooling=max"),
        ("loss=regression",),
        ("profile=demo", "experiment=stsb", "data.max_length=32"),
        # the stage before it concatenates
        ("experiment=nli_then_stsb", "concatenation=u_v"),
    ],
)
def test_what_is_read_or_was_not_typed_passes(words):
    refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("encoder=glove",),
        ("encoder=bert_base", "pooling=max", "encoder.max_length=64"),
        ("encoder=run", "encoder.key=0123456789abcdef", "pooling=max"),
    ],
)
def test_what_an_evaluation_reads_passes(words):
    refused(*words, root="evaluate")


@pytest.mark.parametrize("change", ["encoder.max_length=0", "data.max_length=-1"])
def test_a_table_refuses_a_length_of_nothing_before_its_rows(change):
    with pytest.raises(UserError, match=r"max_length=-?\d: expected at least 1"):
        check(Request("lite", (change,)))


def test_a_command_without_an_encoder_has_no_length_to_check(tmp_path):
    words = ["run=0123456789abcdef", f"output={tmp_path}"]
    refuse_ignored(compose(words, "export"), words)
