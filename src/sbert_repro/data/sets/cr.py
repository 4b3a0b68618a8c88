"""Customer reviews of products, positive or negative: CR of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="cr",
    title="CR",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 3_775},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # negative, positive
    sources=(
        senteval(
            split="all",
            format="lines",
            part="CR",
            subsets=("custrev.pos", "custrev.neg"),
            labels=("1", "0"),
            encoding="latin-1",
        ),
    ),
    licence="no licence stated; its authors ask to be cited",
    citation="Hu and Liu 2004, Mining and summarizing customer reviews",
    note="Tokens and order are SentEval's, which also keeps the four empty texts.",
)
