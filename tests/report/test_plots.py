"""Plots are pictures, drawn from what the tables and the headline write."""

import csv
from pathlib import Path

from sbert_repro.report import plots

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_headline_is_drawn_from_its_csv():
    lines = list(csv.DictReader((RESULTS / "lite" / "headline.csv").open(encoding="utf-8")))
    points = [{**p, "n": int(p["n"]), "seconds": float(p["seconds"])} for p in lines]
    assert plots.headline(points, "here").startswith(b"\x89PNG")
