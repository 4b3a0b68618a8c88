"""Reading published word vectors: every format, every damage, and the mapped copy."""

from __future__ import annotations

import gzip
import json
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data import word_vector_files
from sbert_repro.data.word_vector_files import PUBLISHED, Place, download, find
from sbert_repro.data.word_vector_text import rows
from sbert_repro.data.word_vectors import WordVectors, load
from sbert_repro.errors import UserError

GLOVE = "the 0.5 -1 2e-1\ncat 1 2 3\n"


def opened(tmp_path: Path, content: str | bytes, name: str = "v.txt") -> WordVectors:
    raw = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(raw)
    return load(find(str(tmp_path / name), []), tmp_path / "cache", progress=False)


def refusal(tmp_path: Path, content: str | bytes, name: str = "v.txt") -> str:
    with pytest.raises(UserError) as caught:
        opened(tmp_path, content, name)
    assert not list((tmp_path / "cache").rglob("*.npy")), "half a copy was left behind"
    return str(caught.value)


def zipped(path: Path, **members: str) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path.read_bytes()


def test_glove_has_no_header(tmp_path):
    found = opened(tmp_path, GLOVE)
    assert found.index == {"the": 0, "cat": 1}
    np.testing.assert_allclose(found.values, [[0.5, -1, 0.2], [1, 2, 3]])
    assert found.values.dtype == np.float32 and found.notes == []


def test_fasttext_has_a_header_and_spaces_at_the_end_of_lines(tmp_path):
    found = opened(tmp_path, "2 3\nthe 0.5 -1 0.2 \ncat 1 2 3 \n", "v.vec")
    assert list(found.index) == ["the", "cat"] and found.values.shape == (2, 3)


def test_packed_files_give_the_same_vectors_and_the_same_identity(tmp_path):
    plain = opened(tmp_path, GLOVE)
    packed = opened(tmp_path, gzip.compress(GLOVE.encode()), "v.txt.gz")
    archive = opened(tmp_path, zipped(tmp_path / "x.zip", v__txt=GLOVE), "x.zip")
    for other in (packed, archive):
        assert (other.sha256, other.index) == (plain.sha256, plain.index)
        np.testing.assert_array_equal(other.values, plain.values)


def test_the_text_is_read_once(tmp_path, monkeypatch):
    opened(tmp_path, GLOVE)
    monkeypatch.setattr("sbert_repro.data.word_vectors.rows", None)
    again = load(Place(tmp_path / "v.txt"), tmp_path / "cache")
    assert isinstance(again.values, np.memmap) or isinstance(again.values.base, np.memmap)


def test_a_killed_conversion_leaves_nothing_that_is_read(tmp_path, monkeypatch):
    place = tmp_path / "v.txt"
    place.write_text(GLOVE)

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sbert_repro.data.word_vectors.write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            load(Place(place), tmp_path / "cache")
    for folder in (tmp_path / "cache" / "word_vectors").glob("*.lock"):
        unfinished = folder.with_suffix(".unfinished")
        unfinished.mkdir()  # as SIGKILL would have left it
        (unfinished / "vectors.npy").write_bytes(b"half")
    assert list(load(Place(place), tmp_path / "cache").index) == ["the", "cat"]
    assert not list((tmp_path / "cache").rglob("*.unfinished"))


def test_first_of_two_rows_of_a_word_counts_and_a_note_says_so(tmp_path):
    found = opened(tmp_path, "a 1 2\nb 3 4\na 5 6\na 7 8\n")
    np.testing.assert_array_equal(found.values, [[1, 2], [3, 4]])
    assert found.notes == ["v.txt: 2 rows repeat a word, the first counts"]


def test_a_word_that_is_no_utf8_is_left_out_and_a_note_says_so(tmp_path):
    found = opened(tmp_path, b"a 1 2\n\xff\xfe 3 4\nb 5 6\n")
    assert found.index == {"a": 0, "b": 1}
    np.testing.assert_array_equal(found.values, [[1, 2], [5, 6]])
    assert found.notes == ["v.txt: 1 rows without a word in UTF-8 left out"]


def test_words_with_spaces_and_odd_line_ends_stay_whole(tmp_path):
    found = opened(tmp_path, "a\x85b 1 2\n. . . 3 4\nc\rd 5 6\n\u2028 7 8\n")
    assert list(found.index) == ["a\x85b", ". . .", "c\rd", "\u2028"]


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("a 1 2 3\nb 1 2\nc 1 2 3\n", "v.txt", "line 2 ('b'): found 2 numbers, expected 3"),
        ("a 1 2\nb 1 2 3\n", "v.txt", "line 2 ('b'): found 3 numbers, expected 2"),
        ("2 3\na 1 2 3\nb 1 2 3 4\n", "v.vec", "line 3 ('b'): found 4 numbers, expected 3"),
        ("2 3\na 1 2\nb 1 2 3\n", "v.vec", "line 2 ('a'): found 2 numbers, expected 3"),
        ("3 2\na 1 2\nb 1 2\n", "v.vec", "holds 2 rows, but its first line says 3"),
        ("1 2\na 1 2\nb 1 2\n", "v.vec", "holds 2 rows, but its first line says 1"),
        ("a 1 2\n\nb 3 4\n", "v.txt", "line 2 (''): found 0 numbers, expected 2"),
        ("a 1 2\nb 3 x\n", "v.txt", "line 2 ('b'): value 2 is 'x', expected a number"),
        (b"a 1 2\nb 3 4\xff\n", "v.txt", "line 2 ('b'): value 2 is '4\ufffd', expected a number"),
        ("a 1 2\nb nan 4\n", "v.txt", "line 2 ('b'): value 1 is 'nan', expected a number"),
        ("a 1 2\nb 1e99 4\n", "v.txt", "lines 1 to 2: a number is too large"),
        ("a 1 2\nb 3 4", "v.txt.gz", "is damaged"),
        ("", "v.txt", "is empty"),
        ("\n", "v.txt", "line 1: found '', expected a word and its numbers"),
        ("{}\n", "v.txt", "line 1: found '{}', expected a word and its numbers"),
        (b"\xff 1 2\n", "v.txt", "holds no word"),
        ("no archive", "v.zip", "is no readable zip archive"),
    ],
)
def test_damage_is_one_line(tmp_path, content, name, said):
    message = refusal(tmp_path, content, name)
    assert said in message and "\n" not in message and name in message


def test_an_archive_cut_off_is_one_line(tmp_path):
    whole = gzip.compress(GLOVE.encode() * 500)
    assert "is damaged" in refusal(tmp_path, whole[: len(whole) // 2], "v.txt.gz")


def test_an_archive_of_several_files_asks_which(tmp_path):
    zipped(tmp_path / "x.zip", a__txt="w 1 2\n", b__txt=GLOVE)
    with pytest.raises(UserError, match=r"holds a\.txt, b\.txt: say which as encoder\.path="):
        find(str(tmp_path / "x.zip"), [])
    place = find("x.zip/b.txt", [tmp_path])
    assert load(place, tmp_path / "cache").index == {"the": 0, "cat": 1}


def test_a_published_file_is_found_in_its_archive(tmp_path):
    zipped(tmp_path / "glove.6B.zip", glove__6B__50d__txt="w 1\n", glove__6B__300d__txt=GLOVE)
    assert find("glove.6B.300d.txt", [tmp_path]).member == "glove.6B.300d.txt"


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda known: known.name)
def test_what_is_missing_says_where_to_get_it(tmp_path, published):
    with pytest.raises(UserError) as caught:
        find(published.name, [tmp_path])
    assert f"download {published.url} to {tmp_path}/{published.archive}" in str(caught.value)
    assert published.licence and published.citation and published.note


@pytest.fixture
def shops(tmp_path, monkeypatch):
    """The published archives, as files on this machine."""
    folder = tmp_path / "shops"
    folder.mkdir()
    zipped(folder / "glove.6B.zip", glove__6B__300d__txt=GLOVE)
    zipped(folder / "crawl-300d-2M.vec.zip", **{"crawl-300d-2M__vec": f"2 3\n{GLOVE}"})
    published = [replace(p, url=(folder / p.archive).as_uri()) for p in PUBLISHED]
    monkeypatch.setattr(word_vector_files, "PUBLISHED", tuple(published))
    return folder


def test_make_data_gets_those_of_the_tables_packed_as_they_are(shops, tmp_path):
    root = tmp_path / "data"
    lines = list(download(root))
    assert [line.rpartition("/")[2] for line in lines] == [
        "glove.6B.zip: glove.6B.300d.txt",
        "crawl-300d-2M.vec.zip: crawl-300d-2M.vec",
    ]
    found = load(find("crawl-300d-2M.vec", [root / "word_vectors"]), tmp_path / "cache")
    assert list(found.index) == ["the", "cat"]
    assert all(line.endswith(", already there") for line in download(root))


def test_an_archive_without_the_file_is_not_kept(shops, tmp_path):
    zipped(shops / "glove.6B.zip", other__txt=GLOVE)
    with pytest.raises(UserError, match=r"glove\.6B\.zip holds other\.txt"):
        list(download(tmp_path / "data"))
    assert not list((tmp_path / "data").rglob("*.zip"))


def test_an_unknown_file_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"encoder\.path=none\.txt: no such file"):
        find("none.txt", [tmp_path])


def test_a_full_or_closed_cache_is_one_line(tmp_path):
    (tmp_path / "v.txt").write_text(GLOVE)
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        load(Place(tmp_path / "v.txt"), tmp_path / "cache")


def test_conversion_is_announced_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        opened(tmp_path, GLOVE)
        opened(tmp_path, GLOVE)
    assert caplog.text.count("read once, then kept in") == 1


def test_facts_hold_what_was_left_out(tmp_path):
    opened(tmp_path, "a 1 2\na 3 4\n")
    (facts,) = (tmp_path / "cache").rglob("facts.json")
    assert json.loads(facts.read_text())["notes"]


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
    blocks = list(rows([b"%d 4\n" % len(lines), *lines], Path("v.vec")))
    assert [w.decode() for block in blocks for w in block.words] == [w for w, _ in entries]
    read = np.concatenate([block.values for block in blocks])
    np.testing.assert_array_equal(read, np.array([v for _, v in entries], np.float32))


def test_the_real_file(data_root, tmp_path):
    found = load(find("glove10k.100d.txt", [data_root / "word_vectors"]), tmp_path)
    assert found.values.shape == (10_000, 100) and found.index["the"] == 0
    assert found.values[0, 0] == np.float32(0.3162) and found.notes == []
