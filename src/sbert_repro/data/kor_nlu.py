"""Where the Korean sets lie: files of one GitHub repository, each pinned to a commit."""

from __future__ import annotations

from collections.abc import Mapping

from sbert_repro.data.description import Source

_REPOSITORY = "https://raw.githubusercontent.com/kakaobrain/kor-nlu-datasets"


def korean_tsv(split: str, part: str, commit: str, columns: Mapping[str, str]) -> Source:
    """Give a tab-separated file of the repository as a source.

    Args:
        split: Our split.
        part: The file in the repository.
        commit: The commit to take it from, 40 hex digits.
        columns: Our column → theirs.

    Returns:
        Source: The source.
    """
    return Source(
        split=split,
        place=f"{_REPOSITORY}/{commit}/{part}",
        format="tsv",
        part=part,
        revision=commit,
        columns=columns,
    )
