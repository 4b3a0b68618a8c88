"""Facts as sentences: which rows, of which split, of how many."""

import pytest

from sbert_repro.facts import by_data_set, duration, fact, rows, sentence, sentences

NLI = {"title": "NLI", "unit": "pairs"}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train", "NLI: 2 of 4 training pairs"),
        ("dev", "NLI: 2 of 4 dev pairs"),
        ("test", "NLI: 2 of 4 test pairs"),
        ("train_within_gm_fold_3", "NLI: 2 of 4 training pairs"),
        ("test_topic_gm", "NLI: 2 of 4 test pairs"),
        ("all", "NLI: 2 of 4 pairs"),
    ],
)
def test_rows_say_their_split(split, said):
    assert sentence(rows("nli", split, **NLI, used=2, expected=4)) == said


def test_a_complete_split_goes_without_saying_and_rows_of_others_do_not():
    assert sentence(rows("nli", "dev", **NLI, used=4, expected=4)) == ""
    mixed = rows("nli", "train", **NLI, used=4, expected=9, own=3)
    assert sentence(mixed) == "NLI: 4 training pairs, 3 of them of the complete set's 9"


def test_counts_of_two_splits_are_told_apart():
    cut = [
        fact("texts_cut", title="NLI", unit="texts", count=1, length=128, split=split)
        for split in ("train", "dev")
    ]
    dropped = fact("rows_without_label", **NLI, count=2, split="dev")
    assert sentences([*cut, dropped]) == [
        "NLI: 1 training texts cut to 128 word pieces",
        "NLI: 1 dev texts cut to 128 word pieces",
        "NLI: 2 dev pairs without a gold label dropped",
    ]
    before = {name: value for name, value in cut[0].items() if name != "split"}
    assert sentence(before) == "NLI: 1 texts cut to 128 word pieces", "of an older record"


def test_facts_about_one_split_are_one_sentence():
    train = rows("nli", "train", **NLI, used=6, expected=9, shares={"snli": 4, "mnli": 2})
    dev = rows("nli", "dev", **NLI, used=2, expected=4)
    cut = fact("texts_cut", title="NLI", unit="texts", count=1, length=128, split="train")
    whole = rows("sts", "test", title="STSb", unit="pairs", used=4, expected=4)
    other = fact("library", library="faiss", version="1")
    engine = fact("engine", engine="packed")
    assert by_data_set([train, dev, whole, other, engine, cut, cut]) == [
        "NLI train: 6 of 9 pairs (67 % SNLI, 33 % MultiNLI); 1 texts cut to 128 word pieces",
        "NLI dev: 2 of 4 pairs",
        "faiss 1",  # a name, which keeps its case
        "Computed by engine=packed",
    ]


@pytest.mark.parametrize(
    ("own", "shares", "said"),
    [
        (8, None, "10 pairs, 8 of them of the complete set's 20 (80 % in the paper, 20 % not in"),
        (10, {"snli": 10}, "10 of 20 pairs (100 % SNLI)"),
        (10, None, "10 of 20 pairs"),
        (0, None, "10 pairs, 0 of them of the complete set's 20"),
    ],
)
def test_a_training_set_says_which_share_is_whose(own, shares, said):
    (words,) = by_data_set(
        [rows("nli", "train", **NLI, used=10, expected=20, own=own, shares=shares)]
    )
    assert words.startswith(f"NLI train: {said}")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0043, "4.3 ms"),
        (59.0, "59 s"),
        (234000, "2.71 days"),
        (7200, "2 h"),
        (90, "1.5 min"),
        (1.18e10, "374 years"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_folds_that_cut_different_numbers_of_texts_are_one_sentence():
    folds = [
        fact("texts_cut", title="AFS", dataset="afs", split=f"train_fold_{n}", count=count,
             unit="pairs", length=64)
        for n, count in enumerate((83, 1_088, 85))
    ]  # fmt: skip
    assert by_data_set(folds) == ["AFS train: 83 to 1,088 pairs cut to 64 word pieces"]
    assert by_data_set(folds[:1]) == ["AFS train: 83 pairs cut to 64 word pieces"]
