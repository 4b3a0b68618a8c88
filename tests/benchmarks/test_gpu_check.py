"""scripts/gpu_check.py on a machine without a GPU: it says so, and runs what a CPU can."""

from __future__ import annotations

import json

import pytest
import torch

from sbert_repro.benchmarks import gpu_check
from sbert_repro.benchmarks.gpu_check import Check
from sbert_repro.compose import compose
from sbert_repro.errors import UserError

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
FAILS = ("-c", "print('before'); raise SystemExit('the kernel is not there')")


@pytest.fixture
def two_checks(monkeypatch):
    """One that holds on a CPU, one that fails on it, and one that only a GPU runs."""
    some = [
        Check("a", "holds", ("-c", "print('all right')"), on_cpu=True),
        Check("a", "fails", FAILS, on_cpu=True),
        Check("a", "needs a card", ("-c", "print('never')")),
        Check("b", "of another part", FAILS, on_cpu=True),
    ]
    monkeypatch.setattr(gpu_check, "checks", lambda cache: some)
    monkeypatch.setattr(gpu_check, "prepare_weights", lambda cache: None)


def test_a_failure_is_noted_and_ends_nothing(two_checks, tmp_path):
    found = {one.name: one for one in gpu_check.run("a", tmp_path, tmp_path)}
    assert [one.state for one in found.values()] == ["held", "failed", "not run"]
    assert found["holds"].said == "all right"
    assert found["fails"].said.splitlines() == ["before", "the kernel is not there"]
    assert found["needs a card"].said.startswith("on a GPU: ")
    assert not (tmp_path / "gpu").exists(), "nothing is claimed without a card"
    with pytest.raises(UserError, match=r"part=d: expected one of a, b, c"):
        next(gpu_check.run("d", tmp_path, tmp_path))


def test_with_a_card_a_report_of_each_part_is_written(two_checks, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    assert [one.state for one in gpu_check.run("a", tmp_path, tmp_path)] == [
        "held",
        "failed",
        "held",
    ]
    report = json.loads((tmp_path / "gpu" / "part_a.json").read_text())
    assert report["card"] == "a card" and [one["name"] for one in report["checks"]] == [
        "holds", "fails", "needs a card",
    ]  # fmt: skip
    page = (tmp_path / "gpu" / "part_a.md").read_text()
    assert "| fails | failed |" in page and "the kernel is not there" in page


def test_every_command_of_a_check_has_options_that_exist(tmp_path):
    commands = {"train.py": "train", "scripts/evaluate.py": "evaluate"}
    for check in gpu_check.checks(tmp_path):
        start, *words = check.words
        if start == "two_seeds":
            start, *words = words
        assert start in commands or start in gpu_check.FUNCTIONS or start.startswith("scripts/")
        if start in commands:
            compose(words, commands[start])


def test_vectors_of_each_precision_are_beside_the_references(tmp_path, monkeypatch, tiny_bert):
    monkeypatch.setattr(gpu_check, "prepare_weights", lambda cache: tiny_bert)
    monkeypatch.setattr(gpu_check, "LEAST_COSINE", 1.1)
    config = compose(["profile=demo", f"paths.cache={tmp_path}"], "evaluate")
    gpu_check.prepare(config)
    with pytest.raises(UserError, match="demo-bert, mean, fp32, engine packed: a cosine of"):
        list(gpu_check.agreement(tmp_path))
