"""A file is there whole and as expected, or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from sbert_repro.data.download import fetch, member
from sbert_repro.errors import UserError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A tar file whose members try to leave their folder."""
    path = tmp_path / "bundle.tar"
    link = tarfile.TarInfo("SICK/link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(path, "w") as tar:
        for name in ("../outside.txt", "/absolute.txt", "./SICK/train.txt", "data/STS/a.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
        tar.addfile(link)
    return path


def test_what_is_fetched_is_the_file(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    got = fetch(there.as_uri(), tmp_path / "new" / "here", digest)
    assert got.read_bytes() == b"content"


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_bytes(b"content")
    assert fetch("https://example.org/gone", here) == here


def test_a_file_that_was_changed_at_its_source(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"other")
    with pytest.raises(UserError, match=r"has sha256 .*, expected aaaa"):
        fetch(there.as_uri(), tmp_path / "here", "aaaa")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("url", ["https://localhost:9/x.tar", "file:///nowhere/x.tar"])
def test_no_network_is_one_line_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    """Tests have no network: that is what a compute node looks like."""
    with pytest.raises(UserError, match=r"cannot get .*x\.tar.*`make data` needs the network") as e:
        fetch(url, tmp_path / "downloads" / "x.tar")
    assert "\n" not in str(e.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_other_ways_to_name_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot download ftp://x: expected http"):
        fetch("ftp://x", tmp_path / "x")


def test_a_member_is_read_wherever_the_archive_puts_it(archive: Path) -> None:
    assert member(archive, "SICK/train.txt") == b"./SICK/train.txt"
    assert member(archive, "STS/a.txt") == b"data/STS/a.txt"


def test_an_archive_writes_nothing(archive: Path, tmp_path: Path) -> None:
    member(archive, "SICK/train.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.tar"]
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize("name", ["SICK/test.txt", "SICK/link.txt"])
def test_a_member_that_is_not_there(name: str, archive: Path) -> None:
    with pytest.raises(UserError, match=f"holds no file {name}"):
        member(archive, name)


def test_a_truncated_archive(archive: Path) -> None:
    archive.write_bytes(b"not a tar file at all")
    with pytest.raises(UserError, match="is no readable tar file"):
        member(archive, "SICK/train.txt")
