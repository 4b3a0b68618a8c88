"""Scores on the screen and in the file."""

import io
import json

import pytest
from rich.console import Console

from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.show import as_json, check_writable, table


def shown(scores):
    console = Console(file=io.StringIO(), width=80)
    console.print(table(scores))
    return console.file.getvalue()


def test_a_row_a_task_within_80_columns_and_notes_below(small_root, hashes):
    scores = evaluate(hashes(), "sts12,sickr_all", small_root, allow_partial=True)
    text = shown(scores)
    for number in (
        scores["sts12"]["all"],
        scores["sts12"]["wmean"],
        scores["sickr_all"]["pearson"],
    ):
        assert f"{number:.2f}" in text
    assert "sickr_all" in text and "hashes" in text and "…" not in text
    assert "STS12: 40 of 3,108 pairs" in text


def test_an_undefined_score_is_a_dash_and_null(small_root, hashes):
    encoder = hashes()
    encoder.encode = lambda sentences: [[1.0, 1.0]] * len(sentences)
    scores = evaluate(encoder, "stsb", small_root, allow_partial=True)
    assert "—" in shown(scores)
    assert json.loads(as_json(scores))["stsb"]["spearman"] is None


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="this is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "e.json")
    check_writable(tmp_path / "new" / "e.json")
    assert list((tmp_path / "new").iterdir()) == []
