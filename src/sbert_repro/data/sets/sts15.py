"""SemEval 2015's English test pairs for semantic textual similarity: STS15 of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sts15",
    title="STS15",
    unit="pairs",
    kind="scored_pairs",
    splits={"test": 3_000},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="subset",
    sources=(
        senteval(
            split="test",
            format="sts_folder",
            part="STS/STS15-en-test",
            subsets=("answers-forums", "answers-students", "belief", "headlines", "images"),
        ),
    ),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation=(
        "Agirre et al. 2015, SemEval-2015 Task 2: Semantic Textual Similarity, English, "
        "Spanish and Pilot on Interpretability"
    ),
    note="Pairs without a gold score (blank lines in the gold files) are left out, as is usual.",
)
