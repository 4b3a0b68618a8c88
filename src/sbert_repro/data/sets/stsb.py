"""STS benchmark, English: Tables 1 and 2 (test), the ablation study of Table 6 (dev)."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, Source


def _source(split: str, part: str) -> Source:
    return Source(
        split=split,
        place="mteb/stsbenchmark-sts",
        format="hub_table",
        part=part,
        revision="b0fddb56ed78048fa8b90373c8a3cfc37b684831",
        columns={"sentence1": "sentence1", "sentence2": "sentence2", "score": "score"},
    )


RECORD = DataSet(
    name="stsb",
    title="STSb",
    unit="pairs",
    kind="scored_pairs",
    splits={"train": 5_749, "dev": 1_500, "test": 1_379},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    sources=(_source("train", "train"), _source("dev", "validation"), _source("test", "test")),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation=(
        "Cer et al. 2017, SemEval-2017 Task 1: Semantic Textual Similarity Multilingual and "
        "Crosslingual Focused Evaluation"
    ),
    note="The complete benchmark; GLUE's copy has no gold scores for the test split.",
)
