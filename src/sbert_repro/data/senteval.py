"""Where SentEval's data lies ready made: the one bundle that gives Table 1's pairs exactly.

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
