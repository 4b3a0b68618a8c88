"""CSV files that users fetch themselves: AFS in its published form, and in every broken one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sbert_repro.data.download import download, states
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.data.sets.afs import TOPICS
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

HEADER = "label,a,b,c,d,e,f,g,h,sentence_1,sentence_2"


def line(score: str, first: str, second: str) -> str:
    return f'{score},1,2,3,4,5,6,7,8,"{first}","{second}"'


def published(topic: str) -> list[str]:
    rows = [line(f"{n % 6}", f"{topic} says {n}", f"{topic} replies, {n}") for n in range(12)]
    return [HEADER, *rows, line("4.5", " café ", 'a ""right""\nof theirs')]


def put(root: Path, **changed: bytes) -> Path:
    folder = root / "afs"
    folder.mkdir(parents=True, exist_ok=True)
    for topic in TOPICS:
        content = "\r\n".join(published(topic)).encode("iso-8859-1")
        (folder / f"ArgPairs_{topic}.csv").write_bytes(changed.get(topic, content))
    return folder


def test_what_is_missing_says_from_where_to_where(tmp_path):
    (said,) = download(dataset("afs"), tmp_path)
    assert "ArgPairs_DP.csv, ArgPairs_GC.csv, ArgPairs_GM.csv from https://nlds.soe" in said
    assert f"to {tmp_path / 'afs'}, then run `make data` again" in said
    put(tmp_path)
    (tmp_path / "afs" / "ArgPairs_GC.csv").unlink()
    (said,) = download(dataset("afs"), tmp_path)
    assert "by hand: ArgPairs_GC.csv from" in said


def test_the_published_files_become_the_data_set(tmp_path):
    put(tmp_path)
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


def test_bws_is_read_by_the_names_of_its_columns(tmp_path):
    folder = tmp_path / "bws"
    folder.mkdir()
    rows = "".join(f"{n},left {n},right {n},Cloning,0.{n % 10}\n" for n in range(3400))
    (folder / "BWS_Argument_Similarity_Corpus.csv").write_text(
        f"id,argument1,argument2,topic,score\n{rows}", encoding="utf-8"
    )
    list(download(dataset("bws"), tmp_path))
    whole = read(dataset("bws"), tmp_path, "all")
    assert whole.texts["sentence2"][7] == "right 7" and whole.target[7] == 0.7


def refusal(tmp_path: Path, content: str | bytes) -> str:
    put(tmp_path, GC=content if isinstance(content, bytes) else content.encode("iso-8859-1"))
    with pytest.raises(UserError) as caught:
        list(download(dataset("afs"), tmp_path))
    assert not (tmp_path / "afs" / "all.parquet").exists()
    return str(caught.value)


WHOLE = "\n".join(published("GC"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE.encode("utf-16"), "ArgPairs_GC.csv is in UTF-16, expected ISO-8859-1"),
        (WHOLE.encode("utf-8-sig"), "is in UTF-8 with a byte order mark, expected ISO-8859-1"),
        ("\n".join(row.rpartition(",")[0] for row in published("GC")[:5]), "has 10 columns"),
        (f"{HEADER}\n4,1,2,3,4,5,6,7,8,one", "line 2: 10 columns, expected 11"),
        (f"{HEADER}\n{line('much', 'a', 'b')}", "a score is no number"),
        (f"{HEADER}\n{line('5.5', 'a', 'b')}", "score is 5.5, expected 0 to 5"),
        (f'{HEADER}\n4,1,2,3,4,5,6,7,8,"one","two', "no CSV"),
        ("", "has 0 columns, expected 11"),
    ],
)
def test_damage_is_one_line(tmp_path, content, said):
    message = refusal(tmp_path, content)
    assert said in message and "\n" not in message


def test_utf8_is_read_as_what_it_is_and_said(tmp_path, caplog):
    put(tmp_path, GC="\n".join(published("GC")).encode())
    with caplog.at_level(logging.WARNING):
        list(download(dataset("afs"), tmp_path))
    assert "ArgPairs_GC.csv is in UTF-8, not ISO-8859-1; read as UTF-8" in caplog.text
    assert "café" in read(dataset("afs"), tmp_path, "test_topic_gc").texts["sentence1"]


def test_a_column_that_is_missing_by_name(tmp_path):
    folder = tmp_path / "bws"
    folder.mkdir()
    (folder / "BWS_Argument_Similarity_Corpus.csv").write_text("id,argument1,topic,score\n")
    with pytest.raises(UserError, match="has no column argument2; it has id, argument1, topic"):
        list(download(dataset("bws"), tmp_path))


def test_bytes_that_are_no_utf8(tmp_path):
    folder = tmp_path / "bws"
    folder.mkdir()
    (folder / "BWS_Argument_Similarity_Corpus.csv").write_bytes(b"id,argument1\n1,\xe9\n")
    with pytest.raises(UserError, match=r"is not in UTF-8 \(byte 15\)"):
        list(download(dataset("bws"), tmp_path))
