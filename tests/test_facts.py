"""Facts as sentences: which rows, of which split, of how many."""

import pytest

from sbert_repro.facts import duration, fact, rows, sentence, sentences

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
