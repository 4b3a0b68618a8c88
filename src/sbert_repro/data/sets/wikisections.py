"""Triplets from the sections of Wikipedia articles: Table 4 (section 4.4)."""

from __future__ import annotations

from sbert_repro.data.schema import DataSet, Source

_COLUMNS = ("anchor", "positive", "negative")


def _triplets(split: str, part: str) -> Source:
    return Source(
        split=split,
        place="sentence-transformers/wikipedia-sections",
        format="hub_table",
        part=part,
        config="triplet",
        revision="576bb61f0fc9ebc728b742f91bd5c81cb7d92c71",
        columns={name: name for name in _COLUMNS},
    )


RECORD = DataSet(
    name="wikisections",
    title="Wikipedia sections",
    unit="triplets",
    kind="triplets",
    splits={"train": 1_779_417, "dev": 220_400, "test": 222_957},
    text_columns=_COLUMNS,
    target_column=None,
    sources=(
        _triplets("train", "train"),
        _triplets("dev", "validation"),
        _triplets("test", "test"),
    ),
    licence="CC BY-SA 3.0, the licence of Wikipedia's text",
    citation=(
        "Ein Dor et al. 2018, Learning Thematic Similarity Metric from Article Sections Using "
        "Triplet Networks"
    ),
    note=(
        "Anchor and positive come from one section of an article, the negative from another "
        "section of the same article. The paper says about 1.8 million training triplets. One text "
        "in 6.7 million is blank; it is embedded like any other."
    ),
)
