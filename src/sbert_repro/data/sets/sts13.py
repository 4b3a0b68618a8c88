"""SemEval 2013's English test pairs for semantic textual similarity: STS13 of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sts13",
    title="STS13",
    unit="pairs",
    kind="scored_pairs",
    splits={"test": 1_500},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="subset",
    sources=(
        senteval(
            split="test",
            format="sts_folder",
            part="STS/STS13-en-test",
            subsets=("FNWN", "headlines", "OnWN"),
        ),
    ),
    licence="terms of the SemEval STS tasks: research use, each subset on its source's terms",
    citation="Agirre et al. 2013, *SEM 2013 shared task: Semantic Textual Similarity",
    note=(
        "Without the subset SMT, whose licence forbids redistribution; the paper's score and "
        "SentEval's lack it too."
    ),
)
