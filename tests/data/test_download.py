"""From sources to a data root that reads back; no source is ever asked for here."""

from __future__ import annotations

import io
import json
import runpy
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from sbert_repro.data.download import download, is_complete
from sbert_repro.data.read import read
from sbert_repro.data.schema import DataSet, Source, dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "download.py"


class Hub:
    """Stands in for the Hub: gives what it was filled with, remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, str, str | None]] = []
        self.rows: dict[str, dict[str, list[Any]]] = {}

    def load_dataset(
        self, place: str, config: str | None = None, *, split: str, revision: str | None
    ) -> datasets.Dataset:
        self.asked.append((place, config, split, revision))
        if place not in self.rows:
            raise ConnectionError(f"Couldn't reach '{place}' on the Hub\nand more lines")
        return datasets.Dataset.from_dict(self.rows[place])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(datasets, "load_dataset", hub.load_dataset)
    return hub


@pytest.fixture
def small_nli(hub: Hub) -> DataSet:
    """NLI of two corpora, 3 + 2 training pairs with a gold label and one without."""
    hub.rows["stanfordnlp/snli"] = {
        "premise": ["s1", "s2", "s3", "s4"],
        "hypothesis": ["t1", "t2", "t3", "t4"],
        "label": [0, 1, -1, 2],
    }
    hub.rows["nyu-mll/multi_nli"] = {
        "premise": ["m1", "m2"],
        "hypothesis": ["n1", "n2"],
        "label": [2, 2],
    }
    return replace(dataset("nli"), splits={"train": 5})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A tar file like SentEval's, with STS16's five parts, one pair each."""
    path = tmp_path / "senteval.tar"
    with tarfile.open(path, "w") as tar:
        for part in dataset("sts16").sources[0].subsets:
            for kind, text in (("input", f"{part} one\ttwo\n"), ("gs", "3.5\n")):
                info = tarfile.TarInfo(f"STS/STS16-en-test/STS.{kind}.{part}.txt")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def small_sts16(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """STS16 of five pairs, its bundle on this disk."""
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *_, **__: bundle.as_uri())
    return replace(dataset("sts16"), splits={"test": 5})


def test_nli_from_its_two_corpora(small_nli: DataSet, hub: Hub, tmp_path: Path) -> None:
    (line,) = download(small_nli, tmp_path)
    assert line.endswith("train.parquet: 5 pairs")
    examples = read(small_nli, tmp_path, "train")
    assert sorted(examples.texts["premise"]) == ["m1", "m2", "s1", "s2", "s4"]
    gold = dict(zip(examples.texts["premise"], examples.target.tolist(), strict=True))
    assert gold == {"s1": 1, "s2": 2, "s4": 0, "m1": 0, "m2": 0}
    assert sentences(examples.facts) == ["NLI: 1 pairs without a gold label dropped"]
    assert [(place, split) for place, _, split, _ in hub.asked] == [
        ("stanfordnlp/snli", "train"),
        ("nyu-mll/multi_nli", "train"),
    ]
    assert all(len(str(revision)) == 40 for *_, revision in hub.asked)


def test_corpora_are_mixed_the_same_way_each_time(
    small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    many = {
        "premise": [f"s{i}" for i in range(200)],
        "hypothesis": ["t"] * 200,
        "label": [0] * 200,
    }
    hub.rows["stanfordnlp/snli"] = many
    record = replace(small_nli, splits={"train": 202})
    orders = []
    for name in ("one", "two"):
        list(download(record, tmp_path / name))
        orders.append(read(record, tmp_path / name, "train").texts["premise"])
    assert orders[0] == orders[1]
    assert orders[0][:200] != many["premise"]


def test_where_it_came_from_is_written_beside_it(small_nli: DataSet, tmp_path: Path) -> None:
    list(download(small_nli, tmp_path))
    written = json.loads((tmp_path / "nli" / "SOURCE.json").read_text(encoding="utf-8"))
    train = written["splits"]["train"]
    assert written["licence"] == small_nli.licence
    assert (train["rows"], train["without_gold_label"]) == (5, 1)
    assert train["sha256"] == read(small_nli, tmp_path, "train").sha256
    assert train["sources"][0]["revision"] == small_nli.sources[0].revision


def test_what_is_there_is_not_downloaded_again(
    small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    list(download(small_nli, tmp_path))
    hub.rows.clear()
    (line,) = download(small_nli, tmp_path)
    assert "already there" in line
    assert is_complete(small_nli, tmp_path, "train")


def test_a_complete_file_from_elsewhere_is_left_alone(
    small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    list(download(small_nli, tmp_path))
    (tmp_path / "nli" / "SOURCE.json").unlink()
    hub.rows.clear()
    assert "already there" in next(download(small_nli, tmp_path))


def test_a_file_that_is_not_the_set_is_kept_aside(small_nli: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "nli" / "train.parquet"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    (line,) = download(small_nli, tmp_path)
    assert line.endswith("what was there is now train.parquet.old")
    assert path.with_name("train.parquet.old").read_bytes() == b"mine"
    assert len(read(small_nli, tmp_path, "train")) == 5


def test_another_number_of_rows_writes_nothing(small_nli: DataSet, tmp_path: Path) -> None:
    record = replace(small_nli, splits={"train": 6})
    with pytest.raises(UserError, match="gives 5 of 6 pairs; it was changed at its source"):
        list(download(record, tmp_path))
    assert not (tmp_path / "nli").exists()


def test_no_network_is_one_line(small_nli: DataSet, hub: Hub, tmp_path: Path) -> None:
    hub.rows.clear()
    with pytest.raises(UserError, match=r"cannot get stanfordnlp/snli.*`make data`") as refused:
        list(download(small_nli, tmp_path))
    assert "and more lines" not in str(refused.value)
    assert not (tmp_path / "nli").exists()


def test_a_source_without_a_commit_gets_the_newest_and_says_which(
    small_nli: DataSet, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Api:
        def dataset_info(self, place: str) -> Any:
            return type("Info", (), {"sha": f"newest of {place}"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    unpinned = tuple(replace(source, revision=None) for source in small_nli.sources)
    list(download(replace(small_nli, sources=unpinned), tmp_path))
    assert {revision for *_, revision in hub.asked} == {
        "newest of stanfordnlp/snli",
        "newest of nyu-mll/multi_nli",
    }
    assert "newest of nyu-mll/multi_nli" in (tmp_path / "nli" / "SOURCE.json").read_text()


def test_sts_from_the_bundle(small_sts16: DataSet, tmp_path: Path) -> None:
    root = tmp_path / "root"
    list(download(small_sts16, root))
    examples = read(small_sts16, root, "test")
    assert examples.subset is not None
    assert examples.subset.tolist() == list(small_sts16.sources[0].subsets)
    assert examples.texts["sentence1"][0] == "answer-answer one"
    assert examples.target.tolist() == [3.5] * 5
    (kept,) = (root / ".downloads").iterdir()
    assert kept.name == "e145e8bb659b-senteval.tar"


def test_a_tab_separated_file_from_an_address(scored: DataSet, tmp_path: Path) -> None:
    there = tmp_path / "sts-dev.tsv"
    there.write_text("A\tB\tgold\na\tb\t1\nc\td\t2\ne\tf\t3\n", encoding="utf-8")
    columns = {"sentence1": "A", "sentence2": "B", "score": "gold"}
    source = Source("dev", there.as_uri(), "tsv", "sts-dev.tsv", columns=columns)
    record = replace(scored, sources=(source,))
    list(download(record, tmp_path))
    assert read(record, tmp_path, "dev").target.tolist() == [1.0, 2.0, 3.0]


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sts17"], "error: there is no data set 'sts17'"),
        (["rot=x"], "error: rot=x: expected names of data sets and root=FOLDER"),
        (["stsb"], "error: cannot get mteb/stsbenchmark-sts"),
    ],
)
def test_mistakes_on_the_command_line(
    words: list[str],
    said: str,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SBERT_DATA", raising=False)
    assert command(monkeypatch, *words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert shown.count("\n") == 1


def test_the_folder_is_the_one_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_root: Path
) -> None:
    """A filled root needs no network."""
    assert command(monkeypatch, "stsb", "korsts", f"root={data_root}") == 0
    assert capsys.readouterr().out.count("already there") == 6
