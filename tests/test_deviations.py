"""docs/deviations.md names options that exist, and under "Here" what really is the default."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from sbert_repro.compose import compose
from sbert_repro.config import CONFIG_DIR, canonical_json
from sbert_repro.errors import UserError
from sbert_repro.evaluation.tasks import resolve

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
LABELS = ["Paper", "Here", "Option", "Moves"]
# Groups whose one default holds for every row; a loss or an encoder is a row's own.
FOR_ALL = {"optimizer", "classifier"}
GROUPS = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}


def points() -> dict[str, dict[str, str]]:
    """Title → label → text of each point."""
    found = {}
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        body = body.partition("\n## ")[0]
        parts = re.split(rf"^- ({'|'.join(LABELS)}): ", body, flags=re.MULTILINE)
        found[title] = dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))
    return found


def spans(text: str) -> list[list[str]]:
    """Words of each `option=value` in a text, those of one command together."""
    return [span.split() for span in re.findall(r"`([^`]+)`", text) if re.match(r"[\w.]+=", span)]


POINTS = points()
DEFAULTS = [words for parts in POINTS.values() for words in spans(parts["Here"])]
OPTIONS = [words for parts in POINTS.values() for words in spans(parts["Option"])]


@functools.cache
def composed(root: str, *words: str) -> str:
    return canonical_json(compose(list(words), root))


def root_of(words: list[str]) -> str:
    return "evaluate" if words[0].partition("=")[0] == "task" else "train"


def group(word: str) -> str:
    return word.partition("=")[0]


def values(words: list[str]) -> list[str]:
    """The words that set a value; the others choose a file of a group."""
    return [word for word in words if group(word) not in GROUPS]


def chosen(words: list[str]) -> list[str]:
    return [word for word in words if word not in values(words)]


def test_every_point_has_its_four_lines():
    assert len(DEFAULTS) >= 20 and len(OPTIONS) >= 25, "the page is read wrongly"
    for title, parts in POINTS.items():
        assert list(parts) == LABELS and all(parts.values()), title


@pytest.mark.parametrize("words", DEFAULTS, ids=" ".join)
def test_what_stands_under_here_is_the_default(words):
    root = root_of(words)
    if root == "evaluate":
        assert resolve(words[0].partition("=")[2], Path())[0].splits == ("test",)
    else:
        rows_own = [word for word in chosen(words) if group(word) not in FOR_ALL]
        assert composed(root, *words) == composed(root, *rows_own)


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_what_stands_under_option_exists_and_changes_something(words):
    root = root_of(words)
    if root == "evaluate":
        assert resolve(words[0].partition("=")[2], Path())
    else:
        without = chosen(words) if values(words) else []
        if without and any(word.endswith("=DIR") for word in words):
            without = words[:1]
        assert composed(root, *words) != composed(root, *without)


def test_every_other_name_in_the_page_exists():
    paths = re.findall(r"`(?:python )?((?:scripts|configs|src|tests)/[\w./]+|train\.py)", PAGE)
    assert paths and all((ROOT / path).exists() for path in paths)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", PAGE):
        assert re.search(rf"^{target}%?:", makefile, re.MULTILINE), target


def test_a_name_that_does_not_exist_would_be_noticed():
    with pytest.raises(UserError):
        composed("train", "optimizer.correct_bais=false")
