"""The paper profile from an empty machine to the last cell: python tests/hub/paper.py [folder=F].

Starts the miniature Hub, fills an empty data root and the Hub's cache with the commands of
``make data``, shuts the Hub down, and makes Tables 1 to 7, the recipes, the headline and the claims
with the commands of ``make reproduce-all PROFILE=paper``. Nothing is changed but sizes: a few
steps, one seed, two folds and topics of AFS, few sentences timed. Then every cell must have a
number, but for rows that quote other papers, which have no model, and what this machine has no
hardware or extra for.

Exit status 1 when a command fails, a cell has no number and no such excuse, or Table 3 was not made
by the paper's protocol and recipe.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "hub"))

import content  # noqa: E402
import server  # noqa: E402

CAPS = ["data.allow_partial=true", "profile.max_seeds=1", "profile.max_parts=2"]
OF_TRAINING = ["trainer.max_steps=4", "trainer.progress=false"]
OF_TIMES = ["repeats=2", "sentences=128", "pairs=32", "largest=1000"]
"""All of them may stand in ``ARGS`` of ``make reproduce-all``, which deals them out like this."""
TABLES = (*map(str, range(1, 8)), "recipes")
SPEEDS = "7"
CHANGED = "changed"
"""Where scored tables are written whose options are not the profile's own."""
EXTRAS = {
    "Universal Sentence Encoder": "tensorflow",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
}
"""What a row's name begins with → the library that it needs, which is an extra."""
NOBODY = "http://127.0.0.1:9"


@dataclass
class Machine:
    """An empty one: its folders, and what was run on it.

    Attributes:
        home: The folder of everything that is downloaded or made.
        address: Where the Hub and all other sites are looked for.
        failed: The commands that failed.
    """

    home: Path
    address: str
    failed: list[str]

    def run(self, script: str, *words: str) -> None:
        """Run a command of the project; say how it ended and how long it took."""
        own = {"HF_ENDPOINT": self.address, "SBERT_MIRROR": self.address}
        own |= {"HF_HOME": str(self.home / "hf"), "WANDB_MODE": "disabled"}
        own["TF_CPP_MIN_LOG_LEVEL"] = "2"
        own |= {"SBERT_DATA": str(self.home / "data"), "SBERT_MODELS": str(self.home / "models")}
        environment = {**os.environ, **own, "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("HF_HUB_OFFLINE", None)
        started = time.monotonic()
        print(f"$ python {script} {' '.join(words)}", flush=True)
        done = subprocess.run(
            [sys.executable, REPOSITORY / script, *words],
            env=environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        (self.home / "logs").mkdir(exist_ok=True)
        name = "-".join([Path(script).stem, *words[:1]]).replace("/", "_")
        (self.home / "logs" / f"{name}.log").write_text(done.stdout, encoding="utf-8")
        if done.returncode:
            self.failed.append(f"{script} {' '.join(words)}")
            print(done.stdout)
        print(f"  status {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)


def serve_and_download(machine: Machine, hub: Path) -> None:
    """Write what the miniature Hub serves, and get it all as ``make data`` does."""
    from sbert_repro.data.demo import write_demo
    from sbert_repro.data.demo_language import vocabulary

    demo = machine.home / "demo"
    write_demo(demo)
    content.write(hub, demo)
    pairs = content.Demo(demo).rows("nli", "train")
    content.write_models(hub, [pair["premise"] for pair in pairs], vocabulary())
    if importlib.util.find_spec(EXTRAS["Universal Sentence Encoder"]):
        content.write_universal_sentence_encoder(hub)
    with server.running(hub) as (address, _):
        machine.address = address
        machine.run("scripts/download.py", "allow_partial=true")
        content.write_afs(machine.home / "data" / "afs", demo)  # as a person would
        machine.run("scripts/download.py", "sets=[afs]")
    # From here on there is no network.
    machine.address = NOBODY


@dataclass(frozen=True)
class Cell:
    """A cell of a table that has no number here.

    Attributes:
        table: The table's name.
        row: Its row.
        column: Its column.
        reason: What the table says.
        excused: Why that is all right; "" if it is not.
    """

    table: str
    row: str
    column: str
    reason: str
    excused: str


def excuse(table: str, row: str, column: str, quoted: set[str]) -> str:
    """Say why a cell need not have a number on this machine; "" if it must."""
    if row in quoted:
        return "the paper quotes it"
    for start, library in EXTRAS.items():
        if row.startswith(start) and not importlib.util.find_spec(library):
            return f"{library} is not installed"
    import torch

    here = "GPU" if torch.cuda.is_available() else "CPU"
    if table == SPEEDS and column != here:
        return f"no {column} measured here"
    if table == SPEEDS and here == "CPU":
        from sbert_repro.benchmarks.timing import why_not_timed

        precision = row.rpartition(", ")[2]
        if precision == "bf16" or row == "packed engine, int8":  # others' int8 is their own
            return why_not_timed(precision) or ""
    return ""


def cells(results: Path) -> Iterator[tuple[str, Cell | None]]:
    """Yield every cell of all tables and the headline; None for one with a number."""
    from sbert_repro.tables import spec

    for name in TABLES:
        table = spec.load(name)
        quoted = {row.name for row in table.rows if row.quoted}
        path = (results if table.timed else results / CHANGED) / f"{table.file}.csv"
        if not path.is_file():
            yield table.file, Cell(name, "all", "all", "the table is missing", "")
            continue
        with path.open(encoding="utf-8", newline="") as stream:
            for one in csv.DictReader(stream):
                missing = None
                if not one["ours"]:
                    why = excuse(name, one["row"], one["column"], quoted)
                    missing = Cell(name, one["row"], one["column"], one["note"], why)
                yield table.file, missing
    path = results / "headline.csv"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = list(csv.DictReader(text.splitlines()))
    for what in ("encode", "search", "cross-encoder"):
        found = any(row["what"] == what and float(row["seconds"] or 0) > 0 for row in rows)
        yield "headline", None if found else Cell("headline", "all", what, "no seconds", "")


def check(results: Path) -> int:
    """Print how many cells have a number, and each that has none; return how many must have one."""
    counts: dict[str, list[int]] = {}
    without: list[Cell] = []
    for where, cell in cells(results):
        counts.setdefault(where, [0, 0])[cell is not None] += 1
        without += [] if cell is None else [cell]
    for where, (numbers, none) in counts.items():
        print(f"{where}: {numbers} cells with a number, {none} without")
    for cell in without:
        verdict = cell.excused or "MISSING"
        print(f"  {cell.table} | {cell.row} | {cell.column} | {verdict} | {cell.reason}")
    wrong = [cell for cell in without if not cell.excused]
    total = sum(numbers for numbers, _ in counts.values())
    excused = len(without) - len(wrong)
    print(f"{total} cells with a number, {excused} excused, {len(wrong)} missing")
    return len(wrong)


def check_afs(results: Path) -> int:
    """Print how Table 3's models were trained; return how many not as profile paper should."""
    path = results / CHANGED / "records" / "table_3.json"
    text = path.read_text(encoding="utf-8") if path.is_file() else '{"records": {}}'
    runs = [one for one in json.loads(text)["records"].values() if one["kind"] == "train"]
    wrong = 0
    for settings in (run["settings"] for run in runs):
        data, loss, trainer = (settings[name] for name in ("data", "loss", "trainer"))
        found = [trainer["batch_size"], settings["optimizer"]["name"], settings["checkpoint"]]
        wanted: list[object] = [16, "bertadam", "last"]
        if loss["name"] == "cross_regression":  # the authors' code for BERT on AFS
            found += [data.get("pair_length"), data.get("swapped"), loss["dropout"], loss["error"]]
            wanted = [32, "bertadam", "last", 64, True, 0.0, "cross_entropy"]
        protocol = data["split"].startswith(("train_within_", "train_topic_"))
        right = protocol and found == wanted
        wrong += not right
        print(f"  {'' if right else 'WRONG '}{data['split']}: {loss['name']} {found}")
    within = sum(run["settings"]["data"]["split"].startswith("train_within_") for run in runs)
    print(f"table 3: {len(runs)} models, {within} of them for a fold within a topic, {wrong} wrong")
    return wrong + (not runs or within != len(runs) / 2)


def paper(home: Path) -> int:
    """Run everything in an empty folder; return the exit status."""
    started = time.monotonic()
    machine = Machine(home, NOBODY, [])
    serve_and_download(machine, home / "hub")
    machine.run("scripts/verify_data.py")
    for name in TABLES:
        own = OF_TIMES if name == SPEEDS else OF_TRAINING
        machine.run("scripts/table.py", f"table={name}", "profile=paper", *CAPS, *own)
    machine.run("scripts/headline.py", "profile=paper", *CAPS, *OF_TIMES)
    machine.run("scripts/claims.py", "profile=paper", *CAPS, *OF_TRAINING)
    wrong = check(home / "results" / "paper") + check_afs(home / "results" / "paper")
    print(f"{time.monotonic() - started:.0f} s")
    for command in machine.failed:
        print(f"failed: {command}")
    return 1 if wrong or machine.failed else 0


def main() -> None:
    """Run in a folder of one's own, or in the one that ``folder=`` names, which is kept."""
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        if key != "folder" or not value or Path(value).exists():
            sys.exit(f"error: {word}: expected folder=F, which does not exist yet")
        Path(value).mkdir(parents=True)
        sys.exit(paper(Path(value).resolve()))
    with tempfile.TemporaryDirectory() as place:
        sys.exit(paper(Path(place)))


if __name__ == "__main__":
    main()
