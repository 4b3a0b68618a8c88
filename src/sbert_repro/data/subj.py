"""Sentences of plot summaries and of reviews, objective or subjective: SUBJ of Table 5."""

from __future__ import annotations

from sbert_repro.data.description import DataSet
from sbert_repro.data.senteval import bundled_classes

RECORD = DataSet(
    name="subj",
    title="SUBJ",
    unit="texts",
    kind="labelled_texts",
    splits={"all": 10_000},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # subjective, objective
    sources=bundled_classes("SUBJ", ones="subj.objective", zeros="subj.subjective"),
    licence="no licence stated; its authors ask to be cited",
    citation=("Pang and Lee 2004, A sentimental education: Sentiment analysis using subjectivity"),
    note="SentEval's tokens, labels and order; letters with accents stand as M-CM-) and the like.",
)
