"""From sources to a data root that reads back; no source is ever asked for here."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import runpy
import socket
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbert_repro.data.download import (
    BY_HAND,
    State,
    download,
    fetch,
    hub_rows,
    is_complete,
    is_passing,
    line_rows,
    member,
    mirrored,
    retried,
    states,
    sts_rows,
    tsv_rows,
)
from sbert_repro.data.read import read
from sbert_repro.data.schema import DataSet, Source, dataset
from sbert_repro.data.sets.afs import TOPICS
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def command(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> int:
    path = str(SCRIPTS / script)
    monkeypatch.setattr(sys, "argv", [path, *words])
    monkeypatch.setenv("COLUMNS", "100")
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


# --- A data set from the Hub ----------------------------------------------------------------------


class Hub:
    """Stands in for the Hub: returns what it was filled with, remembers what it was asked."""

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


def test_nli_from_its_two_corpora(small_nli: DataSet, hub: Hub, tmp_path: Path) -> None:
    (line,) = download(small_nli, tmp_path)
    assert line.endswith("train.parquet: 5 pairs")
    examples = read(small_nli, tmp_path, "train")
    gold = dict(zip(examples.texts["premise"], examples.target.tolist(), strict=True))
    assert gold == {"s1": 1, "s2": 2, "s4": 0, "m1": 0, "m2": 0}
    assert sentences(examples.facts) == ["NLI: 1 training pairs without a gold label dropped"]
    assert [(place, split) for place, _, split, _ in hub.asked] == [
        ("stanfordnlp/snli", "train"),
        ("nyu-mll/multi_nli", "train"),
    ]
    assert all(len(str(revision)) == 40 for *_, revision in hub.asked)
    written = json.loads((tmp_path / "nli" / "SOURCE.json").read_text(encoding="utf-8"))
    train = written["splits"]["train"]
    assert written["licence"] == small_nli.licence
    assert (train["rows"], train["without_gold_label"]) == (5, 1)
    assert train["sha256"] == examples.sha256
    assert train["sources"][0]["revision"] == small_nli.sources[0].revision


def test_corpora_are_mixed_the_same_way_each_time(
    small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    premises = [f"s{i}" for i in range(200)]
    rows = {"premise": premises, "hypothesis": ["t"] * 200, "label": [0] * 200}
    hub.rows["stanfordnlp/snli"] = rows
    record = replace(small_nli, splits={"train": 202})
    orders = []
    for name in ("one", "two"):
        list(download(record, tmp_path / name))
        orders.append(read(record, tmp_path / name, "train").texts["premise"])
    assert orders[0] == orders[1]
    assert orders[0][:200] != premises


@pytest.mark.parametrize("written", [True, False])
def test_what_is_there_is_not_downloaded_again(
    written: bool, small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    list(download(small_nli, tmp_path))
    if not written:  # a complete file from elsewhere
        (tmp_path / "nli" / "SOURCE.json").unlink()
    hub.rows.clear()
    (line,) = download(small_nli, tmp_path)
    assert "already there" in line
    assert is_complete(small_nli, tmp_path, "train")


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


def test_another_number_of_rows_is_kept_if_the_user_says_so(
    small_nli: DataSet, hub: Hub, tmp_path: Path
) -> None:
    record = replace(small_nli, splits={"train": 6})
    (line,) = download(record, tmp_path, allow_partial=True)
    assert line.endswith("train.parquet: 5 of 6 pairs, a part of the set")
    written = json.loads((tmp_path / "nli" / "SOURCE.json").read_text(encoding="utf-8"))
    train = written["splits"]["train"]
    assert (train["rows"], train["rows_expected"]) == (5, 6)
    asked = len(hub.asked)
    (line,) = download(record, tmp_path, allow_partial=True)
    assert line.endswith("5 of 6 pairs, a part of the set, already there")
    assert len(hub.asked) == asked
    with pytest.raises(UserError, match="gives 5 of 6 pairs"):  # a part is not the set
        list(download(record, tmp_path))


def test_no_hub_is_one_line(small_nli: DataSet, hub: Hub, tmp_path: Path) -> None:
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
            return SimpleNamespace(sha=f"newest of {place}")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    unpinned = tuple(replace(source, revision=None) for source in small_nli.sources)
    list(download(replace(small_nli, sources=unpinned), tmp_path))
    newest = {"newest of stanfordnlp/snli", "newest of nyu-mll/multi_nli"}
    assert {revision for *_, revision in hub.asked} == newest
    assert "newest of nyu-mll/multi_nli" in (tmp_path / "nli" / "SOURCE.json").read_text()


# --- Data sets from archives and files ------------------------------------------------------------


def put_on_the_hub(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = (file.as_uri(), hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr("sbert_repro.data.download.on_the_hub", lambda *_: there)


def test_sts_from_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = replace(dataset("sts16"), splits={"test": 5})
    subsets = record.sources[0].subsets
    members = {}
    for subset in subsets:
        members[f"STS/STS16-en-test/STS.input.{subset}.txt"] = f"{subset} one\ttwo\n".encode()
        members[f"STS/STS16-en-test/STS.gs.{subset}.txt"] = b"3.5\n"
    bundle = archive(tmp_path / "senteval.tar", members)
    put_on_the_hub(bundle, monkeypatch)
    root = tmp_path / "root"
    list(download(record, root))
    examples = read(record, root, "test")
    assert examples.subset.tolist() == list(subsets)
    assert examples.texts["sentence1"][0] == "answer-answer one"
    assert examples.target.tolist() == [3.5] * 5
    assert [kept.name for kept in (root / ".downloads").iterdir()] == ["e145e8bb659b-senteval.tar"]


def test_a_tab_separated_file_from_an_address(scored: DataSet, tmp_path: Path) -> None:
    there = tmp_path / "sts-dev.tsv"
    there.write_text("A\tB\tgold\na\tb\t1\nc\td\t2\ne\tf\t3\n", encoding="utf-8")
    columns = {"sentence1": "A", "sentence2": "B", "score": "gold"}
    source = Source("dev", there.as_uri(), "tsv", "sts-dev.tsv", columns=columns)
    record = replace(scored, sources=(source,))
    list(download(record, tmp_path))
    assert read(record, tmp_path, "dev").target.tolist() == [1.0, 2.0, 3.0]


# File in SentEval's bundle → its lines.
SENTEVAL = {
    "MR/rt-polarity.pos": b"a gem .\nclich M-CM-) , but good\n",
    "MR/rt-polarity.neg": b"a bore .\n",
    "CR/custrev.pos": b"love it\n\n",
    "CR/custrev.neg": b"hate it\n\n",
    "SUBJ/subj.objective": b"he leaves .\n",
    "SUBJ/subj.subjective": b"it is dull .\n",
    "MPQA/mpqa.pos": b"complaining\n",
    "MPQA/mpqa.neg": b"failing to support\nagainst\n",
    "SST/binary/sentiment-train": b"a gem\t1\nwell-worn clich\xc3\xa9s\t0\n",
    "SST/binary/sentiment-dev": b"fine\t1\n",
    "SST/binary/sentiment-test": b"poor\t0\n",
    "TREC/train_5500.label": b"HUM:ind Who is he ?\nLOC:city Which sister\xf0city ?\n",
    "TREC/TREC_10.label": b"NUM:dist How far  is it ?\n",
    "MRPC/msr_paraphrase_train.txt": (
        b"\xef\xbb\xbfQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        b'1\t7\t8\tHe said "yes .\tHe agreed .\n0\t9\t10\tA .\tB "C" .\n'
    ),
    "MRPC/msr_paraphrase_test.txt": b"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tA\tA\n",
}
# Data set → split → first text column and class ids, in order.
EXPECTED = {
    "mr": {"all": (["a gem .", "clich M-CM-) , but good", "a bore ."], [1, 1, 0])},
    "cr": {"all": (["love it", "", "hate it", ""], [1, 1, 0, 0])},
    "subj": {"all": (["he leaves .", "it is dull ."], [1, 0])},
    "mpqa": {"all": (["complaining", "failing to support", "against"], [1, 0, 0])},
    "sst2": {
        "train": (["a gem", "well-worn clichés"], [1, 0]),
        "dev": (["fine"], [1]),
        "test": (["poor"], [0]),
    },
    "trec": {
        "train": (["Who is he ?", "Which sisterðcity ?"], [3, 4]),
        "test": (["How far  is it ?"], [5]),
    },
    "mrpc": {"train": (['He said "yes .', "A ."], [1, 0]), "test": (["A"], [1])},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = {f"senteval/{name}": content for name, content in SENTEVAL.items()}
    return archive(tmp_path_factory.mktemp("bundle") / "senteval.tar", members)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_every_task_of_senteval_comes_out_of_the_bundle_in_its_order(
    name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_the_hub(bundle, monkeypatch)
    sizes = {split: len(labels) for split, (_, labels) in EXPECTED[name].items()}
    record = replace(dataset(name), splits=sizes)
    list(download(record, tmp_path))
    for split, (texts, labels) in EXPECTED[name].items():
        examples = read(record, tmp_path, split)
        assert list(examples.texts[record.text_columns[0]]) == texts
        assert examples.target.tolist() == labels


# --- CSV files that users download by hand --------------------------------------------------------

HEADER = "label,a,b,c,d,e,f,g,h,sentence_1,sentence_2"


def afs_line(score: str, first: str, second: str) -> str:
    return f'{score},1,2,3,4,5,6,7,8,"{first}","{second}"'


def published(topic: str) -> list[str]:
    rows = [afs_line(f"{n % 6}", f"{topic} says {n}", f"{topic} replies, {n}") for n in range(12)]
    return [HEADER, *rows, afs_line("4.5", " café ", 'a ""right""\nof theirs')]


def put_afs(root: Path, **changed: bytes) -> Path:
    folder = root / "afs"
    folder.mkdir(parents=True, exist_ok=True)
    for topic in TOPICS:
        content = "\r\n".join(published(topic)).encode("iso-8859-1")
        (folder / f"ArgPairs_{topic}.csv").write_bytes(changed.get(topic, content))
    return folder


def test_what_is_missing_says_from_where_to_where(tmp_path: Path) -> None:
    with pytest.raises(UserError) as asked:
        list(download(dataset("afs"), tmp_path))
    assert asked.value.code == BY_HAND
    files = "ArgPairs_DP.csv, ArgPairs_GC.csv, ArgPairs_GM.csv"
    assert f"put {files} from https://nlds.soe" in asked.value.mend
    assert f"into {tmp_path / 'afs'}, as published, then run `make data`" in asked.value.mend
    (put_afs(tmp_path) / "ArgPairs_GC.csv").unlink()
    with pytest.raises(UserError, match=r"by hand: put ArgPairs_GC.csv from"):
        list(download(dataset("afs"), tmp_path))


def test_the_published_files_become_afs(tmp_path: Path) -> None:
    put_afs(tmp_path)
    (said,) = download(dataset("afs"), tmp_path)
    assert said.endswith("all.parquet: 39 pairs")
    whole = read(dataset("afs"), tmp_path, "all")
    assert len(whole) == 39 and sentences(whole.facts) == []
    assert "café" in whole.texts["sentence1"]
    assert 'a "right"\nof theirs' in whole.texts["sentence2"]
    assert sorted(set(whole.target)) == [0, 1, 2, 3, 4, 4.5, 5]
    topic = read(dataset("afs"), tmp_path, "test_topic_gm")
    assert len(topic) == 13 and all(t.startswith(("GM", "café")) for t in topic.texts["sentence1"])
    assert next(iter(download(dataset("afs"), tmp_path))).endswith("39 pairs, already there")
    assert {s.status for s in states(tmp_path) if s.data_set == "afs"} == {"complete"}


WHOLE = "\n".join(published("GC"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE.encode("utf-16"), ": the file is in UTF-16, expected ISO-8859-1"),
        (WHOLE.encode("utf-8-sig"), "is in UTF-8 with a byte order mark, expected ISO-8859-1"),
        ("\n".join(row.rpartition(",")[0] for row in published("GC")[:5]), ": 10 columns"),
        (f"{HEADER}\n4,1,2,3,4,5,6,7,8,one", ", line 2: 10 columns, expected 11"),
        (f"{HEADER}\n{afs_line('much', 'a', 'b')}", ": a score is not a number"),
        (f"{HEADER}\n{afs_line('5.5', 'a', 'b')}", "score is 5.5, expected 0 to 5"),
        (f'{HEADER}\n4,1,2,3,4,5,6,7,8,"o"n,e","two"', ", line 2: 12 columns, expected 11"),
        (f'{HEADER}\n4,1,2,3,4,5,6,7,8,"{"x" * 200_000}', ": not a CSV (field larger than"),
        ("", ": 0 columns, expected 11"),
    ],
)
def test_a_damaged_csv_is_one_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    put_afs(tmp_path, GC=content if isinstance(content, bytes) else content.encode("iso-8859-1"))
    with pytest.raises(UserError) as refused:
        list(download(dataset("afs"), tmp_path))
    assert not (tmp_path / "afs" / "all.parquet").exists()
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_stray_quotes_of_afs_are_read_as_other_programs_read_them(tmp_path: Path) -> None:
    line = afs_line("4", 'a "sic" of theirs', "b")
    put_afs(tmp_path, GC=f"{WHOLE}\n{line}".encode("iso-8859-1"))
    list(download(dataset("afs"), tmp_path))
    topic = read(dataset("afs"), tmp_path, "test_topic_gc")
    assert len(topic) == 14 and 'a sic" of theirs"' in topic.texts["sentence1"]


def test_utf8_is_read_as_what_it_is_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_afs(tmp_path, GC=WHOLE.encode())
    with caplog.at_level(logging.WARNING):
        list(download(dataset("afs"), tmp_path))
    assert "ArgPairs_GC.csv is in UTF-8, not ISO-8859-1; read as UTF-8" in caplog.text
    assert "café" in read(dataset("afs"), tmp_path, "test_topic_gc").texts["sentence1"]


def put_bws(root: Path, content: bytes) -> DataSet:
    (root / "bws").mkdir()
    (root / "bws" / "BWS_Argument_Similarity_Corpus.csv").write_bytes(content)
    return replace(dataset("bws"), splits={"all": 9})


def test_bws_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    rows = "".join(f"{n},left {n},right {n},Cloning,0.{n}\n" for n in range(9))
    record = put_bws(tmp_path, f"id,argument1,argument2,topic,score\n{rows}".encode())
    list(download(record, tmp_path))
    whole = read(record, tmp_path, "all")
    assert whole.texts["sentence2"][7] == "right 7" and whole.target[7] == 0.7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,argument1,topic,score\n", "no column argument2; it has id, argument1, topic"),
        (b"id,argument1\n1,\xe9\n", r"the file is not in UTF-8 \(byte 15\)"),
    ],
)
def test_a_csv_of_other_columns_or_bytes(content: bytes, said: str, tmp_path: Path) -> None:
    record = put_bws(tmp_path, content)
    with pytest.raises(UserError, match=said):
        list(download(record, tmp_path))


# --- Other people's rows in our columns -----------------------------------------------------------

HUB = Source(
    split="train",
    place="someone/nli",
    format="hub_table",
    part="train",
    columns={"premise": "text_a", "hypothesis": "text_b", "label": "gold"},
    labels=("entailment", "neutral", "contradiction"),
    constants={"source": "here"},
)
TSV = Source(
    split="dev",
    place="https://example.org/dev.tsv",
    format="tsv",
    part="dev.tsv",
    columns={"sentence1": "A", "sentence2": "B", "score": "gold"},
)
STS = Source("test", "someone/bundle", "sts_folder", "STS15", subsets=("images", "belief"))


def on_the_hub(*names: str) -> datasets.Dataset:
    features = datasets.Features(
        text_a=datasets.Value("string"),
        text_b=datasets.Value("string"),
        gold=datasets.ClassLabel(names=list(names)),
        parse=datasets.Value("string"),
    )
    rows = {"text_a": ["a", "b", "c"], "text_b": ["d", "e", "f"], "gold": [2, -1, 0]}
    return datasets.Dataset.from_dict({**rows, "parse": ["("] * 3}, features=features)


def test_class_ids_of_the_hub_become_labels() -> None:
    table = hub_rows(on_the_hub("entailment", "neutral", "contradiction"), HUB)
    assert table.to_pydict() == {
        "premise": ["a", "b", "c"],
        "hypothesis": ["d", "e", "f"],
        "label": ["contradiction", "-", "entailment"],
        "source": ["here", "here", "here"],
    }


def test_a_copy_with_other_labels_or_columns_is_refused() -> None:
    with pytest.raises(UserError, match="someone/nli: gold stands for"):
        hub_rows(on_the_hub("contradiction", "entailment", "neutral"), HUB)
    loaded = datasets.Dataset.from_dict({"text_a": ["a"], "gold": [1]})
    with pytest.raises(UserError, match="someone/nli: no column text_b; it has text_a, gold"):
        hub_rows(loaded, HUB)


def test_scores_of_the_hub_stay_numbers() -> None:
    source = Source("dev", "x/y", "hub_table", "dev", columns={"sentence1": "s", "score": "score"})
    loaded = datasets.Dataset.from_dict({"s": ["a", "b"], "score": [1.5, 5.0]})
    assert hub_rows(loaded, source).to_pydict() == {"sentence1": ["a", "b"], "score": [1.5, 5.0]}


def test_tab_separated_quotes_are_characters() -> None:
    content = 'id\tgold\tA\tB\n1\t4.5\t"Hi" he said\tshe "said\n2\t0\t\u2028odd\tb\textra\r\n'
    assert tsv_rows(lambda _: content.encode(), TSV).to_pydict() == {
        "sentence1": ['"Hi" he said', "\u2028odd"],
        "sentence2": ['she "said', "b"],
        "score": [4.5, 0.0],
    }


def test_tab_separated_labels_are_lower_case() -> None:
    source = Source("dev", "x", "tsv", "d", columns={"label": "entailment_judgment"})
    table = tsv_rows(lambda _: b"entailment_judgment\nNEUTRAL\n", source)
    assert table["label"].to_pylist() == ["neutral"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A\tB\n1\t2\n", "dev.tsv: no column gold; it has"),
        (b"gold\tA\tB\n1\tx\ty\n2\tx\n", "dev.tsv, line 3: 2 of 3 columns"),
        (b"gold\tA\tB\nn/a\tx\ty\n", "dev.tsv: a score is not a number"),
        (b"gold\tA\tB\n1\t\xff\ty\n", "dev.tsv: not UTF-8 text"),
    ],
)
def test_tab_separated_and_wrong(content: bytes, said: str) -> None:
    with pytest.raises(UserError) as refused:
        tsv_rows(lambda _: content, TSV)
    assert said in str(refused.value)


def sts(**changed: str) -> pa.Table:
    files = {
        "input.images": "a dog\ta cat\none\ttwo\thttp://where\nno gold\tat all\n",
        "gs.images": "1.5\n5\n\n",
        "input.belief": "x y\tz\nun\tscored\np\tq",
        "gs.belief": "0\n\n2.25",
    } | changed
    named = {f"STS15/STS.{name}.txt": text.encode() for name, text in files.items()}
    return sts_rows(named.__getitem__, STS)


def test_sts_pairs_and_their_gold_scores_line_by_line() -> None:
    assert sts().to_pydict() == {
        "subset": ["images", "images", "belief", "belief"],
        "sentence1": ["a dog", "one", "x y", "p"],
        "sentence2": ["a cat", "two", "z", "q"],
        "score": [1.5, 5.0, 0.0, 2.25],
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gs.belief": "1\n2\n3\n4\n"}, "belief.txt: 3 pairs for 4 gold scores"),
        ({"input.belief": "a\tb\nno tab\n"}, "belief.txt: 2 pairs for 3"),
        ({"input.belief": "a\tb\nno tab\nc\td"}, "line 2: expected two sentences"),
        ({"gs.images": "1\nhigh\n3"}, "a score is not a number"),
    ],
)
def test_sts_files_that_do_not_fit(changed: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sts(**changed)


def test_each_line_of_a_file_gets_the_label_of_its_file() -> None:
    files = {"CR/pos": b"good , \n\nM-CM-) \xe9\n\n", "CR/neg": b"bad\n"}
    labelled = {"subsets": ("pos", "neg"), "labels": ("1", "0"), "encoding": "latin-1"}
    table = line_rows(files.__getitem__, Source("all", "x", "lines", "CR", **labelled))
    # An empty text is a text, at the end of a file too: CR has such.
    assert table["text"].to_pylist() == ["good ,", "", "M-CM-) é", "", "bad"]
    assert table["label"].to_pylist() == ["1", "1", "1", "1", "0"]


def test_a_line_of_another_form_is_named() -> None:
    with pytest.raises(UserError, match=r"train_5500\.label, line 2: expected"):
        line_rows(lambda _: b"HUM:ind Who ?\nWho ?\n", dataset("trec").sources[0])


# --- From the network -----------------------------------------------------------------------------


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept, in no time."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    monkeypatch.setattr("sbert_repro.data.download._found_away", {})
    return found


def failing(*problems: Exception) -> Callable[..., str]:
    left = list(problems)

    def action(*_: Any, **__: Any) -> str:
        if left:
            raise left.pop(0)
        return "there"

    return action


def test_a_network_that_comes_back_is_waited_for_longer_each_time(slept, caplog):
    assert retried(failing(), "x") == "there"
    assert slept == []
    with caplog.at_level(logging.WARNING):
        action = failing(ConnectionResetError("reset"), TimeoutError("late"))
        assert retried(action, "the model") == "there"
    assert slept == [1.0, 2.0]
    assert caplog.messages == [
        "the model: ConnectionResetError: reset; again in 1 s",
        "the model: TimeoutError: late; again in 2 s",
    ]


def test_a_host_that_answers_has_one_more_attempt_and_is_not_taken_for_away(slept):
    url = "https://x/y"
    assert retried(failing(http(503), http(503), http(503)), url) == "there"
    assert slept == [1.0, 2.0, 4.0]
    for _ in range(2):
        slept.clear()
        with pytest.raises(HTTPError):
            retried(failing(*[http(503)] * 9), url)
        assert slept == [1.0, 2.0, 4.0]
    slept.clear()
    busy = http(429)
    busy.headers["Retry-After"] = "30"
    assert retried(failing(busy), url) == "there" and slept == [30.0]


def test_a_host_found_away_is_not_waited_for_again_within_five_minutes(slept, monkeypatch):
    now = time.monotonic()
    action = failing(*[ConnectionError("away")] * 99)
    waited = []
    for minute in (0, 1, 4.9, 5.1, 6):
        monkeypatch.setattr(time, "monotonic", lambda minute=minute: now + 60 * minute)
        with pytest.raises(ConnectionError):
            retried(action, "x")
        waited.append(list(slept))
        slept.clear()
    assert waited == [[1.0, 2.0], [], [], [1.0, 2.0], []]
    with pytest.raises(ConnectionError):
        retried(action, "https://another.host/x")
    assert slept == [1.0, 2.0]


def test_what_another_attempt_would_not_mend_is_raised_at_once(slept):
    with pytest.raises(ValueError, match="no"):
        retried(failing(ValueError("no")), "x")
    assert slept == []


class Wrapped(Exception):
    """As the Hub's client wraps an error below its own."""


def wrapped(below: Exception) -> Exception:
    problem = Wrapped("no snapshot")
    problem.__cause__ = below
    return problem


def http(code: int) -> Exception:
    return HTTPError("http://x", code, "no", Message(), None)


def answered(code: int) -> Exception:
    problem = Wrapped("answer")
    problem.response = SimpleNamespace(status_code=code)
    return problem


OFFLINE = huggingface_hub.errors.OfflineModeIsEnabled("HF_HUB_OFFLINE=1")


@pytest.mark.parametrize(
    ("problem", "passing"),
    [
        (URLError(socket.gaierror("no such host")), True),
        (wrapped(ConnectionRefusedError("no")), True),
        (TimeoutError("late"), True),
        (http(503), True),
        (http(429), True),
        (http(404), False),
        (answered(401), False),
        (answered(502), True),
        (wrapped(answered(404)), False),
        (ValueError("no"), False),
        (OFFLINE, False),
        (wrapped(OFFLINE), False),
    ],
)
def test_what_another_attempt_may_mend(problem, passing):
    assert is_passing(problem) is passing


def test_what_is_fetched_is_the_file(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    here = fetch(there.as_uri(), tmp_path / "new" / "here", digest)
    assert here.read_bytes() == b"content"
    assert fetch("https://example.org/gone", here) == here, "what is there is not fetched again"


def test_a_file_that_was_changed_at_its_source(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"other")
    with pytest.raises(UserError, match=r"has sha256 .*, expected aaaa"):
        fetch(there.as_uri(), tmp_path / "here", "aaaa")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("url", "mirror", "hub", "asked"),
    [
        ("https://a.org/b/c.zip", "", "", "https://a.org/b/c.zip"),
        ("https://a.org/b/c.zip", "http://m:1/x/", "", "http://m:1/x/a.org/b/c.zip"),
        ("https://huggingface.co/a/b", "http://m:1", "", "https://huggingface.co/a/b"),
        (
            "https://hub.at.work/a/b",
            "http://m:1",
            "https://hub.at.work/",
            "https://hub.at.work/a/b",
        ),
        ("file:///a/b", "http://m:1", "", "file:///a/b"),
    ],
)
def test_a_mirror_stands_for_every_site_but_the_hub(url, mirror, hub, asked, monkeypatch):
    monkeypatch.setenv("SBERT_MIRROR", mirror)
    monkeypatch.setenv("HF_ENDPOINT", hub)
    assert mirrored(url) == asked


def test_a_download_is_tried_again_and_whole(tmp_path, monkeypatch, slept):
    answers = [b"half", b"whole"]

    def stream(url: str, target: Path) -> None:
        target.write_bytes(answers.pop(0))
        if answers:
            raise ConnectionResetError("midway")

    monkeypatch.setattr("sbert_repro.data.download._stream", stream)
    assert fetch("https://x/y", tmp_path / "y").read_bytes() == b"whole"
    assert slept == [1.0]


@pytest.mark.parametrize("url", ["https://localhost:9/x.tar", "file:///nowhere/x.tar"])
def test_no_network_is_one_line_and_leaves_nothing(url: str, tmp_path: Path, slept) -> None:
    """Tests have no network: that is what a compute node looks like."""
    with pytest.raises(UserError, match=r"cannot get .*x\.tar.*`make data` needs the network") as e:
        fetch(url, tmp_path / "downloads" / "x.tar")
    assert "\n" not in str(e.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_other_ways_to_name_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot download ftp://x: expected http"):
        fetch("ftp://x", tmp_path / "x")


def test_an_archive_is_read_and_writes_nothing(tmp_path: Path) -> None:
    names = ("../outside.txt", "/absolute.txt", "./SICK/train.txt", "data/STS/a.txt")
    path = archive(tmp_path / "bundle.tar", {name: name.encode() for name in names})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("SICK/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert member(path, "SICK/train.txt") == b"./SICK/train.txt"
    assert member(path, "STS/a.txt") == b"data/STS/a.txt"
    for absent in ("SICK/test.txt", "SICK/link.txt"):
        with pytest.raises(UserError, match=f"no file {absent}"):
            member(path, absent)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.tar"]
    assert not (tmp_path.parent / "outside.txt").exists()
    path.write_bytes(b"not a tar file at all")
    with pytest.raises(UserError, match="not a readable tar file"):
        member(path, "SICK/train.txt")


# --- The state of a data root, and the commands ---------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a complete STS16, a part of STSb's dev pairs and nothing else."""
    pair = {"sentence1": "a", "sentence2": "b", "score": 2.0}
    for name, split, row, rows in (
        ("sts16", "test", pair | {"subset": "x"}, 1_186),
        ("stsb", "dev", pair, 7),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist([row] * rows), tmp_path / name / f"{split}.parquet")
    return tmp_path


def found(root: Path) -> dict[str, State]:
    return {f"{state.data_set} {state.split}": state for state in states(root)}


def test_complete_partial_missing(root: Path) -> None:
    state = found(root)
    assert state["sts16 test"].status == "complete"
    assert (state["stsb dev"].status, state["stsb dev"].found) == ("partial", 7)
    assert (state["nli train"].status, state["nli train"].found) == ("missing", None)
    assert len(state["sts16 test"].sha256) == 64


def test_broken_files_say_why(root: Path) -> None:
    path = root / "stsb" / "dev.parquet"
    path.write_bytes(path.read_bytes()[:100])
    written = {"splits": {"test": {"rows": 1186, "sha256": "0" * 64}}}
    (root / "sts16" / "SOURCE.json").write_text(json.dumps(written), encoding="utf-8")
    state = found(root)
    assert state["stsb dev"].status == "unreadable"
    assert f"{path}: not a readable parquet file" in state["stsb dev"].problem
    assert state["sts16 test"].status == "changed"
    assert "delete it and run `make data`" in state["sts16 test"].problem


def test_verify_data_shows_each_split(root: Path, monkeypatch, capsys) -> None:
    assert command(monkeypatch, "verify_data.py", f"paths.data={root}") == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "sts16" in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[:4] == ["sts16", "test", "1,186", "1,186"] and cells[-1] == "complete"
    assert "942,069" in shown


def test_verify_data_fails_on_a_broken_file(root: Path, monkeypatch, capsys) -> None:
    (root / "stsb" / "dev.parquet").write_bytes(b"")
    monkeypatch.setenv("SBERT_DATA", str(root))
    assert command(monkeypatch, "verify_data.py") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert "unreadable" in shown.out


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("download.py", ["sts17"], "error: there is no data set 'sts17'"),
        ("download.py", ["rot=x"], "error: rot=x: expected sets=[NAME,…], root=FOLDER, "),
        ("download.py", ["sets=["], "error: sets=[: names nothing; expected sets=[NAME,…]"),
        ("download.py", ["sets=[]"], "error: sets=[]: names nothing"),
        ("download.py", ["allow_partial=yes"], "error: allow_partial=yes: expected sets=[NAME"),
        ("verify_data.py", ["paths.data=nowhere"], "error: nowhere: there is no data root"),
        ("verify_data.py", ["root=x"], "error: root=x: expected nothing but paths.data=FOLDER"),
    ],
)
def test_mistakes_on_the_command_line(
    script: str, words: list[str], said: str, hub: Hub, monkeypatch, capsys, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SBERT_DATA", raising=False)
    assert command(monkeypatch, script, *words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert shown.count("\n") == 1


def test_a_filled_root_needs_no_network(monkeypatch, capsys, data_root: Path) -> None:
    assert command(monkeypatch, "download.py", "stsb", "korsts", f"root={data_root}") == 0
    assert capsys.readouterr().out.count("already there") == 6
