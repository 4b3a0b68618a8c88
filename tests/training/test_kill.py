"""kill -9 just before a random change of the disk, again and again, ends with the same bits.

The short form; the long one, with whole tables, is tests/faults (`make test-faults`).
"""

import multiprocessing
import random
import re
import resource
import runpy
import signal
from pathlib import Path

import pytest

from sbert_repro.compose import compose
from sbert_repro.errors import UserError
from sbert_repro.evaluation.run import evaluate_trained
from sbert_repro.ledger import Ledger
from sbert_repro.training.run import key_of, train

PROGRAM = Path(__file__).parents[1] / "faults" / "program.py"
FORK = multiprocessing.get_context("fork")


def run(root, kill_after, typed):
    """The command `train.py` in a process of its own; gives its exit status."""

    process = FORK.Process(target=work, args=(root, kill_after, typed))
    process.start()
    process.join(120)
    return process.exitcode


def work(root, kill_after, typed):
    program = runpy.run_path(str(PROGRAM))
    program["watch"](str(root), kill_after)
    program["note_beginnings"](root / "notes")
    config = compose(typed)
    evaluate_trained(config, train(config, typed)["key"])


def outcome(root, typed):
    ledger = Ledger(root / "results" / "runs")
    key = key_of(compose(typed), typed)
    files = ("model/model.safetensors", "metrics.json", "settings.json")
    return [(ledger.folder(key) / name).read_bytes() for name in files], ledger.get(key)["scores"]


@pytest.fixture
def limited_to(typed, tmp_path):
    """A function that trains where no file may be longer than so many bytes; gives what is said."""

    def of(size):
        said = FORK.SimpleQueue()

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                train(compose(typed("full")), typed("full"))
            except UserError as problem:
                said.put(str(problem))

        process = FORK.Process(target=limited)
        process.start()
        process.join(120)
        assert process.exitcode == 0
        return said.get()

    return of


@pytest.fixture
def typed(overrides, tmp_path):
    def of(folder):
        return [
            *overrides("loss=regression", "evaluate=[stsb_dev]", "trainer.save_every=2"),
            "trainer.evaluate_every=1",
            f"paths.results={tmp_path / folder / 'results'}",
            f"paths.cache={tmp_path / folder / 'cache'}",
        ]

    return of


def test_a_run_killed_at_random_ends_as_an_undisturbed_one(typed, tmp_path):
    chosen = random.Random(5)
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    assert run(tmp_path / "whole", 0, typed("whole")) == 0
    kills = 0
    while status := run(tmp_path / "killed", chosen.randint(5, 60), typed("killed")):
        assert status == -signal.SIGKILL
        kills += 1
        assert kills < 60, "it does not come forward"
    assert kills >= 4
    assert outcome(tmp_path / "killed", typed("killed")) == outcome(
        tmp_path / "whole", typed("whole")
    )
    left = [p for p in (tmp_path / "killed").rglob(".*") if p.name != ".locks"]
    assert left == [], "nothing half-written stays"


def test_three_commands_at_once_do_each_thing_once(typed, tmp_path):
    root = tmp_path / "shared"
    root.mkdir()
    workers = [FORK.Process(target=work, args=(root, 0, typed("shared"))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    begun = [line.split()[:2] for line in (root / "notes").read_text().splitlines()]
    assert sorted(kind for kind, _ in begun) == ["evaluate", "train"]
    assert sorted(Ledger(root / "results" / "runs").keys()) == sorted(key for _, key in begun)


# What each of them is: a checkpoint with both moments, the best weights, a line of settings.
@pytest.mark.parametrize(
    ("size", "what"), [(120_000, "last.ckpt"), (20_000, "best-1.safetensors"), (50, "settings")]
)
def test_a_disk_that_is_full_is_one_line_and_what_is_there_stays(
    limited_to, typed, tmp_path, size, what
):
    root = tmp_path / "full"
    root.mkdir()
    said = limited_to(size)
    assert re.match(rf".*{what}.*: cannot be written: .*(too large|disk full\?)$", said), said
    assert "\n" not in said
    left = {path.name for path in root.rglob("*") if path.is_file()}
    assert not {"record.json", what} & left
    assert not [name for name in left if name.startswith(".")]
    assert run(root, 0, typed("full")) == 0
    (tmp_path / "whole").mkdir()
    assert run(tmp_path / "whole", 0, typed("whole")) == 0
    assert outcome(root, typed("full")) == outcome(tmp_path / "whole", typed("whole"))
