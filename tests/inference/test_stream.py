"""Vectors on disk: the same bytes however often the work was killed, nothing else overwritten."""

import os
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from sbert_repro.data.lines import look_through
from sbert_repro.errors import UserError
from sbert_repro.inference.stream import write_vectors

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
    return look_through(path, BLOCK)


@pytest.fixture
def whole(lines, tmp_path):
    """The bytes of an undisturbed run."""
    write_vectors(lines, tmp_path / "whole.npy", Counted(), SETTINGS)
    return (tmp_path / "whole.npy").read_bytes()


def test_the_file_is_an_npy_of_all_rows(lines, tmp_path):
    done = []
    output = tmp_path / "new" / "e.npy"
    written = write_vectors(lines, output, Counted(), SETTINGS, advance=done.append)
    assert (written.rows, written.width, written.kept) == (ROWS, WIDTH, 0) and sum(done) == ROWS
    found = np.load(output, mmap_mode="r")
    np.testing.assert_array_equal(found, np.arange(ROWS)[:, None].repeat(WIDTH, 1))
    assert not list(output.parent.glob("*.part"))


@pytest.mark.parametrize("stop", range(5))
def test_killed_and_started_again_it_gives_the_same_bytes(lines, tmp_path, whole, stop):
    output = tmp_path / "e.npy"
    if (child := os.fork()) == 0:
        try:
            write_vectors(lines, output, Counted(stop, kill=True), SETTINGS)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not output.exists()
    again = Counted()
    written = write_vectors(lines, output, again, SETTINGS)
    assert output.read_bytes() == whole
    assert written.kept == stop * BLOCK and again.blocks == 5 - stop
    assert write_vectors(lines, output, Counted(0), SETTINGS).kept == ROWS


def test_a_block_half_written_is_written_again(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(2), SETTINGS)
    part = tmp_path / "e.npy.part"
    part.write_bytes(part.read_bytes() + b"half a block")
    write_vectors(lines, output, Counted(), SETTINGS)
    assert output.read_bytes() == whole


def test_a_part_that_lost_what_the_journal_counts_is_begun_anew(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(3), SETTINGS)
    part = tmp_path / "e.npy.part"
    part.write_bytes(part.read_bytes()[:-1])
    assert write_vectors(lines, output, Counted(), SETTINGS).kept == 0
    assert output.read_bytes() == whole


@pytest.mark.parametrize("stop", [2, None])
def test_an_output_of_something_else_is_kept_unless_told(lines, tmp_path, stop):
    output, other = tmp_path / "e.npy", {"encoder": {"name": "another"}}
    if stop is None:
        write_vectors(lines, output, Counted(), SETTINGS)
    else:
        with pytest.raises(KeyboardInterrupt):
            write_vectors(lines, output, Counted(stop), SETTINGS)
    with pytest.raises(UserError, match=r"made with another encoder; .* overwrite=true"):
        write_vectors(lines, output, Counted(), other)
    assert write_vectors(lines, output, Counted(), other, overwrite=True).kept == 0


def test_a_file_of_the_users_own_is_not_overwritten_and_stays_until_it_is(lines, tmp_path, whole):
    output = tmp_path / "e.npy"
    output.write_text("mine")
    with pytest.raises(UserError, match="nothing says what it was made from"):
        write_vectors(lines, output, Counted(), SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        write_vectors(lines, output, Counted(2), SETTINGS, overwrite=True)
    assert output.read_text() == "mine"
    write_vectors(lines, output, Counted(), SETTINGS)
    assert output.read_bytes() == whole


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
    lines, output = look_through(path, 100), tmp_path / "e.npy"
    with (
        largest_file(128 + 300 * WIDTH * 4),
        pytest.raises(UserError, match=r"e\.npy\.part: cannot be written: File too large"),
    ):
        write_vectors(lines, output, Counted(), SETTINGS)
    assert not output.exists()
    assert write_vectors(lines, output, Counted(), SETTINGS).kept == 300
    assert np.load(output)[-1, 0] == 399
