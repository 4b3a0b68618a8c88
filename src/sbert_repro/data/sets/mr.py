"""Movie reviews, one sentence each, positive or negative: MR of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="mr",
    title="MR",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 10_662},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # negative, positive
    sources=(
        senteval(
            split="all",
            format="lines",
            part="MR",
            subsets=("rt-polarity.pos", "rt-polarity.neg"),
            labels=("1", "0"),
            encoding="latin-1",
        ),
    ),
    licence="no licence stated; its authors ask to be cited",
    citation=(
        "Pang and Lee 2005, Seeing stars: Exploiting class relationships for sentiment "
        "categorization"
    ),
    note="Tokens and order are SentEval's; accented letters are written as M-CM-) and the like.",
)
