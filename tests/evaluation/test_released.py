"""Published scores are ours, and `make verify-released` says what holds, does not, is missing."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbert_repro.encoders.released import released
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation import released as scores_of_others
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.released import MINILM, PUBLISHED, SBERT_NLI_BASE, Check, verify
from sbert_repro.facts import is_partial
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.tables import spec

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "verify_released.py"
SEVEN = ["sts12", "sts13", "sts14", "sts15", "sts16", "stsb"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """As many pairs as STSb's test split has, so that it counts as complete."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(4)
    words = "a the man dog plays sleeps park guitar".split()
    texts = [" ".join(generator.choice(words, n)) for n in generator.integers(1, 6, 2 * 1_379)]
    score = generator.uniform(0, 5, 1_379)
    frame = pd.DataFrame({"sentence1": texts[::2], "sentence2": texts[1::2], "score": score})
    (root / "stsb").mkdir()
    frame.to_parquet(root / "stsb" / "test.parquet")
    return root


@pytest.fixture
def models(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "models" / "tiny")
    types = [("Transformer", ""), ("Pooling", "1_Pooling")]
    described = [{"type": f"sentence_transformers.models.{t}", "path": p} for t, p in types]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    return folder.parent


@pytest.fixture
def command(monkeypatch, data, models, tmp_path, capsys):
    """Runs the command on other published scores; gives its status and what it printed."""
    spec_of = importlib.util.spec_from_file_location("verify_released", SCRIPT)
    module = importlib.util.module_from_spec(spec_of)
    spec_of.loader.exec_module(module)

    def run(*published, more=()):
        paths = [f"paths.data={data}", f"paths.models={models}", f"paths.cache={tmp_path}/cache"]
        monkeypatch.setattr("sys.argv", ["verify_released.py", *paths, *more])
        monkeypatch.setattr(scores_of_others, "PUBLISHED", published)
        try:
            module.main()
            status = 0
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return run


def published(model, score, tolerance=0.1):
    return replace(MINILM, model=model, scores={"stsb": score}, tolerance=tolerance)


@pytest.fixture
def measured(models, data):
    (check,) = verify(published("tiny", 0.0), released(str(models / "tiny")), data, None)
    assert check.n == 1_379
    return check.ours


def test_scores_that_hold(command, measured):
    status, out = command(published("some-one/tiny", measured + 0.09))
    assert status == 0 and "1 of 1 published scores hold; 0 of 1 models skipped" in out
    assert f"{measured:.2f}" in out and "-0.090" in out and "holds" in out


@pytest.mark.parametrize("apart", [0.11, -0.11])
def test_a_score_that_does_not_hold_is_status_1_also_when_ours_is_higher(command, measured, apart):
    status, out = command(published("tiny", measured), published("tiny", measured + apart))
    assert status == 1 and "OFF" in out and "1 of 2 published scores hold" in out


def test_a_model_that_is_not_there_is_skipped_with_its_reason(command, measured):
    status, out = command(published("some-one/absent", 70.0), published("tiny", measured))
    assert status == 0 and "1 of 1 published scores hold; 1 of 2 models skipped" in out
    (line,) = [line for line in out.splitlines() if line.startswith("skipped: ")]
    assert "some-one/absent on this machine" in line and "hf download" in line


def test_a_model_that_is_there_and_damaged_is_no_skip(command, models):
    (models / "tiny" / "modules.json").write_text("[{")
    with pytest.raises(UserError, match="damaged"):
        command(published("tiny", 1.0))


def test_a_misspelt_option_is_refused(command):
    with pytest.raises(UserError, match="there is no such option"):
        command(published("tiny", 1.0), more=["path.data=x"])


def test_a_score_that_is_not_defined_does_not_hold():
    assert not Check("stsb", 3, 0.0, None, 0.1).holds


def test_published_scores_are_the_papers_but_for_stsb():
    (row,) = [row for row in spec.load("1").rows if row.name == "SBERT-NLI-base"]
    names = {"sickr": "SICK-R", "stsb": "STSb"}
    paper = {task: row.paper[names.get(task, task.upper())] for task in SBERT_NLI_BASE.scores}
    assert {**paper, "stsb": 76.98} == SBERT_NLI_BASE.scores
    assert list(MINILM.scores) == [*SEVEN, "sickr_all"]
    assert all(len(one.revision) == 40 and one.tolerance <= 0.1 for one in PUBLISHED)


# 29,023 sentences: a minute on two free cores, several on busy ones.
@pytest.mark.timeout(1500)
def test_all_seven_scores_of_minilm_are_the_published_ones(minilm, data_root):
    encoder = TransformerEncoder(str(minilm), MeanPooling())
    published = dict(MINILM.scores)
    scores = evaluate(encoder, list(published), data_root)
    found = {task: scores[task].get("all", scores[task].get("spearman")) for task in published}
    assert found == {task: pytest.approx(score, abs=0.01) for task, score in published.items()}
    assert sum(scores[task]["n"] for task in published) == 23_850
    assert not any(is_partial(scores[task]["facts"]) for task in published)
