"""Plots, one function per figure, for the page, the notebooks and W&B.

Every function takes the frames of `sbert_repro.report.results` and returns a matplotlib figure;
`as_png` and `as_svg` turn it into a file. Ours is a filled circle, the paper's a hollow diamond.
The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import logging
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = TypeVar("Result")
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK = "#1b1f24"
"""Of texts and axes; `as_svg(ink="currentColor")` hands it to the page."""
_GREY = "#8b949e"
_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56B4E9", "#F0E442", _GREY)
_OURS: dict[str, Any] = {"marker": "o", "linestyle": "", "color": BLUE}
_PAPER: dict[str, Any] = {
    "marker": "D",
    "linestyle": "",
    "markerfacecolor": "none",
    "markeredgecolor": RED,
    "markersize": 5.5,
}
_CURVES = {
    "cross-encoder": (RED, "cross-encoder, all pairs"),
    "encode": (BLUE, "sentence encoder: encode"),
    "search": (GREEN, "sentence encoder: closest pair"),
}
"""Colour and label."""
_LINE = 0.32
"""Inches of height for each row of a table."""
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "svg.hashsalt": "sbert_repro",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}


def _says_more_than_that_it_looks(record: logging.LogRecord) -> bool:
    """Keep off the screen what matplotlib says the first time, when it looks for fonts."""
    return "building the font cache" not in record.getMessage()


def _in_style(draw: Callable[..., Result]) -> Callable[..., Result]:
    """Draw with `_STYLE`, and load matplotlib only then."""

    @functools.wraps(draw)
    def styled(*args: Any, **options: Any) -> Result:
        logging.getLogger("matplotlib.font_manager").addFilter(_says_more_than_that_it_looks)
        from matplotlib import rc_context

        with rc_context(_STYLE):  # type: ignore[arg-type]
            return draw(*args, **options)

    return styled


@_in_style
def against_the_paper(cells: pd.DataFrame, title: str) -> Figure:
    """Draw each row's number beside the paper's, with the interval of ours.

    Args:
        cells: Of one column of one table, in the table's order, with numbers in `ours` or `paper`.
        title: What the column is.

    Returns:
        A figure with one line for each row. The interval is the 95 % bootstrap over test pairs
        where a cell has one, otherwise ± the sample standard deviation over seeds.
    """
    figure, axes = _figure(height=1.2 + _LINE * len(cells))
    places = range(len(cells))
    low, high = _interval(cells)
    axes.hlines(places, low, high, color=BLUE, alpha=0.45, linewidth=2.5)
    axes.plot(cells["paper"], places, label="the paper", **_PAPER)
    axes.plot(cells["ours"], places, label="ours", **_OURS)
    _rows(axes, cells["row"])
    axes.set(xlabel="score × 100", title=title)
    _legend(figure, axes)
    return figure


@_in_style
def by_year(cells: pd.DataFrame, title: str) -> Figure:
    """Draw the seven STS sets of Table 1 from left to right, one line for each system.

    Args:
        cells: Of Table 1, without its average.
        title: Whose numbers they are.

    Returns:
        A figure with ours as a line and the paper's as hollow diamonds of the same colour.
    """
    figure, axes = _figure(height=4.6)
    names = list(dict.fromkeys(cells["column"]))
    measured = cells.dropna(subset=["ours"])
    systems = list(dict.fromkeys(measured["row"]))
    for number, system in enumerate(systems):
        mine = measured[measured["row"] == system].set_index("column").reindex(names)
        look = {
            "color": _COLOURS[number % len(_COLOURS)],
            "linestyle": "-" if number < len(_COLOURS) else "--",
        }
        axes.plot(names, mine["ours"], marker="o", markersize=4, label=system, **look)
        axes.plot(names, mine["paper"], **{**_PAPER, "markeredgecolor": look["color"]}, alpha=0.6)
    axes.plot([], [], label="the paper, same colour", **{**_PAPER, "markeredgecolor": INK})
    axes.set(ylabel="Spearman's correlation × 100", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@_in_style
def ablation(cells: pd.DataFrame, seeds: pd.DataFrame, title: str) -> Figure:
    """Draw Table 6 as two panels, pooling and concatenation, with each seed as a point.

    Args:
        cells: Of Table 6.
        seeds: What `results.seeds` returned.
        title: Whose numbers they are.

    Returns:
        A figure with a panel for each section of the table.
    """
    sections = list(dict.fromkeys(cells["section"]))
    heights = [cells.loc[cells["section"] == section, "row"].nunique() for section in sections]
    figure, panels = _figure(
        height=1.8 + 0.42 * sum(heights),
        rows=len(sections),
        gridspec_kw={"height_ratios": heights},
    )
    columns = list(dict.fromkeys(cells["column"]))
    for axes, section in zip(np.atleast_1d(panels), sections, strict=True):
        mine = cells[cells["section"] == section]
        names = list(dict.fromkeys(mine["row"]))
        for number, column in enumerate(columns):
            some = mine[mine["column"] == column]
            shift = 0.0 if len(columns) == 1 else 0.3 * (number / (len(columns) - 1) - 0.5)
            places = np.array([names.index(row) for row in some["row"]]) + shift
            colour = _COLOURS[number]
            _strip(axes, some, seeds, places, colour)
            axes.plot(some["ours"], places, **{**_OURS, "color": colour}, label=f"ours, {column}")
            axes.plot(
                some["paper"],
                places,
                label=f"the paper, {column}",
                **{**_PAPER, "markeredgecolor": colour},
            )
        _rows(axes, names)
        axes.set_title(section or title)
    bottom = np.atleast_1d(panels)[-1]
    bottom.set_xlabel("Spearman's correlation × 100 on the STSb development set")
    _legend(figure, np.atleast_1d(panels)[0])
    figure.suptitle(title, fontsize=10)
    return figure


@_in_style
def seed_strips(cells: pd.DataFrame, seeds: pd.DataFrame, title: str) -> Figure:
    """Draw every seed of every row, as Table 2 needs it: systems that lie within their spread.

    Args:
        cells: Of one column of one table.
        seeds: What `results.seeds` returned.
        title: What the column is.

    Returns:
        A figure with each seed as a small point, the mean as a large one, the paper's mean ± sd.
    """
    figure, axes = _figure(height=1.2 + _LINE * len(cells))
    places = np.arange(len(cells), dtype=float)
    _strip(axes, cells, seeds, places, BLUE)
    axes.plot(cells["paper"], places, label="the paper", **_PAPER)
    axes.plot(cells["ours"], places, label="ours, mean over seeds", **_OURS)
    axes.plot([], [], "|", color=BLUE, label="one seed")
    _rows(axes, cells["row"])
    axes.set(xlabel="score × 100", title=title)
    _legend(figure, axes)
    return figure


@_in_style
def throughput(cells: pd.DataFrame, title: str) -> Figure:
    """Draw Table 7: sentences per second, the slowest to the fastest repeat, and the paper's.

    Args:
        cells: Of one column of Table 7 (CPU or GPU), with the numbers that were measured.
        title: The hardware.

    Returns:
        A figure with a bar for each row, on a logarithmic axis.
    """
    figure, axes = _figure(height=1.2 + _LINE * len(cells))
    places = np.arange(len(cells))
    axes.barh(places, cells["ours"], color=BLUE, alpha=0.8, height=0.62, label="ours, median")
    low, high = _interval(cells)
    axes.hlines(places, low, high, color=INK, linewidth=1.5, label="slowest to fastest repeat")
    axes.plot(cells["paper"], places, label="the paper", **_PAPER)
    ends = np.nanmax(np.vstack([cells["ours"], high, cells["paper"].fillna(0)]), axis=0)
    for place, (speed, end) in enumerate(zip(cells["ours"], ends, strict=True)):
        axes.annotate(
            f"{speed:,.0f}", (end, place), (6, 0), textcoords="offset points", va="center"
        )
    _rows(axes, cells["row"])
    axes.set(xscale="log", xlabel="sentences per second", title=title)
    axes.set_xlim(left=max(1.0, 0.4 * float(cells["ours"].min())))
    axes.margins(x=0.2)
    _legend(figure, axes)
    return figure


@_in_style
def headline(points: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw cost against the number of sentences; what is extrapolated is dashed and hollow.

    The curve of the search ends with the most vectors that it was timed on.

    Args:
        points: ``n``, ``what``, ``seconds``, ``kind`` and ``paper``, the paper's seconds, or ""
            or NaN.
        title: What was measured and where.

    Returns:
        A figure with logarithmic axes.
    """
    figure, axes = _figure(height=4.8)
    for what, (colour, label) in _CURVES.items():
        own = [p for p in points if p["what"] == what]
        if what == "search":
            # A search of few vectors fits into caches and tells nothing of one of many.
            own = [p for p in own if p["kind"] == "measured"]
        curve = sorted(own, key=lambda point: point["n"])
        _curve(axes, curve, colour, label)
        for point in curve:
            if point["paper"] == point["paper"] and point["paper"] != "":  # neither NaN nor ""
                axes.plot(
                    point["n"], float(point["paper"]), **{**_PAPER, "markeredgecolor": colour}
                )
    axes.plot([], [], label="the paper, on a V100", **{**_PAPER, "markeredgecolor": INK})
    axes.plot([], [], "o--", color=_GREY, markerfacecolor="none", label="extrapolated")
    axes.set(xscale="log", yscale="log", xlabel="sentences", ylabel="time")
    ticks = (0.001, 0.01, 0.1, 1, 60, 3600, 86400, 365 * 86400, 100 * 365 * 86400)
    names = ("1 ms", "10 ms", "0.1 s", "1 s", "1 min", "1 h", "1 day", "1 year", "100 years")
    axes.set_yticks(ticks, names)
    axes.minorticks_off()
    axes.legend(loc="upper left")
    axes.set_title("\n".join(textwrap.wrap(f"Closest pair of n sentences: {title}", 80)))
    return figure


@_in_style
def learning_curves(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Figure:
    """Draw the loss and the dev score of runs against the optimizer step.

    Args:
        curves: For each run's label its ``loss`` and ``dev``, each a list of (step, value), as a
            training record has them in ``curves``.

    Returns:
        A figure with two panels above each other.
    """
    figure, (above, below) = _figure(height=5.2, rows=2, sharex=True)
    for number, (label, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for axes, name, marker in ((above, "loss", ""), (below, "dev", "o")):
            steps, values = np.asarray(curve[name], dtype=float).reshape(-1, 2).T
            axes.plot(steps, values, marker=marker, markersize=4, color=colour, label=label)
    above.set(ylabel="training loss")
    below.set(ylabel="dev score × 100", xlabel="optimizer step")
    above.legend(loc="upper right")
    return figure


@_in_style
def calibration(cosines: np.ndarray, gold: np.ndarray, title: str) -> Figure:
    """Draw the cosine of each pair against its gold score, with the median of each score.

    Args:
        cosines: Of shape ``(pairs,)``, in [-1, 1].
        gold: Of shape ``(pairs,)``, such as 0 to 5 in STSb.
        title: The encoder and the data set.

    Returns:
        A figure; what Spearman's correlation asks for is that the median rises.
    """
    figure, axes = _figure(height=4.4)
    axes.plot(gold, cosines, ".", color=BLUE, alpha=0.25, markersize=4, label="one pair")
    edges = np.linspace(gold.min(), gold.max(), 11)
    bins = np.clip(np.digitize(gold, edges) - 1, 0, 9)
    middles = [(edges[b : b + 2].mean(), np.median(cosines[bins == b])) for b in np.unique(bins)]
    axes.plot(*zip(*middles, strict=True), "o-", color=RED, label="median of a tenth of the scale")
    axes.set(xlabel="gold score", ylabel="cosine", title=title)
    axes.legend(loc="upper left")
    return figure


# Files


@_in_style
def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


@_in_style
def as_svg(figure: Figure, ink: str = INK) -> str:
    """Return a figure as an SVG element with its texts as text; the same figure, the same bytes.

    Args:
        figure: Any figure of this module.
        ink: Colour of texts and axes; "currentColor" for a page with a light and a dark side.

    Returns:
        ``<svg …>…</svg>``, without the XML heading, so that it can stand within a page.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, ink).strip()
    # Matplotlib's ids hold addresses in memory, and those of two figures on one page may be equal.
    names = dict.fromkeys(re.findall(r'id="([^"]+)"', text))
    digest = hashlib.sha256(re.sub("|".join(map(re.escape, names)), "", text).encode()).hexdigest()
    renamed = {name: f"f{digest[:10]}-{number}" for number, name in enumerate(names)}
    return re.sub(r'(?<=id=")[^"]+|(?<=#)[\w.-]+(?=[")])', lambda m: renamed.get(m[0], m[0]), text)


# Parts of figures


def _figure(*, height: float, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, height), layout="constrained")
    return figure, figure.subplots(rows, **options)


def _rows(axes: Axes, names: Any) -> None:
    """Name the rows of a table on the left, the first one on top."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)


def _legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below the axes, where it covers nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _interval(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    ours, sd = cells["ours"], cells["sd"].fillna(0.0)
    return (
        cells["ci_low"].fillna(ours - sd).to_numpy(float),
        cells["ci_high"].fillna(ours + sd).to_numpy(float),
    )


def _strip(
    axes: Axes, cells: pd.DataFrame, seeds: pd.DataFrame, places: np.ndarray, colour: str
) -> None:
    """Draw each seed of some cells as a thin stroke, from which a spread is read."""
    for place, (_, cell) in zip(places, cells.iterrows(), strict=True):
        mine = seeds[
            (seeds["table"] == cell["table"])
            & (seeds["row"] == cell["row"])
            & (seeds["column"] == cell["column"])
        ]
        if len(mine) > 1:
            axes.plot(mine["score"], [place] * len(mine), "|", color=colour, markersize=11)


def _curve(axes: Axes, points: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    """Draw one curve; a segment is dashed when one of its ends is extrapolated."""
    for left, right in itertools.pairwise(points):
        solid = left["kind"] == right["kind"] == "measured"
        ends = [left["n"], right["n"]], [left["seconds"], right["seconds"]]
        axes.plot(*ends, "-" if solid else "--", color=colour)
    for kind, face in (("measured", colour), ("extrapolated", "none")):
        some = [point for point in points if point["kind"] == kind]
        places = [point["n"] for point in some], [point["seconds"] for point in some]
        axes.plot(*places, "o", color=colour, markerfacecolor=face)
    axes.plot([], [], "o-", color=colour, label=label)
