"""KorNLI's dev and test pairs: those of XNLI, translated into Korean by people."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, kor_nlu

_COLUMNS = {"premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"}

RECORD = DataSet(
    name="kornli_xnli",
    title="KorNLI (XNLI part)",
    unit="pairs",
    kind="labelled_pairs",
    splits={"dev": 2_490, "test": 5_010},
    text_columns=("premise", "hypothesis"),
    target_column="label",
    labels=("contradiction", "entailment", "neutral"),
    dropped_labels=("-", "-1"),
    in_tables=False,
    sources=(
        kor_nlu("dev", "KorNLI/xnli.dev.ko.tsv", _COLUMNS),
        kor_nlu("test", "KorNLI/xnli.test.ko.tsv", _COLUMNS),
    ),
    licence="CC BY-SA 4.0",
    citation=(
        "Ham et al. 2020, KorNLI and KorSTS: New Benchmark Datasets for Korean Natural Language "
        "Understanding"
    ),
    note="Not in the paper. KorNLI's training pairs, translated by machine, are left out.",
)
