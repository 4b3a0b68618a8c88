"""metrics.json: dev and test scores of a run, in JSON that every program reads."""

import json
import math
import multiprocessing

from sbert_repro.composition import compose
from sbert_repro.evaluation.run import evaluate_trained
from sbert_repro.training import metrics
from sbert_repro.training.run import train


def strict(path):
    """The file as a reader sees it who knows no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_what_is_no_number_is_null(tmp_path):
    metrics.add(tmp_path / "k", {"dev": math.nan, "loss": math.inf, "best_step": None, "a": 1.5})
    found = strict(tmp_path / "k" / "metrics.json")
    assert found == {"key": "k", "dev": None, "loss": None, "best_step": None, "a": 1.5}


def test_scores_are_added_and_a_damaged_or_old_file_is_mended(tmp_path):
    path = tmp_path / "k" / "metrics.json"
    path.parent.mkdir()
    path.write_text('{"key": "k", "dev": NaN}')
    metrics.add(tmp_path / "k", {"stsb": 70.0})
    assert strict(path) == {"key": "k", "dev": None, "stsb": 70.0}
    path.write_text('{"key": "k", "de')
    metrics.add(tmp_path / "k", {"stsb": 71.0})
    assert strict(path) == {"key": "k", "stsb": 71.0}


def _add(folder, number):
    metrics.add(folder, {f"task_{number}": float(number)})


def test_two_commands_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(tmp_path / "k", n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(strict(tmp_path / "k" / "metrics.json")) == 9


def test_a_run_has_its_test_scores_too(overrides, tmp_path):
    typed = overrides("loss=regression", "evaluate=[stsb_dev]", "trainer.max_steps=2")
    config = compose(typed)
    record = train(config, typed)
    path = tmp_path / "results" / "runs" / record["key"] / "metrics.json"
    assert "stsb_dev" not in strict(path)
    scores = evaluate_trained(config, record["key"])
    found = strict(path)
    assert found["stsb_dev"] == scores["stsb_dev"]
    assert found["dev_spearman"] == record["scores"]["dev_spearman"]
    path.unlink()
    evaluate_trained(config, record["key"])
    assert strict(path) == found, "it is made again from the ledger"
