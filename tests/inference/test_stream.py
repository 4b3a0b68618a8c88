"""Vectors on disk: the same bytes however often the work was killed, nothing else overwritten."""

import hashlib
import os
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.errors import UserError
from sbert_repro.inference.stream import read_lines, write_vectors

ROWS, BLOCK, WIDTH = 23, 5, 3
SETTINGS = {"encoder": {"name": "counted"}}


class Counted:
    """Embeds a sentence as its number; stops before a block, by an error or by kill -9."""

    def __init__(self, stop=None, *, kill=False):
        self.stop, self.kill, self.blocks = stop, kill, 0

    def __call__(self, blocks):
        for block in blocks:
            if self.blocks == self.stop:
                if self.kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise KeyboardInterrupt
            self.blocks += 1
            yield np.array([[int(text)] * WIDTH for text in block], np.float32)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("".join(f"{number}\n" for number in range(ROWS)))
    return read_lines(path, BLOCK)


@pytest.fixture
def whole(lines, tmp_path):
    """The bytes of an undisturbed run."""
    write_vectors(lines, tmp_path / "whole.npy", Counted(), SETTINGS, tmp_path / "cache")
    return (tmp_path / "whole.npy").read_bytes()


def test_the_file_is_an_npy_of_all_rows(lines, tmp_path):
    done = []
    output = tmp_path / "new" / "e.npy"
    written = write_vectors(
        lines, output, Counted(), SETTINGS, tmp_path / "cache", advance=done.append
    )
    assert (written.rows, written.width, written.kept) == (ROWS, WIDTH, 0) and sum(done) == ROWS
    found = np.load(output, mmap_mode="r")
    np.testing.assert_array_equal(found, np.arange(ROWS)[:, None].repeat(WIDTH, 1))
    assert not list(output.parent.glob("*.part"))


@pytest.mark.parametrize("stop", range(5))
def test_killed_and_started_again_it_gives_the_same_bytes(lines, tmp_path, whole, stop):
    output = tmp_path / "e.npy"
    if (child := os.fork()) == 0:
        try:
            write_vectors(lines, output, Counted(stop, kill=True), SETTINGS, tmp_path / "cache")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not output.exists()
    again = Counted()
    written = write_vectors(lines, output, again, SETTINGS, tmp_path / "cache")
    assert output.read_bytes() == whole
    assert written.kept == stop * BLOCK and again.blocks == 5 - stop
    assert write_vectors(lines, output, Counted(0), SETTINGS, tmp_path / "cache").kept == ROWS


def test_a_block_half_written_is_written_again(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(2), SETTINGS, tmp_path / "cache")
    part = tmp_path / "e.npy.part"
    part.write_bytes(part.read_bytes() + b"half a block")
    write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    assert output.read_bytes() == whole


def test_a_part_that_lost_what_the_journal_counts_is_begun_anew(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(3), SETTINGS, tmp_path / "cache")
    part = tmp_path / "e.npy.part"
    part.write_bytes(part.read_bytes()[:-1])
    assert write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache").kept == 0
    assert output.read_bytes() == whole


@pytest.mark.parametrize("stop", [2, None])
def test_an_output_of_something_else_is_kept_unless_told(lines, tmp_path, stop):
    output, other = tmp_path / "e.npy", {"encoder": {"name": "another"}}
    if stop is None:
        write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    else:
        with pytest.raises(KeyboardInterrupt):
            write_vectors(lines, output, Counted(stop), SETTINGS, tmp_path / "cache")
    with pytest.raises(UserError, match=r"made with another encoder: .* overwrite=true"):
        write_vectors(lines, output, Counted(), other, tmp_path / "cache")
    assert (
        write_vectors(lines, output, Counted(), other, tmp_path / "cache", overwrite=True).kept == 0
    )


def test_a_file_of_the_users_own_is_not_overwritten_and_stays_until_it_is(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    output.write_text("mine")
    with pytest.raises(UserError, match="nothing says what it was made from"):
        write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(2), SETTINGS, tmp_path / "cache", overwrite=True)
    assert output.read_text() == "mine"
    write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    assert output.read_bytes() == whole


def test_a_vector_that_is_no_number_is_refused_by_the_line_it_is_of(lines, tmp_path):
    def embed(blocks):
        for number, block in enumerate(blocks):
            vectors = np.ones((len(block), WIDTH), np.float32)
            vectors[3] = np.nan if number == 1 else 1
            yield vectors

    output = tmp_path / "e.npy"
    with pytest.raises(UserError, match=r"s\.txt, line 9: its vector holds NaN .* precision=fp32"):
        write_vectors(lines, output, embed, SETTINGS, tmp_path / "cache")
    assert not output.exists()


def test_nothing_is_left_beside_a_finished_output(lines, tmp_path, whole):
    output = tmp_path / "out" / "e.npy"
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(2), SETTINGS, tmp_path / "cache")
    write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    assert output.read_bytes() == whole
    assert [path.name for path in output.parent.iterdir()] == ["e.npy"]
    assert write_vectors(lines, output, Counted(0), SETTINGS, tmp_path / "cache").kept == ROWS


@contextmanager
def largest_file(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_is_said_in_one_line_and_what_was_written_is_kept(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("".join(f"{number}\n" for number in range(400)))
    lines, output = read_lines(path, 100), tmp_path / "e.npy"
    with (
        largest_file(128 + 300 * WIDTH * 4),
        pytest.raises(UserError, match=r"e\.npy\.part: cannot be written: File too large"),
    ):
        write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache")
    assert not output.exists()
    assert write_vectors(lines, output, Counted(), SETTINGS, tmp_path / "cache").kept == 300
    assert np.load(output)[-1, 0] == 399


# --- The input

LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(LINE, min_size=1, max_size=20), st.integers(1, 7), st.booleans(), st.booleans())
def test_blocks_are_the_files_lines(tmp_path_factory, texts, block, last_end, windows):
    path = tmp_path_factory.mktemp("lines") / "s.txt"
    end = "\r\n" if windows else "\n"
    content = (end.join(texts) + (end if last_end or not texts[-1] else "")).encode()
    path.write_bytes(content)
    lines = read_lines(path, block)
    assert lines.count == len(texts) and lines.sha256 == hashlib.sha256(content).hexdigest()
    for first in range(len(lines.offsets) + 1):
        found = list(lines.blocks(first))
        assert [text for block_ in found for text in block_] == texts[first * block :]
        assert all(len(block_) == block for block_ in found[:-1])


def test_what_others_take_for_line_ends_is_text(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("one\u2028two\x0cthree\n  four \n", encoding="utf-8", newline="")
    assert list(read_lines(path, 9).blocks()) == [["one\u2028two\x0cthree", "  four "]]


def test_the_mark_that_windows_puts_at_the_head_is_no_text(tmp_path):
    path, plain = tmp_path / "s.txt", tmp_path / "plain.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\r\n")
    plain.write_bytes(b"one\r\n\xef\xbb\xbftwo\r\n")
    lines = read_lines(path, 1)
    assert [*lines.blocks()] == [["one"], ["\ufefftwo"]] and [*lines.blocks(1)] == [["\ufefftwo"]]
    assert lines.sha256 == read_lines(plain, 1).sha256


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
        read_lines(path, 2)
    with pytest.raises(UserError, match="No such file"):
        read_lines(tmp_path / "none.txt", 2)
