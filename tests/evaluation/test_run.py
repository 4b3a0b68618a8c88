"""Evaluation through the ledger: once a model, task and data; missing ones together."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from sbert_repro.backbone.transformer import load as load_model
from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.compose import build, compose
from sbert_repro.data.schema import dataset
from sbert_repro.encoders.tfidf import TfidfEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation import run
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.tasks import TASKS, load, resolve
from sbert_repro.facts import rows, sentences
from sbert_repro.ledger import Ledger
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.training.run import train
from sbert_repro.training.save import save_model

from .conftest import pairs as made_up_pairs


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "runs")


def pairs(tasks, root):
    return [load(task, root, allow_partial=True) for task in resolve(tasks, root)]


def test_only_missing_tasks_are_computed_and_together(small_root, hashes, ledger):
    first = run.evaluate_once(hashes(), pairs("stsb", small_root), ledger)
    encoder = hashes()
    later = run.evaluate_once(encoder, pairs("stsb,sts12,sickr", small_root), ledger)
    assert later["stsb"] == first["stsb"] and len(encoder.asked) == 1
    again = hashes()
    assert run.evaluate_once(again, pairs("stsb,sts12,sickr", small_root), ledger) == later
    assert again.asked == []
    assert len(ledger.keys()) == 3


def test_what_hears_of_a_new_score_hears_it_before_the_ledger(small_root, hashes, ledger):
    heard = []

    def killed(records):
        heard.append((list(records), ledger.keys()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate_once(hashes(), pairs("stsb", small_root), ledger, before=killed)
    assert heard == [(["stsb"], [])] and ledger.keys() == []
    run.evaluate_once(hashes(), pairs("stsb", small_root), ledger)
    run.evaluate_once(hashes(), pairs("stsb", small_root), ledger, before=killed)
    assert len(heard) == 1, "only of what is new"


def test_a_record_says_what_was_computed(small_root, hashes, ledger):
    nli = rows("nli", "train", title="NLI", unit="pairs", used=20, expected=942_069)
    encoder = hashes()
    encoder.facts = [nli]
    (one,) = pairs("stsb", small_root)
    record = run.evaluate_once(encoder, [one], ledger)["stsb"]
    assert record["kind"] == "evaluate" and record["seed"] is None
    assert record["key"] == run.score_key(encoder, one)
    assert record["settings"]["encoder"] == encoder.identity
    assert record["settings"]["data"] == one.sha256
    assert record["facts"] == [nli, *one.facts] and "facts" not in record["scores"]
    assert record["scores"]["n"] == 30 and record["wall_seconds"] >= 0
    assert record["threads"] == torch.get_num_threads()


def test_the_key_knows_model_task_and_data_and_not_the_label(small_root, hashes):
    (one,) = pairs("stsb", small_root)
    (other,) = pairs("sickr", small_root)
    same = hashes()
    same.label = "another name"
    assert run.score_key(hashes(), one) == run.score_key(same, one)
    assert run.score_key(hashes(salt="x"), one) != run.score_key(same, one)
    assert run.score_key(same, other) != run.score_key(same, one)
    path = small_root / "stsb" / "test.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    (changed,) = pairs("stsb", small_root)
    assert run.score_key(same, changed) != run.score_key(same, one)


def test_looking_up_computes_nothing(small_root, hashes, ledger):
    encoder = hashes()
    run.evaluate_once(hashes(), pairs("sts12", small_root), ledger)
    found = run.look_up(encoder, pairs("sts12,stsb", small_root), ledger)
    assert found["sts12"]["scores"]["n"] == 40 and found["stsb"] is None
    assert encoder.asked == []


def _score_in_a_process(encoder, root, runs, answers):
    run.evaluate_once(encoder, pairs("stsb,sts12", root), Ledger(runs))
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


class Sent:
    """A run in W&B that keeps what it was given."""

    def __init__(self, sent, *given):
        sent.append(self)
        self.given = given

    def summary(self, values):
        self.scores = values

    def finish(self):
        pass


def test_new_scores_of_an_encoder_go_to_wandb_once_as_a_run_of_its_own(
    small_root, tiny_bert, tmp_path, monkeypatch
):
    sent = []
    monkeypatch.setattr(run.tracking, "start", lambda *given: Sent(sent, *given))
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    words = ["encoder=transformer", f"encoder.path={tiny_bert}", "data.allow_partial=true", "task="]
    config = compose([*words, *paths], "evaluate")
    for tasks in (["stsb"], ["stsb", "sts12"], ["stsb", "sts12"]):
        run.score(config, None, tasks)
    assert [set(one.scores) for one in sent] == [{"test/stsb"}, {"test/sts12"}]
    assert [one.given[2] for one in sent] == ["evaluate"] * 2
    assert len({one.given[1] for one in sent}) == 1, "the same run"


def test_a_trained_run_is_scored_with_its_own_pooling_and_facts(
    small_root, tiny_bert, tmp_path, monkeypatch
):
    key, root = "0123456789abcdef", Ledger(tmp_path / "results" / "runs")
    model = (load_model(tiny_bert), load_tokenizer(tiny_bert), MaxPooling(), RegressionLoss())
    save_model(root.folder(key) / "model", *model, {"max_length": 9, "layer": "last"})
    parts = {"loss": "regression", "pooling": "max", "optimizer": "adamw"}
    settings = {
        "encoder": {"layer": "last"},
        **{part: {"name": word} for part, word in parts.items()},
        "data": {"name": "nli", "dev": None},
    }
    trained = {
        "kind": "train",
        "settings": settings,
        "scores": {},
        "seed": 1,
        "facts": [rows("nli", "train", title="NLI", unit="pairs", used=2, expected=4)],
    }
    root.put(key, trained)
    paths = [f"paths.{name}={tmp_path / name}" for name in ("data", "results", "cache")]
    config = compose([*paths, "data.allow_partial=true", "evaluate=[stsb,sts12]"])
    sent = []
    monkeypatch.setattr(run.tracking, "start", lambda *given: Sent(sent, *given))
    scores = run.main_scores(run.evaluate_trained(config, key))
    run.evaluate_trained(config, key)
    (run_of_wandb,) = sent
    assert run_of_wandb.given[1:3] == (key, "train")
    assert run_of_wandb.scores == {f"test/{task}": score for task, score in scores.items()}
    records = run.scored(config, key, "stsb,sts12")
    assert scores == {
        "stsb": records["stsb"]["scores"]["spearman"],
        "sts12": records["sts12"]["scores"]["all"],
    }
    assert records["stsb"]["settings"]["encoder"]["pooling"][0] == "max"
    assert sentences(records["stsb"]["facts"]) == [
        "NLI: 2 of 4 training pairs",
        "STSb: 30 of 1,379 test pairs",
    ]
    assert records["stsb"]["run"] == key
    assert run.evaluate_trained(compose([*paths, "evaluate=[]"]), key) == {}


# The records in results/lite were computed under these keys; they stay valid while the keys stay.
KEYS = {
    "minilm_l6": {"stsb": "b6aca98893680aaa", "sts12": "8cfd5a2049986244"},
    "glove_small": {"stsb": "560b27e1cc7f6f6f", "bws": "c2f0260d1bedf83c"},
    "tfidf": {"bws": "040764a70b95ca29", "mr": "7a1133d84fdf9e93"},
}


@pytest.mark.parametrize("encoder", KEYS)
def test_scores_computed_before_are_found_by_the_same_keys(encoder, data_root, models_root):
    words = [f"encoder={encoder}", f"paths.data={data_root}", f"paths.models={models_root}"]
    model = run.encoder_of(compose([*words, "progress=false"], "evaluate"))
    for task, key in KEYS[encoder].items():
        assert run.score_key(model, load(TASKS[task], data_root, folds="all_topics")) == key


def test_the_key_knows_which_folds_of_afs_are_averaged(data_root):
    model = TfidfEncoder()
    within, over = (
        run.score_key(model, load(TASKS["bws"], data_root, folds=folds))
        for folds in ("within_topic", "all_topics")
    )
    assert within != over
    words = ["encoder=tfidf", f"paths.data={data_root}"]
    (data,) = run._data(compose(words, "evaluate"), "bws")
    assert run.score_key(model, data) == within, "the default"


@pytest.fixture
def cross_options(tiny_bert, small_root, tmp_path):
    for name, count in (("train", 16), ("dev", 8)):
        made_up_pairs(count, count).to_parquet(small_root / "stsb" / f"{name}.parquet")
    record = dataset("bws")
    frame = made_up_pairs(60, 60)
    frame["score"] /= 5
    frame[record.subset_column] = np.resize(["cloning", "gun control", "wind"], 60)
    (small_root / "bws").mkdir()
    frame.to_parquet(small_root / "bws" / "all.parquet")
    return [
        "encoder=transformer",
        f"encoder.path={tiny_bert}",
        "experiment=cross_encoder_stsb",
        f"paths.data={small_root}",
        f"paths.results={tmp_path / 'results'}",
        f"paths.cache={tmp_path / 'cache'}",
        "data.allow_partial=true",
        "profile.afs_folds=all_topics",  # of 60 pairs
        "trainer.max_steps=3",
        "trainer.accelerator=cpu",
        "trainer.progress=false",
    ]


def test_a_trained_cross_encoder_is_scored_by_its_own_scores(cross_options, small_root, tmp_path):
    config = compose([*cross_options, "evaluate=[stsb,sickr,bws]"])
    key = train(config, cross_options)["key"]
    found = run.main_scores(run.evaluate_trained(config, key))
    assert set(found) == {"stsb", "sickr", "bws"} and np.isfinite(list(found.values())).all()
    records = run.scored(config, key, ["stsb"])
    assert records["stsb"]["settings"]["encoder"]["encoder"] == "cross_encoder"

    folder = tmp_path / "results" / "runs" / key / "model"
    node = compose(["encoder=cross_encoder", f"encoder.path={folder}"], "evaluate").encoder
    model = build(node, models_root=None, precision="fp32", progress=False)
    frame = pd.read_parquet(small_root / "stsb" / "test.parquet")
    scores = model.score(list(zip(frame.sentence1, frame.sentence2, strict=True)))
    by_hand = 100 * stats.spearmanr(scores, frame.score)[0]
    assert found["stsb"] == pytest.approx(by_hand)
    again = evaluate(model, "stsb,bws", small_root, allow_partial=True, folds="all_topics")
    assert again["stsb"]["spearman"] == pytest.approx(found["stsb"], abs=1e-9)
    assert again["stsb"]["similarities"] == {} and again["bws"]["n"] == 60
    assert again["_meta"]["label"] == "model"
    json.dumps(again, allow_nan=False)


def test_the_first_stage_of_a_cross_encoder_has_no_score_to_evaluate(cross_options):
    first = [o for o in cross_options if not o.startswith("experiment")] + ["data.dev=null"]
    config = compose([*first, "experiment=cross_encoder_nli"])
    assert list(config.evaluate) == []
    folder = _nli(config)
    record = train(config, [*first, "experiment=cross_encoder_nli"])
    assert folder.exists() and run.evaluate_trained(config, record["key"]) == {}
    with pytest.raises(UserError, match="not a cross-encoder that gives a score"):
        run.scored(config, record["key"], ["stsb"])


def _nli(config):
    folder = Path(config.paths.data) / "nli"
    folder.mkdir()
    frame = made_up_pairs(16, 5).rename(columns={"sentence1": "premise", "sentence2": "hypothesis"})
    frame["label"] = np.resize(["contradiction", "entailment", "neutral"], 16)
    frame.assign(source="snli").drop(columns="score").to_parquet(folder / "train.parquet")
    return folder


def test_every_score_of_a_model_is_a_line_and_so_is_their_mean():
    records = {
        "sts12": {"scores": {"all": 42.0, "pearson": 45.5}},
        "trec": {"scores": {"accuracy": 71.0}},
    }
    assert run.in_lines(records) == [
        "sts12 42.0000, Pearson 45.5000",
        "trec 71.0000",
        "mean of 2 tasks 56.5000",
    ]
    assert run.in_lines({"stsb": {"scores": {"spearman": None, "pearson": None}}}) == ["stsb nan"]
    assert run.in_lines({}) == []
