"""Evaluation through the ledger: once a model, task and data; missing ones together."""

import multiprocessing

import pandas as pd
import pytest
import torch

from sbert_repro.backbone.transformer import load as load_model
from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.composition import compose
from sbert_repro.evaluation import run
from sbert_repro.evaluation.tasks import load, resolve
from sbert_repro.ledger import Ledger
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.training.save import save_model


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "runs")


def pairs(tasks, root):
    return [load(task, root, allow_partial=True) for task in resolve(tasks, root)]


def test_only_missing_tasks_are_computed_and_together(small_root, hashes, ledger):
    first = run.evaluate_run(hashes(), pairs("stsb", small_root), ledger)
    encoder = hashes()
    later = run.evaluate_run(encoder, pairs("stsb,sts12,sickr", small_root), ledger)
    assert later["stsb"] == first["stsb"] and len(encoder.asked) == 1
    again = hashes()
    assert run.evaluate_run(again, pairs("stsb,sts12,sickr", small_root), ledger) == later
    assert again.asked == []
    assert len(ledger.keys()) == 3


def test_what_hears_of_a_new_score_hears_it_before_the_ledger(small_root, hashes, ledger):
    heard = []

    def killed(records):
        heard.append((list(records), ledger.keys()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate_run(hashes(), pairs("stsb", small_root), ledger, before=killed)
    assert heard == [(["stsb"], [])] and ledger.keys() == []
    run.evaluate_run(hashes(), pairs("stsb", small_root), ledger)
    run.evaluate_run(hashes(), pairs("stsb", small_root), ledger, before=killed)
    assert len(heard) == 1, "only of what is new"


def test_a_record_says_what_was_computed(small_root, hashes, ledger):
    encoder = hashes()
    encoder.notes = ["NLI: 20 of 942,069 pairs"]
    (one,) = pairs("stsb", small_root)
    record = run.evaluate_run(encoder, [one], ledger)["stsb"]
    assert record["kind"] == "evaluate" and record["seed"] is None
    assert record["key"] == run.key_of(encoder, one)
    assert record["settings"]["encoder"] == encoder.identity
    assert record["settings"]["data"] == one.sha256
    assert record["notes"] == ["NLI: 20 of 942,069 pairs", "STSb: 30 of 1,379 pairs"]
    assert record["scores"]["n"] == 30 and record["wall_seconds"] >= 0
    assert record["threads"] == torch.get_num_threads()


def test_the_key_knows_model_task_and_data_and_not_the_label(small_root, hashes):
    (one,) = pairs("stsb", small_root)
    (other,) = pairs("sickr", small_root)
    same = hashes()
    same.label = "another name"
    assert run.key_of(hashes(), one) == run.key_of(same, one)
    assert run.key_of(hashes(salt="x"), one) != run.key_of(same, one)
    assert run.key_of(same, other) != run.key_of(same, one)
    path = small_root / "stsb" / "test.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    (changed,) = pairs("stsb", small_root)
    assert run.key_of(same, changed) != run.key_of(same, one)


def test_looking_up_computes_nothing(small_root, hashes, ledger):
    encoder = hashes()
    run.evaluate_run(hashes(), pairs("sts12", small_root), ledger)
    found = run.look_up(encoder, pairs("sts12,stsb", small_root), ledger)
    assert found["sts12"]["scores"]["n"] == 40 and found["stsb"] is None
    assert encoder.asked == []


def _score_in_a_process(encoder, root, runs, answers):
    run.evaluate_run(encoder, pairs("stsb,sts12", root), Ledger(runs))
    answers.put(len(encoder.asked))


def test_two_processes_on_the_same_cells_compute_them_once(small_root, hashes, ledger):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    work = (hashes(), small_root, ledger.root, answers)
    both = [context.Process(target=_score_in_a_process, args=work) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert sorted(answers.get(timeout=5) for _ in both) in ([0, 1], [0, 0, 1])
    assert len(ledger.keys()) == 2


def test_from_options_to_records(small_root, tiny_bert, tmp_path):
    config = compose(
        [
            "encoder=transformer",
            f"encoder.path={tiny_bert}",
            "pooling=max",
            f"paths.data={small_root}",
            f"paths.results={tmp_path / 'results'}",
            f"paths.cache={tmp_path / 'cache'}",
            "data.allow_partial=true",
        ],
        "evaluate",
    )
    assert run.scored(config, None, ["stsb", "sickr"]) == {"stsb": None, "sickr": None}
    records = run.score(config, None, ["stsb", "sickr"])
    assert run.scored(config, None, ["stsb", "sickr"]) == records
    assert records["stsb"]["settings"]["encoder"]["pooling"][0] == "max"


def test_a_trained_run_is_scored_with_its_own_pooling_and_notes(small_root, tiny_bert, tmp_path):
    key, root = "0123456789abcdef", Ledger(tmp_path / "results" / "runs")
    parts = (load_model(tiny_bert), load_tokenizer(tiny_bert), MaxPooling(), RegressionLoss())
    save_model(root.folder(key) / "model", *parts, {"max_length": 9, "layer": "last"})
    settings = {"encoder": {"layer": "last"}}
    trained = {
        "kind": "train",
        "settings": settings,
        "scores": {},
        "seed": 1,
        "notes": ["few rows"],
    }
    root.put(key, trained)
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    config = compose([*paths, "data.allow_partial=true", "evaluate=[stsb,sts12]"])
    scores = run.evaluate_trained(config, key)
    records = run.scored(config, key, "stsb,sts12")
    assert scores == {
        "stsb": records["stsb"]["scores"]["spearman"],
        "sts12": records["sts12"]["scores"]["all"],
    }
    assert records["stsb"]["settings"]["encoder"]["pooling"][0] == "max"
    assert records["stsb"]["notes"] == ["few rows", "STSb: 30 of 1,379 pairs"]
    assert run.evaluate_trained(compose([*paths, "evaluate=[]"]), key) == {}
