"""docs/data.md is what the records say, and says all of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from sbert_repro.data.packages import PACKAGES
from sbert_repro.data.schema import dataset, names
from sbert_repro.data.word_vectors import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]
page = runpy.run_path(str(ROOT / "scripts" / "data_cards.py"))["page"]


@pytest.fixture(scope="module")
def cards():
    sections = page().split("\n## ")[1:]
    return {section.partition("\n")[0]: section for section in sections}


def test_the_committed_page_is_what_the_records_give():
    found = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert found == page(), "run: python scripts/data_cards.py"


def test_every_data_set_has_a_card_and_nothing_else_has(cards):
    assert list(cards) == [*names(), "word_vectors", "packages"]


@pytest.mark.parametrize("name", names())
def test_a_card_holds_every_fact_of_its_record(cards, name):
    record, card = dataset(name), cards[name]
    facts = [record.title, record.unit, record.licence, record.citation, record.note]
    facts += [f"{rows:,}" for rows in record.splits.values()]
    facts += [*record.splits, *record.columns, *(record.labels or ()), *record.topics]
    for source in record.sources:
        facts += [source.place, source.part, source.split, *source.subsets]
        facts += [x for x in (source.revision, source.archive, source.config, source.sha256) if x]
    assert not [fact for fact in facts if fact not in card]


def test_the_vectors_card_holds_every_published_file(cards):
    for one in PUBLISHED:
        for fact in (one.name, one.url, one.licence, one.citation, one.note):
            assert fact in cards["word_vectors"]


def test_the_card_of_packages_holds_every_file_that_counts(cards):
    for one in PACKAGES:
        for fact in (one.name, one.source, one.licence, one.note, *one.sha256.values()):
            assert fact in cards["packages"]
