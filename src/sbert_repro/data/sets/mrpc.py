"""Microsoft Research Paraphrase Corpus (do two sentences mean the same?): MRPC of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

_COLUMNS = {"sentence1": "#1 String", "sentence2": "#2 String", "label": "Quality"}

RECORD = DataSet(
    name="mrpc",
    title="MRPC",
    unit="pairs",
    kind="labelled_pairs",
    splits={"train": 4_076, "test": 1_725},
    text_columns=("sentence1", "sentence2"),
    target_column="label",
    labels=("0", "1"),  # not a paraphrase, paraphrase
    sources=tuple(
        senteval(
            split=split, format="tsv", part=f"MRPC/msr_paraphrase_{split}.txt", columns=_COLUMNS
        )
        for split in ("train", "test")
    ),
    licence="Microsoft Research: for research only, see the corpus's own terms",
    citation=(
        "Dolan, Quirk and Brockett 2004, Unsupervised construction of large paraphrase corpora"
    ),
    note="Quotes are ordinary characters: parsed as CSV quotes, they would cost rows.",
)
