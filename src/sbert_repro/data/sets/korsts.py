"""KorSTS: the STS benchmark in Korean, for Korean or multilingual encoders."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, kor_nlu

_COLUMNS = {"sentence1": "sentence1", "sentence2": "sentence2", "score": "score"}

RECORD = DataSet(
    name="korsts",
    title="KorSTS",
    unit="pairs",
    kind="scored_pairs",
    splits={"train": 5_749, "dev": 1_500, "test": 1_379},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    in_tables=False,
    sources=(
        kor_nlu("train", "KorSTS/sts-train.tsv", _COLUMNS),
        kor_nlu("dev", "KorSTS/sts-dev.tsv", _COLUMNS),
        kor_nlu("test", "KorSTS/sts-test.tsv", _COLUMNS),
    ),
    licence="CC BY-SA 4.0",
    citation=(
        "Ham et al. 2020, KorNLI and KorSTS: New Benchmark Datasets for Korean Natural Language "
        "Understanding"
    ),
    note="Not in the paper. Train was translated by machine, dev and test by people.",
)
