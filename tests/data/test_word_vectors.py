"""Reading published word vectors: every format, every damage, and the mapped copy."""

from __future__ import annotations

import gzip
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data import word_vectors
from sbert_repro.data.word_vectors import (
    PUBLISHED,
    Place,
    WordVectors,
    download,
    find,
    load,
    read_text,
)
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

GLOVE = "the 0.5 -1 2e-1\ncat 1 2 3\n"


def opened(tmp_path: Path, content: str | bytes, name: str = "v.txt") -> WordVectors:
    raw = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(raw)
    return load(find(str(tmp_path / name), []), tmp_path / "cache", progress=False)


def zipped(path: Path, **members: str) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path.read_bytes()


def test_glove_has_no_header_and_is_read_once(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    found = opened(tmp_path, GLOVE)
    assert found.index == {"the": 0, "cat": 1}
    np.testing.assert_allclose(found.values, [[0.5, -1, 0.2], [1, 2, 3]])
    assert found.values.dtype == np.float32 and found.facts == []
    monkeypatch.setattr(word_vectors, "read_text", None)
    again = load(Place(tmp_path / "v.txt"), tmp_path / "cache")
    assert isinstance(again.values.base, np.memmap)
    assert caplog.text.count("read once, then kept in") == 1


def test_fasttext_has_a_header_and_spaces_at_the_end_of_lines(tmp_path):
    found = opened(tmp_path, "2 3\nthe 0.5 -1 0.2 \ncat 1 2 3 \n\n", "v.vec")
    assert list(found.index) == ["the", "cat"] and found.values.shape == (2, 3)


def test_packed_files_give_the_same_vectors_and_the_same_identity(tmp_path):
    plain = opened(tmp_path, GLOVE)
    packed = opened(tmp_path, gzip.compress(GLOVE.encode()), "v.txt.gz")
    archive = opened(tmp_path, zipped(tmp_path / "x.zip", v__txt=GLOVE), "x.zip")
    for other in (packed, archive):
        assert (other.sha256, other.index) == (plain.sha256, plain.index)
        np.testing.assert_array_equal(other.values, plain.values)


def test_a_killed_conversion_leaves_nothing_that_is_read(tmp_path, monkeypatch):
    (tmp_path / "v.txt").write_text(GLOVE)

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(word_vectors, "write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            load(Place(tmp_path / "v.txt"), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert list(load(Place(tmp_path / "v.txt"), tmp_path / "cache").index) == ["the", "cat"]


def test_a_copy_of_an_earlier_version_is_made_anew(tmp_path):
    opened(tmp_path, "a 1 2\na 3 4\n")
    (description,) = (tmp_path / "cache").rglob("description.json")
    description.rename(description.with_name("facts.json"))
    assert opened(tmp_path, "a 1 2\na 3 4\n").facts and description.is_file()


def test_rows_that_are_left_out_are_facts(tmp_path):
    found = opened(tmp_path, b"a 1 2\n\xff\xfe 3 4\nb 5 6\na 5 6\na 7 8\n")
    assert found.index == {"a": 0, "b": 1}
    np.testing.assert_array_equal(found.values, [[1, 2], [5, 6]])
    assert found.facts == [
        {"code": "vectors_repeated", "file": "v.txt", "count": 2},
        {"code": "vectors_unreadable", "file": "v.txt", "count": 1},
    ]
    assert all(sentences(found.facts))


def test_words_with_spaces_and_odd_line_ends_stay_whole(tmp_path):
    found = opened(tmp_path, "a\x85b 1 2\n. . . 3 4\nc\rd 5 6\n\u2028 7 8\n1999 1 2\n")
    assert list(found.index) == ["a\x85b", ". . .", "c\rd", "\u2028", "1999"]


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("a 1 2 3\nb 1 2\nc 1 2 3\n", "v.txt", "line 2: 'b' has 2 numbers, expected 3"),
        ("a 1 2\nb 1 2 3\n", "v.txt", "line 2: 'b' has 3 numbers, expected 2"),
        ("2 3\na 1 2 3\nb 1 2 3 4\n", "v.vec", "line 3: 'b' has 4 numbers, expected 3"),
        ("2 3\na 1 2\nb 1 2 3\n", "v.vec", "line 2: 'a' has 2 numbers, expected 3"),
        ("3 2\na 1 2\nb 1 2\n", "v.vec", "holds 2 rows, but its first line says 3"),
        ("1 2\na 1 2\nb 1 2\n", "v.vec", "holds 2 rows, but its first line says 1"),
        ("a 1 2\n\nb 3 4\n", "v.txt", "line 2: '' has 0 numbers, expected 2"),
        ("a 1 2\nb 3 x\n", "v.txt", "line 2: value 2 of 'b' is 'x', expected a number"),
        (b"a 1 2\nb 3 4\xff\n", "v.txt", "line 2: value 2 of 'b' is '4\ufffd', expected a number"),
        ("a 1 2\nb nan 4\n", "v.txt", "line 2: value 1 of 'b' is 'nan', expected a number"),
        ("a 1 2\nb 1e99 4\n", "v.txt", "lines 1 to 2: a number is too large"),
        ("a 1 2\nb 3 4", "v.txt.gz", "is damaged"),
        (gzip.compress(GLOVE.encode() * 500, mtime=0)[:60], "v.txt.gz", "is damaged"),
        ("", "v.txt", "is empty"),
        ("\n", "v.txt", "is empty"),
        ("{}\n", "v.txt", "line 1: found '{}', expected a word and its numbers"),
        (b"\xff 1 2\n", "v.txt", "holds no word"),
        ("no archive", "v.zip", "not a readable zip archive"),
    ],
)
def test_damage_is_one_line(tmp_path, content, name, said):
    with pytest.raises(UserError) as caught:
        opened(tmp_path, content, name)
    assert said in str(caught.value) and name in caught.value.where
    assert not list((tmp_path / "cache").rglob("*.npy")), "half a copy was left behind"


def test_an_archive_of_several_files_asks_which(tmp_path):
    zipped(tmp_path / "x.zip", a__txt="w 1 2\n", b__txt=GLOVE)
    with pytest.raises(UserError, match=r"holds a\.txt, b\.txt: say which as encoder\.path="):
        find(str(tmp_path / "x.zip"), [])
    place = find("x.zip/b.txt", [tmp_path])
    assert place.name == "b.txt" and list(load(place, tmp_path / "cache").index) == ["the", "cat"]


def test_a_published_file_is_found_in_its_archive(tmp_path):
    zipped(tmp_path / "glove.6B.zip", glove__6B__50d__txt="w 1\n", glove__6B__300d__txt=GLOVE)
    assert find("glove.6B.300d.txt", [tmp_path]).member == "glove.6B.300d.txt"


@pytest.mark.parametrize("name", ["none.txt", *(known.name for known in PUBLISHED)])
def test_a_missing_file_is_named_without_a_folder_and_says_where_to_get_it(tmp_path, name):
    with pytest.raises(UserError) as caught:
        find(f"{tmp_path}/{name}" if name == "none.txt" else name, [tmp_path])
    assert caught.value.code == "missing"
    assert name in caught.value.found and str(tmp_path) not in caught.value.found
    for published in PUBLISHED:
        assert (published.url in caught.value.mend) == (published.name == name)


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """Name → a published file whose archive lies on this machine."""
    folder = tmp_path / "servers"
    folder.mkdir()
    zipped(folder / "glove.6B.zip", glove__6B__300d__txt=GLOVE)
    zipped(folder / "crawl-300d-2M.vec.zip", **{"crawl-300d-2M__vec": f"2 3\n{GLOVE}"})
    monkeypatch.setattr("sbert_repro.data.download._PAUSES", (0.0,))
    return {p.name: replace(p, url=(folder / p.archive).as_uri(), width=3) for p in PUBLISHED}


def test_make_data_gets_them_packed_as_they_are(servers, tmp_path):
    root, wanted = tmp_path / "data", servers["crawl-300d-2M.vec"]
    line = download(wanted, root)
    assert line.endswith("/crawl-300d-2M.vec.zip: crawl-300d-2M.vec")
    found = load(find("crawl-300d-2M.vec", [root / "word_vectors"]), tmp_path / "cache")
    assert list(found.index) == ["the", "cat"]
    assert download(wanted, root).endswith(", already there")


def damage(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    place = content.index(b"glove.6B.300d.txt") + 25  # within the packed text
    content[place : place + 3] = b"\0\0\0"
    archive.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "width", "said"),
    [
        (lambda archive: zipped(archive, other__txt=GLOVE), 3, r"holds other\.txt"),
        (damage, 3, "the file is damaged"),
        (lambda archive: None, 300, "has 3 numbers a word, expected 300"),
    ],
)
def test_an_archive_without_the_file_is_not_kept(servers, tmp_path, spoil, width, said):
    spoil(tmp_path / "servers" / "glove.6B.zip")
    with pytest.raises(UserError, match=said):
        download(replace(servers["glove.6B.300d.txt"], width=width), tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.zip"))


def test_glove_comes_from_the_hub_where_its_own_site_is_away(servers, tmp_path, monkeypatch):
    there = tmp_path / "servers" / "glove.6B.zip"
    asked = []

    def on_the_hub(*words):
        asked.append(words)
        return there.as_uri(), None

    monkeypatch.setattr(word_vectors, "on_the_hub", on_the_hub)
    away = replace(servers["glove.6B.300d.txt"], url="file:///nowhere/glove.6B.zip")
    assert download(away, tmp_path / "data").endswith("glove.6B.zip: glove.6B.300d.txt")
    assert asked == [("stanfordnlp/glove", "glove.6B.zip", None, "model")]
    with pytest.raises(UserError, match="cannot get file:///nowhere"):
        download(replace(away, hub=""), tmp_path / "other")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        opened(tmp_path, GLOVE)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\n ", codec="utf-8"), min_size=1).filter(
                lambda word: word.strip(" \r\n") == word
            ),
            st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_what_is_read(entries):
    lines = [f"{word} {' '.join(map(repr, values))}\n".encode() for word, values in entries]
    blocks = list(read_text([b"%d 4\n" % len(lines), *lines], "v.vec"))
    assert [w.decode() for words, _ in blocks for w in words] == [w for w, _ in entries]
    read = np.concatenate([values for _, values in blocks])
    np.testing.assert_array_equal(read, np.array([v for _, v in entries], np.float32))


def test_the_real_file(data_root, tmp_path):
    found = load(find("glove10k.100d.txt", [data_root / "word_vectors"]), tmp_path)
    assert found.values.shape == (10_000, 100) and found.index["the"] == 0
    assert found.values[0, 0] == np.float32(0.3162) and found.facts == []
