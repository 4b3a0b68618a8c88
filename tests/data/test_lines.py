"""A file of sentences read in blocks is what it is when read at once."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.data.lines import look_through
from sbert_repro.errors import UserError

LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=8)


@settings(deadline=None)
@given(st.lists(LINE, min_size=1, max_size=20), st.integers(1, 7), st.booleans(), st.booleans())
def test_blocks_are_the_files_lines(tmp_path_factory, texts, block, last_end, windows):
    path = tmp_path_factory.mktemp("lines") / "s.txt"
    end = "\r\n" if windows else "\n"
    content = (end.join(texts) + (end if last_end or not texts[-1] else "")).encode()
    path.write_bytes(content)
    lines = look_through(path, block)
    assert lines.count == len(texts) and lines.sha256 == hashlib.sha256(content).hexdigest()
    for first in range(len(lines.offsets) + 1):
        found = list(lines.blocks(first))
        assert [text for block_ in found for text in block_] == texts[first * block :]
        assert all(len(block_) == block for block_ in found[:-1])


def test_what_others_take_for_line_ends_is_text(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("one\u2028two\x0cthree\n  four \n", encoding="utf-8", newline="")
    assert list(look_through(path, 9).blocks()) == [["one\u2028two\x0cthree", "  four "]]


def test_the_mark_that_windows_puts_at_the_head_is_no_text(tmp_path):
    path, plain = tmp_path / "s.txt", tmp_path / "plain.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\r\n")
    plain.write_bytes(b"one\r\n\xef\xbb\xbftwo\r\n")
    lines = look_through(path, 1)
    assert [*lines.blocks()] == [["one"], ["\ufefftwo"]] and [*lines.blocks(1)] == [["\ufefftwo"]]
    assert lines.sha256 == look_through(plain, 1).sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"fine\nfran\xe7ais\n", r"line 2 is not UTF-8.*iconv"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "s.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        look_through(path, 2)
    with pytest.raises(UserError, match="No such file"):
        look_through(tmp_path / "none.txt", 2)
