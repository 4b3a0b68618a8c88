"""SemEval 2012's English test pairs for semantic textual similarity: STS12 of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sts12",
    title="STS12",
    unit="pairs",
    kind="scored_pairs",
    splits={"test": 3_108},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="subset",
    sources=(
        senteval(
            split="test",
            format="sts_folder",
            part="STS/STS12-en-test",
            subsets=("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"),
        ),
    ),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation="Agirre et al. 2012, SemEval-2012 Task 6: A Pilot on Semantic Textual Similarity",
    note="All five subsets. Some copies lack MSRvid: those are not the STS12 of Table 1.",
)
