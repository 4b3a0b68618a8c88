"""Questions by what they ask for, six classes: TREC of Table 5."""

from __future__ import annotations

from sbert_repro.data.description import DataSet
from sbert_repro.data.senteval import bundled_lines

_LINE = r"(?P<label>[A-Z]+):(?P<fine_label>\S+) (?P<text>.*)"
_FILES = {"train": "TREC/train_5500.label", "test": "TREC/TREC_10.label"}

RECORD = DataSet(
    name="trec",
    title="TREC",
    unit="questions",
    kind="labelled_texts",
    splits={"train": 5_452, "test": 500},
    text_columns=("text",),
    target_column="label",
    # paper: "fine grained question-type classification"
    # here: SentEval's six coarse classes, which its numbers are of; the fine ones are kept beside
    # effect: table 5
    labels=("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
    sources=tuple(
        # One question holds a byte that is no UTF-8; SentEval reads Latin-1.
        bundled_lines(split, part, _LINE, encoding="latin-1")
        for split, part in _FILES.items()
    ),
    licence="no licence stated; its authors ask to be cited",
    citation="Li and Roth 2002, Learning question classifiers",
    note="The label before the colon is the class; SentEval's order of classes.",
)
