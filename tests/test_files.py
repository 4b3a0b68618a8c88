"""Files are whole or not there; contents have names."""

import os
import subprocess
import sys

import pytest

from sbert_repro.errors import UserError
from sbert_repro.files import atomic_write, folder_sha256, replacing, sha256_of


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    atomic_write(path, "old")

    def fail_midway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail_midway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from sbert_repro.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    path = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "half"
    with replacing(path) as living:
        living.write_text("mine")
        assert not left.exists()
        atomic_write(path, "other")
        assert living.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "mine"


def test_a_full_device_is_one_line_and_nothing_half_written(tmp_path):
    """A real full file system: 64 KiB of tmpfs, in a mount namespace of its own."""
    script = (
        "from pathlib import Path\nfrom sbert_repro.files import atomic_write\n"
        f"root = Path({str(tmp_path)!r})\natomic_write(root / 'a', 'whole')\n"
        "try:\n    atomic_write(root / 'a', 'x' * 1_000_000)\n"
        "except Exception as e:\n    print(type(e).__name__, e)\n"
        "print((root / 'a').read_text(), [p.name for p in root.iterdir()])\n"
    )
    mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mount],
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert first.startswith("UserError cannot write")
    assert "no space left on the device" in first
    assert second == "whole ['a']"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="permission denied"):
        atomic_write(tmp_path / "a", "x")


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        atomic_write(tmp_path / "results" / "a", "x")


def test_the_sha256_of_a_folder_is_its_content_not_its_place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "README.md").write_text(name)
    first = folder_sha256(tmp_path / "a", (".safetensors",))
    assert first == folder_sha256(tmp_path / "b", (".safetensors",))
    (tmp_path / "b" / "model.safetensors").write_bytes(b"Weights")
    assert first != folder_sha256(tmp_path / "b", (".safetensors",))


def test_a_changed_file_has_another_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = sha256_of(path)
    path.write_bytes(b"22")
    assert sha256_of(path) != before
