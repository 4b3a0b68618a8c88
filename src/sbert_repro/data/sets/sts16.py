"""SemEval 2016's English test pairs for semantic textual similarity: STS16 of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sts16",
    title="STS16",
    unit="pairs",
    kind="scored_pairs",
    splits={"test": 1_186},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="subset",
    sources=(
        senteval(
            split="test",
            format="sts_folder",
            part="STS/STS16-en-test",
            subsets=(
                "answer-answer",
                "headlines",
                "plagiarism",
                "postediting",
                "question-question",
            ),
        ),
    ),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation=(
        "Agirre et al. 2016, SemEval-2016 Task 1: Semantic Textual Similarity, Monolingual "
        "and Cross-Lingual Evaluation"
    ),
    note="Pairs without a gold score (blank lines in the gold files) are left out, as is usual.",
)
