"""`make data` against the miniature Hub: real clients, real formats, and what a network does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbert_repro.data.demo import write_demo
from sbert_repro.data.demo_language import vocabulary
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset, names

from . import content, server

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
REPOSITORY = Path(__file__).resolve().parents[2]
IN_TABLES = [name for name in names() if dataset(name).in_tables]
NOBODY = "http://127.0.0.1:9"


@dataclass
class Site:
    """The server, and an empty machine that asks it."""

    address: str
    faults: server.Faults
    home: Path
    demo: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    def run(self, script: str, *words: str, address: str = "") -> subprocess.CompletedProcess[str]:
        address = address or self.address
        own = {"HF_HOME": str(self.home / "hf"), "HF_ENDPOINT": address, "SBERT_MIRROR": address}
        own |= {"SBERT_DATA": str(self.data), "SBERT_MODELS": str(self.home / "models")}
        environment = {**os.environ, **own, "COLUMNS": "120"}
        environment.pop("HF_HUB_OFFLINE", None)
        return subprocess.run(
            [sys.executable, REPOSITORY / "scripts" / script, *words],
            env=environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The server's folder and the demo's data, of which it is made."""
    demo, hub = tmp_path_factory.mktemp("demo") / "data", tmp_path_factory.mktemp("hub")
    write_demo(demo)
    content.write(hub, demo)
    pairs = content.Demo(demo).rows("nli", "train")[:500]
    content.write_models(hub, [pair["premise"] for pair in pairs], vocabulary())
    return hub, demo


@pytest.fixture
def site(served: tuple[Path, Path], tmp_path: Path) -> Iterator[Site]:
    hub, demo = served
    with server.running(hub) as (address, faults):
        yield Site(address, faults, tmp_path, demo)


def written(site: Site, name: str, split: str) -> dict[str, object]:
    source = json.loads((site.data / name / "SOURCE.json").read_text(encoding="utf-8"))
    return dict(source["splits"][split])


def statuses(site: Site) -> dict[str, set[str]]:
    """Data set → what verify_data.py says of its splits."""
    shown = site.run("verify_data.py")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split("│") for line in shown.stdout.splitlines() if line.startswith("│")]
    found: dict[str, set[str]] = {}
    for _, name, *_, status, _ in rows:
        found.setdefault(name.strip(), set()).add(status.strip())
    return found


def test_an_empty_machine_gets_all_that_the_tables_need_and_then_needs_no_network(site: Site):
    done = site.run("download.py", "allow_partial=true")
    assert done.returncode == 0, done.stderr
    assert "put ArgPairs_DP.csv, ArgPairs_GC.csv, ArgPairs_GM.csv from https://nlds" in done.stderr
    assert "train.parquet: 1,188 of 942,069 pairs, a part of the set" in done.stdout
    content.write_afs(site.data / "afs", site.demo)
    assert site.run("download.py", "sets=[afs]").returncode == 0

    found = statuses(site)
    assert {name for name in found if found[name] == {"missing"}} == {*names()} - {*IN_TABLES}
    assert all(found[name] == {"partial"} for name in IN_TABLES if name != "afs")
    assert found["afs"] == {"complete"}
    snli = written(site, "nli", "train")
    assert (snli["rows"], snli["without_gold_label"], snli["rows_expected"]) == (1_188, 12, 942_069)
    triplets = read(dataset("wikisections"), site.data, "train", allow_partial=True)
    assert " " in triplets.texts["negative"][:]
    assert {path.name for path in (site.data / "word_vectors").iterdir()} == {
        "glove.6B.zip",
        "glove.840B.300d.zip",
        "crawl-300d-2M.vec.zip",
    }
    assert (site.home / "models" / "infersent1.pkl").is_file()

    wanted = [*IN_TABLES, "word_vectors", "infersent", "encoders"]
    again = site.run("download.py", "allow_partial=true", *wanted, address=NOBODY)
    assert again.returncode == 0, again.stderr
    splits = sum(len(dataset(name).splits) for name in IN_TABLES)
    assert again.stdout.count("already there") == splits + 4  # word vectors and InferSent


def test_a_bad_network_is_waited_for_and_other_bytes_are_refused(site: Site):
    faults = site.faults
    faults.plan("KorSTS/sts-train.tsv", "503", "503", "cut")
    faults.plan("snli/plain_text/train-00000-of-00001.parquet", "503", "503", "cut")
    faults.plan("stsbenchmark-sts/validation.jsonl.gz", "429")
    faults.plan("stsbenchmark-sts/test.jsonl.gz", "slow")
    faults.plan("senteval.tar", "other")
    faults.plan("triplet/test-00000-of-00001.parquet", "other")
    faults.plan("bert-base-uncased/model.safetensors", "other")
    faults.plan("nlp.stanford.edu/data/glove.6B.zip", *["503"] * 4)
    sets = "sets=[korsts,snli,sts16,stsb,trec,wikisections,glove.6B.300d.txt,bert_base]"
    done = site.run("download.py", sets, "allow_partial=true")
    assert not any(faults.planned.values()), "every fault was met"
    assert done.returncode == 1
    failures = done.stderr.partition("error: 3 of 8 failed:\n")[2].splitlines()
    assert [line.split(":")[0].strip() for line in failures] == [
        "sts16",
        "wikisections",
        "bert_base",
    ]
    assert all("sha256" in line and "expected" in line for line in failures)
    assert (site.data / "word_vectors" / "glove.6B.zip").is_file()
    found = statuses(site)
    assert all(found[name] == {"partial"} for name in ("korsts", "nli", "stsb", "trec"))
    assert found["sts16"] == {"missing"} and "missing" in found["wikisections"]

    again = site.run("download.py", sets, "allow_partial=true")
    assert again.returncode == 0, again.stderr
    assert statuses(site)["sts16"] == {"partial"}


def test_fewer_rows_are_refused_and_do_not_stop_the_rest(site: Site):
    done = site.run("download.py", "sts17")
    assert done.returncode == 2 and "there is no data set 'sts17'" in done.stderr
    done = site.run("download.py", "cr", "stsb", "infersent")
    assert done.returncode == 1
    assert "error: 2 of 3 failed:\n  cr: cr all: " in done.stderr
    assert "gives 400 of 3,775 texts" in done.stderr and "allow_partial=true" in done.stderr
    assert "infersent1.pkl: InferSent's weights" in done.stdout
    assert not list(site.data.rglob("*.parquet"))
