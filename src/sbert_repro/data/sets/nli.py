"""AllNLI: SNLI and MultiNLI together, the training data of Table 1 (section 3.1).

Each corpus comes from its own place on the Hub rather than from sentence-transformers/all-nli, the
copy that joins them: each has its own licence, pairs without a gold label stay visible (the reader
drops and counts them), and every pair keeps the name of its corpus. The counts are those of that
copy: train 549,367 + 392,702, dev 9,842 + 9,815, test 9,824 + 9,832.
"""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, Source

_COLUMNS = {"premise": "premise", "hypothesis": "hypothesis", "label": "label"}
# In the order of the Hub's class ids, which are not ours.
_HUB_LABELS = ("entailment", "neutral", "contradiction")


def _snli(split: str, part: str) -> Source:
    return Source(
        split=split,
        place="stanfordnlp/snli",
        format="hub_table",
        part=part,
        config="plain_text",
        revision="cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
        columns=_COLUMNS,
        labels=_HUB_LABELS,
        constants={"source": f"snli_{split}"},
    )


def _multi_nli(split: str, part: str) -> Source:
    return Source(
        split=split,
        place="nyu-mll/multi_nli",
        format="hub_table",
        part=part,
        revision="da70db2af9d09693783c3320c4249840212ee221",
        columns=_COLUMNS,
        labels=_HUB_LABELS,
        constants={"source": f"multi_nli_{part}"},
    )


RECORD = DataSet(
    name="nli",
    title="NLI",
    unit="pairs",
    kind="labelled_pairs",
    splits={"train": 942_069, "dev": 19_657, "test": 19_656},
    text_columns=("premise", "hypothesis"),
    target_column="label",
    # The order of the authors' reader. The Hub has another, so only label names are stored.
    labels=("contradiction", "entailment", "neutral"),
    dropped_labels=("-", "-1"),
    source_column="source",
    # As `make data` writes them, and as public subsets do; TaxiNLI's pairs are MultiNLI's.
    corpora={"snli": ("snli",), "mnli": ("mnli", "multi_nli", "taxinli")},
    sources=(
        _snli("train", "train"),
        _multi_nli("train", "train"),
        _snli("dev", "validation"),
        _multi_nli("dev", "validation_matched"),
        _snli("test", "test"),
        _multi_nli("test", "validation_mismatched"),
    ),
    licence="SNLI: CC BY-SA 4.0; MultiNLI: OANC, with parts under CC BY 3.0 and CC BY-SA 3.0",
    citation=(
        "Bowman et al. 2015, A large annotated corpus for learning natural language inference; "
        "Williams et al. 2018, A broad-coverage challenge corpus for sentence understanding "
        "through inference"
    ),
    note=(
        "The paper says 570,000 + 430,000 pairs; the authors' file has 942,069, the pairs with a "
        "gold label. `make data` shuffles the two corpora together, always alike, so that "
        "the first n rows are a fair sample. The paper does not use the test split."
    ),
)
