"""Sentences of plot summaries and of reviews, objective or subjective: SUBJ of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="subj",
    title="SUBJ",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 10_000},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # subjective, objective
    sources=(
        senteval(
            split="all",
            format="lines",
            part="SUBJ",
            subsets=("subj.objective", "subj.subjective"),
            labels=("1", "0"),
            encoding="latin-1",
        ),
    ),
    licence="no licence stated; its authors ask to be cited",
    citation="Pang and Lee 2004, A sentimental education: Sentiment analysis using subjectivity",
    note=(
        "Tokens, labels and order are SentEval's; accented letters are written as M-CM-) and the "
        "like."
    ),
)
