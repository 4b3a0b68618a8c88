"""How a time is taken and kept; never how fast anything was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import torch

from sbert_repro.benchmarks import timing
from sbert_repro.compose import compose_speed
from sbert_repro.encoders.transformer import TransformerEncoder


def test_repeats_are_taken_in_turns_after_the_warm_up():
    done = []
    works = {n: lambda n=n: done.append(n) for n in "ab"}
    found = timing.interleaved(works, repeats=3, warm_up=2, least=0)
    assert "".join(done) == "aabb" + "ababab"
    assert {len(one.seconds) for one in found.values()} == {3}
    low, high = min(found["a"].seconds), max(found["a"].seconds)
    assert 0 <= low <= found["a"].median <= high


def test_what_takes_no_time_is_done_often_in_its_turn_and_timed_as_if_once(monkeypatch):
    now, works = [0.0], {}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    for name, seconds in (("short", 0.0625), ("long", 3.0)):
        works[name] = lambda seconds=seconds: now.__setitem__(0, now[0] + seconds)
    found = timing.interleaved(works, repeats=2, warm_up=0, least=0.2)
    assert {name: one.seconds for name, one in found.items()} == {
        "short": [0.0625] * 2,
        "long": [3.0] * 2,
    }
    assert now == [2 * (4 * 0.0625 + 3.0)]


def test_what_is_timed_is_said_once_where_there_is_no_terminal(caplog, capsys):
    caplog.set_level("INFO")
    timing.interleaved({"a": int, "b": int}, repeats=3, title="BERT, STSb")
    timing.interleaved({"a": int}, repeats=1)
    assert caplog.messages == ["BERT, STSb: timing, 4 times each, in turns: a, b"]
    assert not "".join(capsys.readouterr())


def test_a_terminal_shows_what_is_timed_and_draws_in_between_only(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    threads = []
    timing.interleaved(
        {"a": lambda: threads.append(threading.active_count())}, repeats=2, title="BERT", least=0
    )
    shown = capsys.readouterr()
    assert not shown.out and "BERT: a, warm-up" in shown.err and "BERT: a, 2 of 2" in shown.err
    assert set(threads) == {threading.active_count()}


def test_useful_arithmetic_is_that_of_a_count_by_hand():
    shape = timing.Shape(layers=2, width=4, intermediate=6)
    # A word piece: Q, K, V and output are 4 maps of 4 x 4, the FFN two of 4 x 6; a sentence of n
    # adds n x n scores and as many sums of values, 4 wide each.
    linear = 2 * (4 * 16 + 2 * 24)
    by_hand = 2 * ((3 + 5) * linear + 2 * 2 * 4 * (9 + 25))
    assert shape.flops(np.array([3, 5])) == by_hand


def test_the_ceiling_counts_what_it_multiplies(monkeypatch):
    multiplied = []
    real = torch.ops.mkldnn._linear_pointwise

    def counted(given, weight, *rest):
        made = real(given, weight, *rest)
        multiplied.append(2 * given.shape[0] * given.shape[1] * made.shape[1])
        return made

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    work, flops = timing.product_work(timing.Shape(1, 32, 64), "fp32")
    work()
    assert sum(multiplied) == flops


def test_what_a_processor_only_imitates_is_not_timed(monkeypatch):
    reasons = {torch.float32: "no oneDNN", torch.bfloat16: "no bf16"}
    monkeypatch.setattr(timing, "why_not_prepacked", reasons.get)
    monkeypatch.setattr(timing, "why_not_quantized", lambda: "no int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(map(timing.why_not_timed, timing.PRECISIONS)) == [None, "no bf16", "no int8"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [timing.why_not_timed(p) is None for p in timing.PRECISIONS] == [True, True, False]


def test_a_machine_without_prepacked_products_has_a_ceiling_too(monkeypatch):
    monkeypatch.setattr(timing, "why_not_prepacked", lambda dtype: "none here")
    monkeypatch.delattr(torch.ops.mkldnn, "_linear_pointwise")
    shapes_seen, real = [], torch.nn.functional.linear

    def counted(given, weight):
        shapes_seen.append(tuple(weight.shape))
        return real(given, weight)

    monkeypatch.setattr(timing.functional, "linear", counted)
    work, _ = timing.product_work(timing.Shape(1, 32, 64), "fp32")
    work()
    assert set(shapes_seen) == {(96, 32), (32, 32), (64, 32), (32, 64)}


def test_a_speed_is_kept_by_machine_and_measured_again_when_asked(tmp_path, monkeypatch):
    def at(*words):
        return compose_speed("demo", [f"paths.results={tmp_path}", *words])

    counted = iter(range(9))

    def measure():
        return {"facts": [], "rows": {}, "number": next(counted)}

    first = timing.kept({"what": 1}, at(), measure)
    assert timing.kept({"what": 1}, at(), measure) == first
    assert {"cpu", "cores"} <= set(first["settings"]["hardware"]) and first["kind"] == "speed"
    again = timing.kept({"what": 1}, at("again=true"), measure)
    assert again["scores"]["number"] == 1 and again["key"] != first["key"]
    assert timing.kept({"what": 1}, at(), measure) == again
    monkeypatch.setattr(timing, "hardware", lambda: {"cpu": "another", "cores": 1})
    assert timing.kept({"what": 1}, at(), measure)["scores"]["number"] == 2
    monkeypatch.setattr(timing, "VERSION", timing.VERSION + 1)
    assert timing.kept({"what": 1}, at(), measure)["scores"]["number"] == 3


def test_a_faster_engine_is_another_thing_to_time(tiny_bert, monkeypatch):
    encoder = TransformerEncoder(str(tiny_bert))
    before = timing.identity_of(encoder)
    assert before["engine"]["name"] == encoder.engine and encoder.identity.items() <= before.items()
    monkeypatch.setattr(timing.Engine, "VERSION", timing.Engine.VERSION + 1)
    assert timing.identity_of(encoder) != before


def test_a_batch_that_a_gpu_has_no_memory_for_is_not_chosen(monkeypatch):
    class Encoder:
        batch_size = 32

        def encode(self, texts):
            tried.append((self.batch_size, len(texts)))
            if self.batch_size == 1024:
                raise torch.cuda.OutOfMemoryError("no memory left")

    tried = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    encoder = Encoder()
    said = timing.choose_batch_size(encoder, ["a"] * 20_000)
    assert tried[1:] == [(size, 16_384) for size in (32, 128, 512, 1024)]
    assert said["of"] == [32, 128, 512] and encoder.batch_size in said["of"]


PROFILED = """
import torch
from sbert_repro.benchmarks.timing import profiler
with profiler("cpu") as profile:
    torch.ones(3) + 1
print(any(event.key == "aten::add" for event in profile.key_averages()))
"""


def test_the_profiler_says_nothing_on_the_screen():
    # In a process of its own: how much it says is read once, when the first profiler starts.
    own = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", PROFILED], env=own, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
