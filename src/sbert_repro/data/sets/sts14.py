"""SemEval 2014's English test pairs for semantic textual similarity: STS14 of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sts14",
    title="STS14",
    unit="pairs",
    kind="scored_pairs",
    splits={"test": 3_750},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="subset",
    sources=(
        senteval(
            split="test",
            format="sts_folder",
            part="STS/STS14-en-test",
            subsets=("deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"),
        ),
    ),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation="Agirre et al. 2014, SemEval-2014 Task 10: Multilingual Semantic Textual Similarity",
    note="All six English subsets.",
)
