"""Plots, one function per figure."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

_CURVES = {
    "cross-encoder": ("tab:red", "cross-encoder, all pairs"),
    "encode": ("tab:blue", "sentence encoder: encode"),
    "search": ("tab:green", "sentence encoder: closest pair"),
}
"""Colour and label."""


def headline(points: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw cost against the number of sentences; what is extrapolated is dashed and hollow.

    Args:
        points: ``n``, ``what``, ``seconds``, ``kind`` and ``paper``, the paper's seconds or "".
        title: What was measured and where.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for what, (colour, label) in _CURVES.items():
        curve = sorted((p for p in points if p["what"] == what), key=lambda point: point["n"])
        _curve(axes, curve, colour, label)
        for point in curve:
            if point["paper"]:
                star: dict[str, Any] = {
                    "color": colour,
                    "markersize": 11,
                    "markeredgecolor": "black",
                }
                axes.plot(point["n"], float(point["paper"]), "*", **star)
    axes.plot([], [], "*", color="white", markeredgecolor="black", markersize=11, label="the paper")
    axes.plot([], [], "--", color="grey", label="extrapolated")
    axes.set(xscale="log", yscale="log", xlabel="sentences", ylabel="time")
    ticks = (0.001, 0.01, 0.1, 1, 60, 3600, 86400, 365 * 86400, 100 * 365 * 86400)
    names = ("1 ms", "10 ms", "0.1 s", "1 s", "1 min", "1 h", "1 day", "1 year", "100 years")
    axes.set_yticks(ticks, names)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
    figure.suptitle(f"Closest pair of n sentences: {title}", fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=130, metadata={"Software": None})
    return stream.getvalue()


def _curve(axes: Any, points: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    """Draw one curve; a segment is dashed when one of its ends is extrapolated."""
    for left, right in itertools.pairwise(points):
        solid = left["kind"] == right["kind"] == "measured"
        ends = [left["n"], right["n"]], [left["seconds"], right["seconds"]]
        axes.plot(*ends, "-" if solid else "--", color=colour)
    for kind, face in (("measured", colour), ("extrapolated", "white")):
        some = [point for point in points if point["kind"] == kind]
        places = [point["n"] for point in some], [point["seconds"] for point in some]
        axes.plot(*places, "o", color=colour, markerfacecolor=face)
    axes.plot([], [], "o-", color=colour, label=label)
