"""A network that is away is asked again a few times, what is not there is not."""

import logging
import socket
from email.message import Message
from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import pytest

from sbert_repro.backbone.lookup import find_model
from sbert_repro.data import download as retries
from sbert_repro.data.download import fetch, is_passing, retried
from sbert_repro.errors import UserError


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """Seconds that were slept, in no time."""
    found = []
    monkeypatch.setattr(retries.time, "sleep", found.append)
    monkeypatch.setattr(retries, "_found_away", [])
    return found


def failing(*problems, then="there"):
    left = list(problems)

    def action(*_, **__):
        if left:
            raise left.pop(0)
        return then

    return action


def http(code):
    return HTTPError("http://x", code, "no", Message(), None)


def test_what_works_is_done_once(slept):
    assert retried(failing(), "x") == "there"
    assert slept == []


def test_a_network_that_comes_back_is_waited_for_longer_each_time(slept, caplog):
    with caplog.at_level(logging.WARNING):
        found = retried(failing(ConnectionResetError("reset"), TimeoutError("late")), "the model")
    assert found == "there"
    assert slept == [1.0, 4.0]
    assert caplog.messages == [
        "the model: ConnectionResetError: reset; again in 1 s",
        "the model: TimeoutError: late; again in 4 s",
    ]


def test_after_three_attempts_it_is_given_up_and_not_waited_for_again(slept):
    with pytest.raises(ConnectionError):
        retried(failing(*[ConnectionError("away")] * 9), "x")
    assert slept == [1.0, 4.0]
    with pytest.raises(ConnectionError):
        retried(failing(*[ConnectionError("away")] * 9), "y")
    assert slept == [1.0, 4.0]


class Wrapped(Exception):
    """What a client makes of the error below it."""


def wrapped(below):
    problem = Wrapped("no snapshot")
    problem.__cause__ = below
    return problem


def answered(code):
    problem = Wrapped("answer")
    problem.response = SimpleNamespace(status_code=code)
    return problem


def offline():
    from huggingface_hub.errors import OfflineModeIsEnabled

    return OfflineModeIsEnabled("HF_HUB_OFFLINE=1")


@pytest.mark.parametrize(
    ("problem", "passing"),
    [
        (URLError(socket.gaierror("no such host")), True),
        (wrapped(ConnectionRefusedError("no")), True),
        (http(503), True),
        (http(429), True),
        (http(404), False),
        (answered(401), False),
        (answered(502), True),
        (wrapped(answered(404)), False),
        (ValueError("no"), False),
        (offline(), False),
        (wrapped(offline()), False),
    ],
)
def test_what_another_attempt_may_mend(problem, passing):
    assert is_passing(problem) is passing


def test_a_download_is_tried_again_and_whole(tmp_path, monkeypatch, slept):
    answers = [b"half", b"whole"]

    def stream(url, target):
        target.write_bytes(answers.pop(0))
        if answers:
            raise ConnectionResetError("midway")

    monkeypatch.setattr("sbert_repro.data.download._stream", stream)
    assert fetch("https://x/y", tmp_path / "y").read_bytes() == b"whole"
    assert slept == [1.0]


def test_a_download_that_fails_for_good_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("sbert_repro.data.download._stream", failing(*[TimeoutError("late")] * 3))
    with pytest.raises(UserError, match=r"cannot get https://x/y \(TimeoutError: late\)"):
        fetch("https://x/y", tmp_path / "y")
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_the_cache_needs_no_network(tmp_path, monkeypatch, slept):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    asked = []

    def snapshot(**options):
        asked.append(options["local_files_only"])
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_model("some/model") == tmp_path
    assert asked == [True] and slept == []


def test_the_hub_is_asked_again_when_it_is_away_and_not_when_it_says_no(
    tmp_path, monkeypatch, slept
):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    remote = failing(ConnectionError("away"), then=str(tmp_path))

    def snapshot(**options):
        if options["local_files_only"]:
            raise FileNotFoundError("not cached")
        return remote()

    class Here:
        head = staticmethod(lambda url, timeout: None)

    monkeypatch.setattr("huggingface_hub.get_session", Here)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_model("some/model") == tmp_path
    assert slept == [1.0]
    monkeypatch.setattr("huggingface_hub.snapshot_download", failing(*[answered(404)] * 2))
    with pytest.raises(UserError, match="not from the Hub"):
        find_model("some/model")
    assert slept == [1.0]
