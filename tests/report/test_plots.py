"""Plots show the numbers that they are given, and the same numbers give the same bytes."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sbert_repro.report import plots, results

LITE = Path(__file__).resolve().parents[2] / "results" / "lite"
CELLS, SEEDS = results.cells(LITE), results.seeds(LITE)


def cells_of(table, column=None):
    mine = CELLS[CELLS["table"] == table]
    return mine if column is None else mine[mine["column"] == column]


def drawn(figure):
    """Every number on a line of the figure."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    values = [np.asarray(line.get_xydata(), dtype=object).ravel() for line in lines]
    return {round(float(v), 3) for some in values for v in some if isinstance(v, (int, float))}


FIGURES = {
    "against_the_paper": lambda: plots.against_the_paper(cells_of("1", "Avg."), "x"),
    "by_year": lambda: plots.by_year(cells_of("1"), "x"),
    "ablation": lambda: plots.ablation(cells_of("6"), SEEDS, "x"),
    "seed_strips": lambda: plots.seed_strips(cells_of("2"), SEEDS, "x"),
    "throughput": lambda: plots.throughput(cells_of("7", "CPU").dropna(subset=["ours"]), "x"),
    "headline": lambda: plots.headline(results.headline(LITE).to_dict("records"), "here"),
    "learning_curves": lambda: plots.learning_curves(
        {"a": {"loss": [[1, 1.1], [2, 0.9]], "dev": [[2, 70.0]]}, "b": {"loss": [], "dev": []}}
    ),
    "calibration": lambda: plots.calibration(np.linspace(0, 1, 50), np.linspace(0, 5, 50), "x"),
}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_is_a_picture_and_text(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    text = plots.as_svg(figure, ink="currentColor")
    assert plots.as_png(figure).startswith(b"\x89PNG")
    assert text.startswith("<svg") and text.endswith("</svg>") and "<text" in text
    assert plots.INK not in text and "currentColor" in text
    assert text == plots.as_svg(FIGURES[name](), ink="currentColor")


@pytest.mark.parametrize("name", ["against_the_paper", "ablation", "seed_strips"])
def test_every_number_of_the_table_is_drawn(name):
    cells = {"against_the_paper": cells_of("1", "Avg."), "ablation": cells_of("6")}
    mine = cells.get(name, cells_of("2"))
    wanted = {round(v, 3) for column in ("ours", "paper") for v in mine[column].dropna()}
    assert wanted and wanted <= drawn(FIGURES[name]())


def test_ids_of_two_figures_differ_and_are_found():
    one, other = (plots.as_svg(FIGURES[name]()) for name in ("ablation", "calibration"))
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (one, other)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', one)) <= ids[0]


def test_the_search_is_drawn_as_far_as_it_was_timed():
    point = {"what": "search", "seconds": 2.0, "paper": ""}
    figure = plots.headline(
        [{**point, "n": 10, "kind": "measured"}, {**point, "n": 99, "kind": "extrapolated"}], "x"
    )
    drawn = {x for line in figure.axes[0].get_lines() for x in line.get_xdata()}
    assert 10 in drawn and 99 not in drawn


def test_what_is_extrapolated_is_hollow():
    point = {"what": "encode", "seconds": 2.0, "paper": ""}
    figure = plots.headline(
        [{**point, "n": 10, "kind": "measured"}, {**point, "n": 99, "kind": "extrapolated"}], "x"
    )
    faces = {
        (line.get_xdata()[0], line.get_markerfacecolor())
        for line in figure.axes[0].get_lines()
        if line.get_marker() == "o" and len(line.get_xdata())
    }
    assert (10, plots.BLUE) in faces and (99, "none") in faces


FIRST_TIME = """
import threading
timer = threading.Timer
threading.Timer = lambda seconds, call: timer(0, call)  # a disk on which the fonts take long
from sbert_repro.report import plots
plots.as_png(plots.learning_curves({"a": {"loss": [[1, 1.1]], "dev": []}}))
"""


def test_the_first_plot_on_a_machine_says_nothing_of_fonts(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_TIME],
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(tmp_path.glob("fontlist*")) and done.stdout + done.stderr == ""


def test_a_long_title_of_the_headline_is_drawn_whole():
    points = [{"n": 10, "what": "encode", "seconds": 1.0, "kind": "measured", "paper": ""}]
    title = "random weights, shape of bert-base-uncased (bf16) on AMD EPYC, 2 cores, 24 GiB"
    figure = plots.headline(points, title)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    extent = figure.axes[0].title.get_window_extent(canvas.get_renderer())
    assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1


def test_only_the_look_for_fonts_is_not_announced(caplog):
    plots.by_year(cells_of("1"), "x")
    fonts = logging.getLogger("matplotlib.font_manager")
    fonts.warning("Matplotlib is building the font cache; this may take a moment.")
    fonts.warning("findfont: Font family 'x' not found.")
    assert [one.getMessage() for one in caplog.records] == ["findfont: Font family 'x' not found."]
