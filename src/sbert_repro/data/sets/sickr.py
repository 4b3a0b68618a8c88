"""SICK relatedness: the last column of Table 1."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

_COLUMNS = {
    "sentence1": "sentence_A",
    "sentence2": "sentence_B",
    "score": "relatedness_score",
    "label": "entailment_judgment",
}

RECORD = DataSet(
    name="sickr",
    title="SICK-R",
    unit="pairs",
    kind="scored_pairs",
    splits={"train": 4_500, "dev": 500, "test": 4_927},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(1.0, 5.0),
    sources=(
        senteval(split="train", format="tsv", part="SICK/SICK_train.txt", columns=_COLUMNS),
        senteval(split="dev", format="tsv", part="SICK/SICK_trial.txt", columns=_COLUMNS),
        senteval(split="test", format="tsv", part="SICK/SICK_test_annotated.txt", columns=_COLUMNS),
    ),
    licence="CC BY-NC-SA 3.0",
    citation=(
        "Marelli et al. 2014, A SICK cure for the evaluation of compositional distributional "
        "semantic models"
    ),
    note=(
        "SemEval 2014's split of 4,500/500/4,927 pairs; later releases of SICK have other counts. "
        "The paper scores the test split, MTEB all 9,927 pairs."
    ),
)
