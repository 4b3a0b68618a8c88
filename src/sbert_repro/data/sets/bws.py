"""BWS argument similarity: real argument pairs that stand in for the AFS corpus.

Not in the paper. It is available and has what the protocols of section 4.3 need: topics, and a
graded similarity of two arguments. Its scores come from best-worst scaling, not from AFS's facets.
"""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, Source

RECORD = DataSet(
    name="bws",
    title="BWS argument similarity",
    unit="pairs",
    kind="scored_pairs",
    splits={"all": 3_400},
    text_columns=("sentence1", "sentence2"),
    target_column="score",
    score_range=(0.0, 1.0),
    in_tables=False,
    subset_column="topic",
    topics=(
        "Abortion",
        "Cloning",
        "Death penalty",
        "Gun control",
        "Marijuana legalization",
        "Minimum wage",
        "Nuclear energy",
        "School uniforms",
    ),
    sources=(
        Source(
            split="all",
            place="https://tudatalib.ulb.tu-darmstadt.de/handle/tudatalib/2496",
            format="by_hand",
            part="BWS_Argument_Similarity_Corpus.csv",
            columns={
                "topic": "topic",
                "sentence1": "argument1",
                "sentence2": "argument2",
                "score": "score",
            },
        ),
    ),
    licence="terms on the page it is downloaded from",
    citation=(
        "Thakur et al. 2021, Augmented SBERT: Data Augmentation Method for Improving Bi-Encoders "
        "for Pairwise Sentence Scoring Tasks"
    ),
    note="Stands in for AFS with other topics and other scores; not comparable with Table 3.",
)
