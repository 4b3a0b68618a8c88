"""W&B: which mode, no secrets, and that its failures never stop a run."""

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from omegaconf import OmegaConf

from sbert_repro.training import tracking
from sbert_repro.training.tracking import Tracking, mode, start


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
            "wandb": {"project": None, "group": None, "mode": chosen},
            "paths": {"results": str(folder)},
            "profile": {"name": "demo"},
            "seed": 3,
        }
    )


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
    run = start(config_in(tmp_path, "disabled"), "0123456789abcdef", {})
    run.log({"loss": 1.0}, 1)
    run.finish()
    assert run.id is None
    assert list(tmp_path.iterdir()) == []


def test_init_that_raises_is_one_line_an_attempt_and_no_run(monkeypatch, tmp_path, caplog):
    def init(**options):
        raise ConnectionError(f"no\nserver for {options['mode']}")

    monkeypatch.setattr("wandb.init", init)
    with caplog.at_level(logging.WARNING):
        run = start(config_in(tmp_path, "online"), "key", {})
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
    assert start(config_in(tmp_path, "online"), "first", {}).id == "first"
    assert start(config_in(tmp_path, "online"), "second", {}).id == "second"
    assert asked == ["online", "offline", "offline"]


@pytest.mark.parametrize("method", ["log", "summary", "log_table", "finish"])
def test_a_failure_midway_is_said_once_and_the_run_goes_on(method, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    broken = SimpleNamespace(id="r", log=fail, finish=fail, summary=SimpleNamespace(update=fail))
    run = Tracking(broken)
    arguments = {
        "log": ({"loss": 1.0}, 1),
        "summary": ({"score": 1.0},),
        "log_table": ("t", pd.DataFrame({"a": [1]})),
        "finish": (),
    }
    for _ in range(3):
        getattr(run, method)(*arguments[method])
    run.finish()
    assert len(caplog.records) == 1
    assert "disk full" in caplog.text


def test_an_offline_run_writes_curves_and_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "b" * 30)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    settings = {"seed": 3, "hf_token": "hf_" + "b" * 30}
    run = start(config_in(tmp_path), "0123456789abcdef", settings, {"pooling": "max"})
    run.log({"loss": 0.5}, 1)
    run.log_table("table_1", pd.DataFrame({"row": ["SBERT"], "ours": [77.0]}))
    run.summary({"spearman": 77.0})
    run.finish()
    assert run.id == "0123456789abcdef"
    written = [path for path in (tmp_path / "wandb").rglob("*") if path.is_file()]
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
where = {"wandb": {"project": "p", "group": "g", "mode": "auto"}, "paths": {"results": sys.argv[1]}}
where |= {"profile": {"name": "demo"}, "seed": 1}
run = tracking.start(OmegaConf.create(where), "0123456789abcdef", {"seed": 3})
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
    import wandb

    assert wandb.Settings(**tracking._SPARSE).console == "off"
