"""Movie reviews, one sentence each, positive or negative: MR of Table 5."""

from __future__ import annotations

from sbert_repro.data.description import DataSet
from sbert_repro.data.senteval import bundled_classes

RECORD = DataSet(
    name="mr",
    title="MR",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 10_662},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # negative, positive
    sources=bundled_classes("MR", ones="rt-polarity.pos", zeros="rt-polarity.neg"),
    licence="no licence stated; its authors ask to be cited",
    citation=(
        "Pang and Lee 2005, Seeing stars: Exploiting class relationships for sentiment "
        "categorization"
    ),
    note="SentEval's tokens and order; letters with accents stand as M-CM-) and the like.",
)
