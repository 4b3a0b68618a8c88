"""Phrases from the news, with a positive or negative opinion: MPQA of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="mpqa",
    title="MPQA",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 10_606},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # negative, positive
    sources=(
        senteval(
            split="all",
            format="lines",
            part="MPQA",
            subsets=("mpqa.pos", "mpqa.neg"),
            labels=("1", "0"),
            encoding="latin-1",
        ),
    ),
    licence="see the terms of the MPQA opinion corpus, mpqa.cs.pitt.edu",
    citation=(
        "Wiebe, Wilson and Cardie 2005, Annotating expressions of opinions and emotions in language"
    ),
    note="Tokens and order are SentEval's, which also keeps the three empty texts.",
)
