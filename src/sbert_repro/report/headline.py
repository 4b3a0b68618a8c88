"""The headline as files: what was measured, what was extrapolated, the paper's figures beside."""

from __future__ import annotations

import csv
import io
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbert_repro.redaction import masked
from sbert_repro.storage import write_file
from sbert_repro.tables.render import machine, timed_banner
from sbert_repro.tables.timed import as_json

PAPER = {"cross-encoder": 65 * 3600.0, "encode": 5.0, "search": 0.01}
"""Seconds for 10,000 sentences on a V100 (section 1)."""
COLUMNS = ("n", "what", "seconds", "kind", "paper")
_PAPER_N = 10_000
_STYLES = {"cross-encoder": "tab:red", "encode": "tab:blue", "search": "tab:green"}
_LABELS = {
    "cross-encoder": "cross-encoder, all pairs",
    "encode": "sentence encoder: encode",
    "search": "sentence encoder: closest pair",
}
_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def write(record: Mapping[str, Any], banner: str, command: str, folder: Path) -> list[Path]:
    """Write CSV, Markdown, plot and the record; the same record gives the same text.

    Args:
        record: Of the ledger.
        banner: What the profile wants said above all speeds.
        command: What measures it again.
        folder: Usually ``results/<profile>``.

    Returns:
        list[Path]: The files.

    Raises:
        UserError: The folder cannot be written.
    """
    points = record["scores"]["points"]
    contents: dict[str, str | bytes] = {
        "headline.csv": as_csv(points),
        "headline.md": as_markdown(record, banner, command),
        "records/headline.json": as_json([record]),
        "headline.png": plot(points, title_of(record)),
    }
    for name, content in contents.items():
        write_file(folder / name, masked(content) if isinstance(content, str) else content)
    return [folder / name for name in contents]


def as_csv(points: Sequence[Mapping[str, Any]]) -> str:
    """One line a point of the plot, with the paper's seconds where it names some.

    Args:
        points: ``n``, ``what``, ``seconds``, ``kind``.

    Returns:
        str: The text.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for point in points:
        paper = PAPER[point["what"]] if point["n"] == _PAPER_N else ""
        writer.writerow({**point, "seconds": f"{point['seconds']:.6g}", "paper": paper})
    return text.getvalue()


def in_words(seconds: float) -> str:
    """Say a duration with three digits.

    Args:
        seconds: Any number of them.

    Returns:
        str: "65.0 h", "4.31 s", "12.0 ms".
    """
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def title_of(record: Mapping[str, Any]) -> str:
    """Name what was measured and where.

    Args:
        record: Of the ledger.

    Returns:
        str: One line.
    """
    found = record["scores"]
    return f"{found['encoder']} ({found['precision']}) on {machine(dict(record))}"


def as_markdown(record: Mapping[str, Any], banner: str, command: str) -> str:
    """The three figures beside the paper's, the pair, and how it was measured.

    Args:
        record: Of the ledger.
        banner: What the profile wants said above all speeds.
        command: What measures it again.

    Returns:
        str: The text.
    """
    found = record["scores"]
    pairs = found["n"] * (found["n"] - 1) // 2
    timed = [f"{found['encoder']} ({found['precision']})", "the same network as a cross-encoder"]
    rate = f"{found['pairs_per_second']:,.1f}"
    lines = [
        f"# The most similar pair of {found['n']:,} sentences",
        "",
        f"> **{timed_banner(banner, dict(record), timed)}**",
        "",
        *_figures(found, pairs),
        "",
        f"The cross-encoder scores {rate} pairs a second, measured on {found['pairs_timed']:,} "
        f"pairs; its time for all {pairs:,} is extrapolated from that.",
        "",
        "![cost against the number of sentences](headline.png)",
        "",
        "## Notes",
        "",
        *(f"- {note}" for note in _notes(record, command)),
    ]
    return "\n".join(lines) + "\n"


def _figures(found: Mapping[str, Any], pairs: int) -> list[str]:
    every = in_words(pairs / found["pairs_per_second"])
    encode, search = (_spread(found["seconds"][what]) for what in ("encode", "search"))
    return [
        f"| {found['n']:,} sentences, {pairs:,} pairs | here | the paper, 10,000 on a V100 |",
        "| --- | ---: | ---: |",
        f"| cross-encoder, every pair (extrapolated) | {every} | ~65 h |",
        f"| sentence encoder: encode | {encode} | ~5 s |",
        f"| sentence encoder: closest pair, exact | {search} | ~0.01 s |",
    ]


def _notes(record: Mapping[str, Any], command: str) -> list[str]:
    found, versions = record["scores"], record["versions"]
    pair = " / ".join(f"“{text}”" for text in found["pair"]["texts"])
    checked = "It is the one" if found["exact"] else "**It is not the one**"
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy"))
    return [
        f"The closest pair has a cosine of {found['pair']['cosine']:.6f}: {pair}. {checked} that "
        "all cosines in float64 give.",
        *record["notes"],
        f"Encoder: {found['encoder']}, {found['precision']}; {found['repeats']} repeats in turns, "
        f"median [fastest, slowest], tokenisation included, on the {found['device']}.",
        "The search beyond these sentences is timed on random vectors of the same width.",
        f"Hardware: {machine(dict(record))}; {found['threads']} threads; {libraries}.",
        f"Again: `{command} again=true`; record `{record['key']}`.",
    ]


def _spread(seconds: Sequence[float]) -> str:
    middle = in_words(statistics.median(seconds))
    return f"{middle} [{in_words(min(seconds))}, {in_words(max(seconds))}]"


def plot(points: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw cost against the number of sentences; what is extrapolated is dashed and hollow.

    Args:
        points: ``n``, ``what``, ``seconds``, ``kind``.
        title: What was measured and where.

    Returns:
        bytes: A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for what, colour in _STYLES.items():
        mine = sorted((p for p in points if p["what"] == what), key=lambda p: p["n"])
        _line(axes, mine, colour, _LABELS[what])
        axes.plot(_PAPER_N, PAPER[what], "*", color=colour, markersize=11, markeredgecolor="black")
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


def _line(axes: Any, points: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    """Draw a segment dashed when one of its ends is extrapolated."""
    for left, right in itertools.pairwise(points):
        both = left["kind"] == right["kind"] == "measured"
        ends = [left["n"], right["n"]], [left["seconds"], right["seconds"]]
        axes.plot(*ends, "-" if both else "--", color=colour)
    for kind, face in (("measured", colour), ("extrapolated", "white")):
        mine = [p for p in points if p["kind"] == kind]
        places = [p["n"] for p in mine], [p["seconds"] for p in mine]
        axes.plot(*places, "o", color=colour, markerfacecolor=face)
    axes.plot([], [], "o-", color=colour, label=label)
