"""Questions in six classes by what they ask for: TREC of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="trec",
    title="TREC",
    unit="questions",
    kind="labelled_texts",
    splits={"train": 5_452, "test": 500},
    text_columns=("text",),
    target_column="label",
    # paper: "fine grained question-type classification"
    # here: SentEval's six coarse classes, which its scores refer to; fine_label keeps the others
    # effect: table 5
    labels=("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
    sources=tuple(
        senteval(
            split=split,
            format="lines",
            part=part,
            pattern=r"(?P<label>[A-Z]+):(?P<fine_label>\S+) (?P<text>.*)",
            encoding="latin-1",  # as SentEval reads it: one question holds a byte that is not UTF-8
        )
        for split, part in (("train", "TREC/train_5500.label"), ("test", "TREC/TREC_10.label"))
    ),
    licence="no licence stated; its authors ask to be cited",
    citation="Li and Roth 2002, Learning question classifiers",
    note="The class is the label before the colon; the order of the classes is SentEval's.",
)
