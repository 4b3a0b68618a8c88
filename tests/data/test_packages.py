"""Files of installed packages: found without an import, refused unless they are the known ones."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sbert_repro.data.packages import INSTALL, PACKAGES, Package
from sbert_repro.errors import UserError
from sbert_repro.storage import sha256_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package as pip leaves it, which stops whoever imports it."""
    folder = tmp_path / "some_data-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n")
    (tmp_path / "some_data").mkdir()
    (tmp_path / "some_data" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "some_data" / "numbers.npy").write_bytes(b"1 2 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "some_data" / "numbers.npy"


def package(sha256: str, name: str = "some-data") -> Package:
    return Package(name, "the numbers", {"some_data/numbers.npy": sha256}, "a source", "a licence")


def test_a_file_is_found_without_an_import(installed):
    assert package(sha256_of(installed)).files() == [installed]
    assert "some_data" not in sys.modules


def test_another_release_is_refused_in_one_line(installed):
    with pytest.raises(UserError) as caught:
        package("0" * 64).files()
    said = str(caught.value)
    assert re.match(r"numbers\.npy of the package some-data has sha256 \w{12}…, expected", said)
    assert INSTALL in said and str(installed.parent) not in said and caught.value.code == "refused"
    installed.unlink()
    with pytest.raises(UserError, match=r"numbers\.npy of the package some-data is missing"):
        package("0" * 64).files()


def test_a_package_that_is_not_there_says_how_to_get_it():
    with pytest.raises(UserError) as caught:
        package("0" * 64, "nobody-made-this").files()
    assert str(caught.value) == (
        "the numbers come with the package nobody-made-this, which is not installed: "
        "make setup EXTRAS=lite"
    )
    assert caught.value.code == "missing"


@pytest.mark.parametrize("one", PACKAGES, ids=lambda one: one.name)
def test_the_lock_installs_the_release_whose_files_are_known(one):
    lock = (ROOT / "requirements-lite.lock").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lock if line.startswith(f"{one.name}==")]
    try:
        version = distribution(one.name).version
    except PackageNotFoundError:
        pytest.skip(f"{one.name} is not installed: {INSTALL}")
    assert Requirement(line).specifier.contains(version)
    assert all(path.is_file() for path in one.files())
