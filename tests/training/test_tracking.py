"""W&B: what a stranger finds there, no secrets, and that its failures never stop a run."""

import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import wandb
from omegaconf import OmegaConf
from PIL import Image

from sbert_repro.compose import compose
from sbert_repro.evaluation.run import evaluate_trained, main_scores
from sbert_repro.training import tracking
from sbert_repro.training.run import train
from sbert_repro.training.tracking import (
    EVALUATE,
    TABLE,
    TRAIN,
    Tracking,
    flat,
    mode,
    start,
    together,
)

from .conftest import Killed, at_step, die


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """An environment in which nobody is logged in."""
    for name in ("WANDB_MODE", "WANDB_DISABLED", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.fixture(autouse=True)
def server_not_asked_yet(monkeypatch):
    monkeypatch.setattr(tracking, "_away", [])


def config_in(folder, chosen="offline"):
    return OmegaConf.create(
        {
            "wandb": {"project": None, "group": None, "name": None, "mode": chosen},
            "paths": {"results": str(folder)},
            "profile": {"name": "demo"},
            "seed": 3,
        }
    )


def records_of(folder):
    """What a run's offline file holds: LevelDB's log of blocks of 32 KiB, of W&B's messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            yield Record.FromString(whole)
            whole = b""


def offline(results):
    """The folders of offline runs, once W&B's service process has ended and all is written."""
    wandb.teardown()
    return sorted(Path(results).glob("wandb/offline-run-*"))


def content_of(folder):
    """The run, the steps and names of its curves, and its summary."""
    found, curves, summary = None, {}, {}
    for record in records_of(folder):
        if record.run.run_id:
            found = record.run
        for item in record.history.item:
            if not (name := "/".join(item.nested_key)).startswith("_"):
                curves.setdefault(name, []).append(record.history.step.num)
        for item in record.summary.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return found, curves, summary


# 12 steps; dev is scored at 4, 6, 8, 10 and 12, saved is at 5, 10 and 12.
def test_a_killed_and_resumed_run_with_its_test_scores_is_one_run(overrides, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    words = overrides(
        "wandb.mode=offline", "wandb.group=table_2_paper", "loss=regression", "evaluate=[stsb_dev]"
    )
    config = compose(words)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 7, die)
        train(config, words)
    with together():
        key = train(config, words)["key"]
        scores = main_scores(evaluate_trained(config, key))
    (folder,) = offline(config.paths.results)
    run, curves, summary = content_of(folder)
    assert (run.run_id, run.resume) == (key, True)
    assert (run.project, run.run_group, run.job_type) == (
        "sbert_repro-paper",
        "table_2_paper",
        "train",
    )
    assert {"regression", "mean"} <= set(run.tags) and run.display_name.endswith(" · seed 1")
    settings = {item.key: json.loads(item.value_json) for item in run.config.update}
    said = {"loss": "regression", "pooling": "mean", "optimizer.lr": 0.001, "data.dev": "stsb"}
    assert said.items() <= settings.items()
    assert not any(isinstance(value, dict) for name, value in settings.items() if name[0] != "_")
    looks = curves.pop("dev/spearman")
    assert looks == [4, 6, 10, 12]
    for name in ("loss", "learning_rate", "gradient_norm", "pairs_per_second"):
        assert curves[f"train/{name}"] == [4, 5, 6, 10, 12], name
    assert summary["test/stsb_dev"] == pytest.approx(scores["stsb_dev"])
    written = b"".join(
        path.read_bytes()
        for path in (folder, *folder.rglob("*.*"))
        if path.suffix in (".wandb", ".txt")
    )
    for private in ("a" * 40, str(tmp_path), str(Path.home()), str(Path.cwd())):
        assert private.encode() not in written
    assert run.host != socket.gethostname() and not list(folder.glob("files/code"))


def test_a_table_with_its_plot_replaces_the_one_before(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "png")
    for _ in range(2):
        run = start(config_in(tmp_path), "table_6_demo", TABLE, {}, {"table": "6"}, anew=True)
        run.log_table("table_6", pd.DataFrame({"row": ["SBERT"], "ours": [77.0]}))
        run.log_plots(lambda: {"table_6": stream.getvalue()})
        run.finish()
    (folder,) = offline(tmp_path)
    found, curves, _ = content_of(folder)
    logged = {name.partition("/")[0] for name in curves}
    assert found.job_type == "table" and logged == {"table_6", "plot table_6"}
    (image,) = folder.glob("files/media/images/*.png")
    assert Image.open(image).size == (3, 2)
    (table,) = folder.glob("files/media/table/*.json")
    assert json.loads(table.read_text())["data"] == [["SBERT", 77.0]]


def test_a_model_is_an_artifact_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    (tmp_path / "model" / "1_Pooling").mkdir(parents=True)
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text("{}")
    run = start(config_in(tmp_path), "0123456789abcdef", EVALUATE, {}, {"encoder": "GloVe"})
    run.log_model(tmp_path / "model", "0123456789abcdef")
    run.finish()
    (artifact,) = (r.artifact for r in records_of(*offline(tmp_path)) if r.artifact.name)
    assert (artifact.name, artifact.type) == ("model-0123456789abcdef", "model")
    assert [file.path for file in artifact.manifest.contents] == ["1_Pooling/config.json"]


class Run:
    """What wandb.init returns, as far as a test looks."""

    def __init__(self, options, logged):
        self.id, self.options, self.logged = options["id"], options, logged

    def log(self, values, step):
        self.logged.append(step)

    def finish(self):
        self.logged.append("finished")


@pytest.mark.parametrize(
    ("chosen", "before", "left", "steps"),
    [
        ("online", ["run-20260101_000000-key/run-key.wandb"], 1, []),
        ("online", ["offline-run-20260101_000000-key/run-key.wandb"], 0, [1]),
        ("offline", ["offline-run-20260101_000000-key/run-key.wandb"], 0, [1]),
        ("offline", ["offline-run-20260101_000000-key/run-key.wandb.synced"], 1, []),
        ("offline", ["run-20260101_000000-key/run-key.wandb"], 1, []),
        ("offline", ["offline-run-20260101_000000-other/run-other.wandb"], 1, [1]),
    ],
)
def test_what_wandb_has_is_neither_removed_nor_logged_again(
    monkeypatch, tmp_path, chosen, before, left, steps
):
    logged = []
    monkeypatch.setattr("wandb.init", lambda **options: Run(options, logged))
    for name in before:
        path = tmp_path / "wandb" / name
        path.parent.mkdir(parents=True)
        path.touch()
    run = start(config_in(tmp_path, chosen), "key", TRAIN, {}, {"loss": "x"}, anew=True)
    assert run._run.options["resume"] == "allow"
    run.replay([(1, {"loss": 1.0})])
    assert len(list((tmp_path / "wandb").iterdir())) == left and logged == steps


def test_a_run_stays_open_for_whoever_asks_for_it_and_no_longer(monkeypatch, tmp_path):
    logged = []
    monkeypatch.setattr("wandb.init", lambda **options: Run(options, logged))
    config = config_in(tmp_path)
    with together():
        first = start(config, "first", TRAIN, {})
        first.finish()
        assert start(config, "first", TRAIN, {}) is first and not logged
        first.finish()
        start(config, "second", TRAIN, {}).finish()
        assert logged == ["finished"]
    assert logged == ["finished"] * 2
    start(config, "third", TRAIN, {}).finish()
    assert logged == ["finished"] * 3


def test_settings_are_flat_words():
    settings = {"loss": {"name": "triplet", "margin": 1}, "data": {"dev": {"a": 1}}, "seed": 2}
    assert flat(settings) == {"loss": "triplet", "loss.margin": 1, "data.dev.a": 1, "seed": 2}


def test_nobody_logged_in_is_offline(nobody):
    assert mode("auto") == "offline"


@pytest.mark.parametrize(
    ("name", "value", "chosen"),
    [
        ("WANDB_MODE", "online", "online"),
        ("WANDB_MODE", "disabled", "disabled"),
        ("WANDB_MODE", "dryrun", "offline"),
        ("WANDB_DISABLED", "true", "disabled"),
        ("WANDB_API_KEY", "x" * 40, "online"),
    ],
)
def test_the_environment_decides_for_auto_and_only_for_auto(nobody, name, value, chosen):
    nobody.setenv(name, value)
    assert mode("auto") == chosen
    assert mode("offline") == "offline"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("machine api.wandb.ai login user password x", "online"),
        ("machine example.org login user password x", "offline"),
        ("machine", "offline"),
    ],
)
def test_a_netrc_entry_is_a_login(nobody, tmp_path, text, chosen):
    (tmp_path / ".netrc").write_text(text)
    (tmp_path / ".netrc").chmod(0o600)
    assert mode("auto") == chosen


def test_disabled_tracks_nothing_and_writes_nothing(tmp_path):
    run = start(config_in(tmp_path, "disabled"), "0123456789abcdef", TRAIN, {})
    run.log({"loss": 1.0}, 1)
    run.finish()
    assert run.id is None
    assert list(tmp_path.iterdir()) == []


def test_init_that_raises_is_one_line_an_attempt_and_no_run(monkeypatch, tmp_path, caplog):
    def init(**options):
        raise ConnectionError(f"no\nserver for {options['mode']}")

    monkeypatch.setattr("wandb.init", init)
    with caplog.at_level(logging.WARNING):
        run = start(config_in(tmp_path, "online"), "key", TRAIN, {})
    run.log({"loss": 1.0}, 1)
    assert run.id is None
    assert [r.message for r in caplog.records] == [
        "W&B did not start (online): ConnectionError: no server for online",
        "W&B did not start (offline): ConnectionError: no server for offline",
    ]


def test_a_server_that_is_away_is_waited_for_once_a_process(monkeypatch, tmp_path):
    asked = []

    def init(**options):
        asked.append(options["mode"])
        if options["mode"] == "online":
            raise ConnectionError("no server")
        return SimpleNamespace(id=options["id"])

    monkeypatch.setattr("wandb.init", init)
    assert start(config_in(tmp_path, "online"), "first", TRAIN, {}).id == "first"
    assert start(config_in(tmp_path, "online"), "second", TRAIN, {}).id == "second"
    assert asked == ["online", "offline", "offline"]


@pytest.mark.parametrize(
    "method", ["log", "summary", "log_table", "log_plots", "log_model", "finish"]
)
def test_a_failure_midway_is_said_once_and_the_run_goes_on(method, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    summary = SimpleNamespace(update=fail)
    broken = SimpleNamespace(id="r", log=fail, finish=fail, log_artifact=fail, summary=summary)
    run = Tracking(broken)
    arguments = {
        "log": ({"loss": 1.0}, 1),
        "summary": ({"score": 1.0},),
        "log_table": ("t", pd.DataFrame({"a": [1]})),
        "log_plots": (lambda: {"p": b"no image, disk full"},),
        "log_model": (Path("x"), "r"),
        "finish": (),
    }
    for _ in range(3):
        getattr(run, method)(*arguments[method])
    run.finish()
    assert len(caplog.records) == 1
    assert f"W&B stopped at {method}" in caplog.text


def test_an_offline_run_writes_curves_and_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 30)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    settings = {"seed": 3, "hf_token": "hf_" + "b" * 30}
    run = start(config_in(tmp_path), "0123456789abcdef", TRAIN, settings, {"pooling": "max"})
    run.log({"loss": 0.5}, 1)
    run.log_table("table_1", pd.DataFrame({"row": ["SBERT"], "ours": [77.0]}))
    run.summary({"spearman": 77.0})
    run.finish()
    assert run.id == "0123456789abcdef"
    (folder,) = offline(tmp_path)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" and path.stat().st_size > 0 for path in written)
    content = b"".join(path.read_bytes() for path in written)
    for said in (b"seed", b"sbert_repro-demo", "max · seed 3".encode(), b"train"):
        assert said in content
    assert b"a" * 40 not in content
    assert b"b" * 30 not in content


AWAY = """
import sys
from omegaconf import OmegaConf
from sbert_repro.training import tracking
tracking._SPARSE["init_timeout"] = 2.0
where = {"wandb": {"project": "p", "group": "g", "name": None, "mode": "auto"}}
where |= {"paths": {"results": sys.argv[1]}}
where |= {"profile": {"name": "demo"}, "seed": 1}
run = tracking.start(OmegaConf.create(where), "0123456789abcdef", "train", {"seed": 3})
run.log({"loss": 0.5}, 1)
run.finish()
print("run", run.id)
"""


def test_nobody_at_the_servers_place_is_an_offline_run(tmp_path):
    """The real client in a process of its own, which asks a port that nobody listens on."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", AWAY, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "run 0123456789abcdef\n", done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("W&B")]
    assert len(said) == 1 and said[0].startswith("W&B did not start (online): ")
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_settings_that_wandb_knows():
    assert wandb.Settings(**tracking._SPARSE).console == "off"
