"""The most similar pair of 10,000 sentences: python scripts/headline.py profile=lite [again=true].

Any further words are options of configs/speed.yaml, such as sentences=2000 or precision=bf16.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sbert_repro.cli import one_line_errors, split_words, usage
from sbert_repro.compose import compose_speed, prepare
from sbert_repro.redaction import log_masked
from sbert_repro.storage import write_file

_SENTENCES = {"demo": 400}
_PAPER = 10_000
_MEANING = {"profile=paper": "paper, lite or demo"}
_EXAMPLE = "python scripts/headline.py profile=demo"


def main() -> None:
    """Measure, or find the record; write CSV, Markdown and plot."""
    own, changes, flags = split_words(sys.argv[1:], {"profile": "paper"})
    profile = own["profile"]
    log_masked()
    from sbert_repro.benchmarks import headline
    from sbert_repro.benchmarks.timing import quiet
    from sbert_repro.report import plots
    from sbert_repro.tables import launch

    few = ["pairs=32", "largest=1000"] if profile == "demo" else []
    asked = [f"sentences={_SENTENCES.get(profile, _PAPER)}", *few, *changes]
    config = compose_speed(profile, asked)
    if flags:
        without = ("encoder", "pooling", "prepare", "profile.name")
        print(usage(str(__doc__).splitlines()[0], _MEANING, config, without, _EXAMPLE))
        return
    prepare(config)
    quiet()
    kept = [change for change in changes if not change.startswith(("again=", "paths."))]
    command = " ".join(["python scripts/headline.py", f"profile={profile}", *kept])
    record = headline.headline(config)
    files = headline.files(record, config.profile.timed_banner, command)
    figure = plots.headline(headline.points_beside_paper(record), headline.title(record))
    folder = Path(config.paths.results) / profile
    png, path = plots.as_png(figure), folder / "headline.csv"
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    contents: dict[str, str | bytes] = {**files, "headline.png": png}
    for name, content in contents.items():
        write_file(folder / name, content)
    if files["headline.csv"] != known:
        launch.track(config, "headline", files["headline.csv"], lambda: {"headline": png})
    print(files["headline.md"])
    print(f"written: {' '.join(str(folder / name) for name in (*files, 'headline.png'))}")


if __name__ == "__main__":
    one_line_errors(main)
