"""The Argument Facet Similarity corpus: Table 3 (section 4.3)."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, Source

TOPICS = {"DP": "death penalty", "GC": "gun control", "GM": "gay marriage"}


def _pairs(topic: str) -> Source:
    # Column names differ from file to file; the positions of the three that matter do not.
    return Source(
        split="all",
        place="https://nlds.soe.ucsc.edu/node/44",
        format="by_hand",
        part=f"ArgPairs_{topic}.csv",
        columns={"score": "0", "sentence1": "9", "sentence2": "10"},
        width=11,
        encoding="iso-8859-1",
        constants={"topic": topic},
    )


RECORD = DataSet(
    name="afs",
    title="AFS",
    unit="pairs",
    kind="scored_pairs",
    splits={"all": 6_000},
    round_number=True,
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 5.0),
    subset_column="topic",
    topics=tuple(TOPICS),
    sources=tuple(_pairs(topic) for topic in TOPICS),
    licence="terms on the page it is downloaded from: research use",
    citation="Misra et al. 2016, Measuring the Similarity of Sentential Arguments in Dialogue",
    note=(
        "Has to be downloaded by hand. The paper counts about 6,000 pairs, without saying how many "
        "belong to each topic. In 10-fold cross-validation the sentences of test pairs also occur "
        "in training pairs; only the pairing is new."
    ),
)
