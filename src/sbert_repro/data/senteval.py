"""Where SentEval's data lies ready made: the one bundle that gives its pairs and texts exactly.

The single-task copies on the Hub have lost the parts of a year (STS12-16) or the splits (SICK).
"""

from __future__ import annotations

from collections.abc import Mapping

from sbert_repro.data.description import Source

_PLACE = "princeton-nlp/datasets-for-simcse"
_REVISION = "e145e8bb659b2aa2669f32ef79cb4cdef6c58fef"
_ARCHIVE = "senteval.tar"


def bundled_sts(year: int, subsets: tuple[str, ...]) -> tuple[Source, ...]:
    """Give the source of a year's STS test pairs.

    Args:
        year: Two digits, 12 to 16.
        subsets: The parts of that year, as their files are named.

    Returns:
        tuple[Source, ...]: One source, for the split ``test``.
    """
    source = Source(
        split="test",
        place=_PLACE,
        format="sts_folder",
        part=f"STS/STS{year}-en-test",
        revision=_REVISION,
        archive=_ARCHIVE,
        subsets=subsets,
    )
    return (source,)


def bundled_tsv(split: str, part: str, columns: Mapping[str, str]) -> Source:
    """Give a tab-separated file of the bundle as a source.

    Args:
        split: Our split.
        part: The file in the bundle.
        columns: Our column → theirs.

    Returns:
        Source: The source.
    """
    return Source(
        split=split,
        place=_PLACE,
        format="tsv",
        part=part,
        revision=_REVISION,
        archive=_ARCHIVE,
        columns=columns,
    )


def bundled_lines(split: str, part: str, pattern: str, *, encoding: str = "utf-8") -> Source:
    """Give a file of the bundle whose lines hold text and label as a source.

    Args:
        split: Our split.
        part: The file in the bundle.
        pattern: Regular expression of a line; its named groups are our columns.
        encoding: Of the file.

    Returns:
        Source: The source.
    """
    return Source(
        split=split,
        place=_PLACE,
        format="lines",
        part=part,
        revision=_REVISION,
        archive=_ARCHIVE,
        pattern=pattern,
        encoding=encoding,
    )


def bundled_classes(folder: str, *, ones: str, zeros: str) -> tuple[Source, ...]:
    """Give a folder of the bundle with a file of texts for each of two classes as a source.

    Args:
        folder: The folder in the bundle.
        ones: Its file of texts labelled 1, which come first.
        zeros: Its file of texts labelled 0.

    Returns:
        tuple[Source, ...]: One source, for the split ``all``.
    """
    source = Source(
        split="all",
        place=_PLACE,
        format="lines",
        part=folder,
        revision=_REVISION,
        archive=_ARCHIVE,
        subsets=(ones, zeros),
        labels=("1", "0"),
        encoding="latin-1",
    )
    return (source,)
