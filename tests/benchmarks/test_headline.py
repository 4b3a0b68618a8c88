"""The headline says what was measured and what was not, and its pair is the closest one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.benchmarks import headline
from sbert_repro.evaluation.search import Pairs, most_similar_pair

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("n", [2, 7, 700])
def test_brute_force_and_search_agree(n):
    vectors = np.random.default_rng(n).normal(size=(n, 12)).astype(np.float32)
    assert headline.brute_force_pair(vectors) == tuple(most_similar_pair(vectors).rows[0])


def test_brute_force_takes_the_lower_rows_of_a_tie():
    vectors = np.eye(6, dtype=np.float32)[[0, 1, 2, 1, 2, 5]]
    assert headline.brute_force_pair(vectors) == (1, 3)


def test_of_several_closest_pairs_any_is_the_closest():
    """Rounding decides which of three equal vectors comes first, and may do so in two ways."""
    random = np.random.default_rng(0)
    for _ in range(50):
        vectors = random.standard_normal((50, 64)).astype(np.float32)
        vectors[10], vectors[40], vectors[45] = vectors[3], 1.7 * vectors[20], vectors[20]
        found = most_similar_pair(vectors)
        assert headline.is_closest(found, vectors)
        assert not headline.is_closest(Pairs(found.scores, np.array([[0, 1]])), vectors)


@pytest.mark.parametrize("profile", ["lite"])
def test_a_committed_record_renders_the_committed_files_without_a_measurement(profile):
    folder = ROOT / "results" / profile
    content = json.loads((folder / "records" / "headline.json").read_text(encoding="utf-8"))
    (record,) = content["records"].values()
    text = (folder / "headline.md").read_text(encoding="utf-8")
    command = text.rpartition("- `python")[2].partition(" again=true`")[0]
    for name, rendered in headline.files(record, "", f"python{command}").items():
        assert rendered == (folder / name).read_text(encoding="utf-8"), name


def test_from_end_to_end(typed, capsys):
    few = ("repeats=2", "sentences=50", "pairs=4", "largest=1000")
    typed("headline", "profile=demo", *few)
    folder = Path("results/demo")
    assert capsys.readouterr().out.strip().endswith("headline.png")
    lines = list(csv.DictReader((folder / "headline.csv").open(encoding="utf-8")))
    kinds = {(line["what"], int(line["n"])): line["kind"] for line in lines}
    assert kinds["encode", 50] == kinds["search", 50] == kinds["search", 1000] == "measured"
    assert {kinds["cross-encoder", n] for n in (50, *headline.SIZES)} == {"extrapolated"}
    assert kinds["encode", 1000] == kinds["search", 10_000] == "extrapolated"
    cost = {(line["what"], int(line["n"])): float(line["seconds"]) for line in lines}
    pairs = 49_995_000 / (50 * 49 / 2)
    assert cost["cross-encoder", 10_000] / cost["cross-encoder", 50] == pytest.approx(pairs, 1e-4)
    assert cost["encode", 10_000] / cost["encode", 50] == pytest.approx(200, 1e-4)
    assert [line["paper"] for line in lines if line["n"] == "10000"] == ["5.0", "0.01", "234000.0"]
    text = (folder / "headline.md").read_text(encoding="utf-8")
    assert (
        "extrapolated" in text and "1,225 pairs" in text and "DEMO" in text and "SPEED ONLY" in text
    )
    assert "Brute force over all cosines in float64 finds the same pair." in text
    beside = json.loads((folder / "records" / "headline.json").read_text(encoding="utf-8"))
    ((key, kept),) = beside["records"].items()
    assert (
        kept == json.loads((Path("results/runs") / key / "record.json").read_text()) and key in text
    )
    first = (folder / "headline.csv").read_bytes()
    typed("headline", "profile=demo", *few, "output=elsewhere")
    assert (folder / "headline.csv").read_bytes() == first
    assert "output=elsewhere" in (folder / "headline.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_options_and_an_example(typed, capsys, word):
    typed("headline", "profile=demo", "repeats=3", word)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("The most similar pair of 10,000 sentences: python scripts/headline")
    assert {"  repeats=3", "  sentences=400", "  again=false"} <= set(said)
    assert not [line for line in said if line.startswith(("  encoder", "  prepare"))]
    assert said[-1] == "Example: python scripts/headline.py profile=demo"
    assert not Path("results").exists()


def test_mistakes_are_one_line(typed, capsys):
    for word, says in {
        "sentences=99999": "distinct sentences, expected no more",
        "sentence=5": "did you mean sentences?",
        "pairs=0": "pairs=0: expected at least 1",
        "--dry-run": "no such option",
    }.items():
        with pytest.raises(SystemExit) as end:
            typed("headline", "profile=demo", word)
        said = capsys.readouterr().err
        assert end.value.code == 2 and says in said and said.count("\n") == 1, said
    assert not Path("results").exists()
