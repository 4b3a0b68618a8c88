"""Where numbers come from: code, machine and versions."""

import subprocess
import sys

from sbert_repro.provenance import git_state, provenance


def test_provenance_names_code_machine_and_versions():
    found = provenance()
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"]


def test_results_do_not_make_the_code_dirty(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    assert git_state(tmp_path)["commit"] is None
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("1")
    git("init", "-q")
    git("add", "src")
    git("commit", "-qm", "x")
    (tmp_path / "results.csv").write_text("1")
    assert git_state(tmp_path) == {"commit": git_state(tmp_path)["commit"], "dirty": False}
    (tmp_path / "src" / "new.py").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
