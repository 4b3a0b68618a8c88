"""The page is one file that asks for nothing, and shows every number of the tables."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sbert_repro.report import page, results
from sbert_repro.tables import spec
from sbert_repro.tables.render import VERDICTS

RESULTS = Path(__file__).resolve().parents[2] / "results"
LITE = RESULTS / "lite"
VOID = {"meta", "link", "br", "input", "use", "path", "img"}


class Reader(HTMLParser):
    """Collects tags, ids and texts, and fails on a tag that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.sources, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.targets += [values["href"]] if tag == "a" else []
        self.sources += [v for n, v in attributes if n in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def html():
    return page.as_html("lite", LITE)


@pytest.fixture(scope="module")
def reader(html):
    found = Reader()
    found.feed(html)
    assert not found.open
    return found


def test_asks_for_nothing(html, reader):
    assert all(source.startswith(("#", "data:")) for source in reader.sources)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", html)
    assert len(html.encode()) < 2_000_000


def test_links_lead_somewhere(reader):
    assert {target[1:] for target in reader.targets} <= set(reader.ids)


def test_every_number_is_shown(reader):
    text = " ".join(reader.text)
    cells = results.cells(LITE)
    shown = {name: spec.load(name).shown for name in cells["table"].unique()}
    for _, cell in cells[cells["ours"].notna() & (cells["table"] != "7")].iterrows():
        if cell["column"] in shown[cell["table"]]:
            assert f"{cell['ours']:.2f}" in text, (cell["row"], cell["column"])


def test_banner_and_reasons_are_shown(reader):
    text = " ".join(reader.text)
    assert "These are not replications of the paper's cells" in text
    for reason in results.cells(LITE).query("ours != ours")["note"].unique():
        assert reason in text


def test_every_verdict_has_a_sign_of_its_own_kind():
    assert set(page.MARKS) == set(VERDICTS)
    assert len({page.MARKS[name] for name in ("match", "near", "off", "not run")}) == 4


def test_the_same_files_give_the_same_page(html):
    assert page.as_html("lite", LITE) == html


def test_words_of_a_file_never_become_markup(tmp_path):
    shutil.copytree(LITE, tmp_path / "lite")
    path = tmp_path / "lite" / "table_6.csv"
    text = path.read_text(encoding="utf-8").replace("MAX:", "")
    path.write_text(
        text.replace("stand-in: random", "<script>alert(1)</script> random"),
        encoding="utf-8",
    )
    shown = page.as_html("lite", tmp_path / "lite")
    assert "<script>alert" not in shown and "&lt;script&gt;alert" in shown


def test_writes_the_page_and_its_figures(tmp_path):
    copied = shutil.copytree(LITE, tmp_path / "lite", ignore=shutil.ignore_patterns("figures"))
    path = page.write("lite", tmp_path)
    assert path == copied / "report.html" and path.stat().st_size > 10_000
    drawn = {file.name for file in (copied / "figures").iterdir()}
    assert {"table_1_average.svg", "table_1_sets.png", "table_6.svg", "table_7_1.png"} <= drawn


@pytest.mark.parametrize("table", ["1", "2", "3", "5", "6", "7"])
def test_each_table_has_a_plot(table, html):
    section = html[html.index(f'id="table-{table}"') :]
    assert "<svg" in section[: section.index("</section>")]
