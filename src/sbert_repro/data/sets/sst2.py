"""Stanford Sentiment Treebank with two classes, phrases in its training set: SST of Table 5."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, senteval

RECORD = DataSet(
    name="sst2",
    title="SST2",
    unit="texts",
    kind="labelled_texts",
    splits={"train": 67_349, "dev": 872, "test": 1_821},
    text_columns=("text",),
    target_column="label",
    labels=("0", "1"),  # negative, positive
    sources=tuple(
        senteval(
            split=split,
            format="lines",
            part=f"SST/binary/sentiment-{split}",
            pattern=r"(?P<text>.*)\t(?P<label>[01])\s*",
        )
        for split in ("train", "dev", "test")
    ),
    licence="no licence stated; its authors ask to be cited",
    citation=(
        "Socher et al. 2013, Recursive deep models for semantic compositionality over a sentiment "
        "treebank"
    ),
    note="As in SentEval, trained on 67,349 phrases, not on the treebank's 6,920 sentences alone.",
)
