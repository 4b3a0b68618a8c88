"""Several models at a time: each done once and as alone, a death stops only its row."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sbert_repro.errors import UserError
from sbert_repro.tables import launch, one_by_one
from sbert_repro.tables.assemble import Done
from sbert_repro.tables.side_by_side import SideBySide, claims
from sbert_repro.tables.worker import Beside, without_bars

pytestmark = pytest.mark.timeout(600)
PARENT = """
import pickle, sys
sys.path.insert(0, {beside!r})
from pathlib import Path
from sbert_repro.tables.side_by_side import SideBySide
if __name__ == "__main__":
    plan, work = pickle.loads(Path({pickled!r}).read_bytes())
    SideBySide(2)(plan, work, lambda done: None)
"""


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """Makes work that other processes can load: with their own import of its file."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from pretended_work import PretendedWork

    (tmp_path / "work").mkdir()
    return lambda *given: PretendedWork(tmp_path / "work", *given)


@pytest.fixture
def made(planned):
    """A plan whose keys are those of the pretended work."""
    plan = planned()
    for subject in plan.subjects:
        for stage in subject.stages:
            two = "two" if stage.config.parent is not None else "one"
            name = f"{stage.config.encoder.path.rpartition('/')[2]}-{two}-{stage.config.seed}"
            object.__setattr__(stage, "key", name)
    return plan


def run(plan, work, jobs=3) -> tuple[Done, list[Done]]:
    seen: list[Done] = []
    return SideBySide(jobs)(plan, work, lambda done: seen.append(dict(done))), seen


def begun(work) -> list[tuple[str, int]]:
    """Each training that began, and the process it began in."""
    found = (p.name.rpartition(".") for p in work.folder.glob("*-*.*"))
    return sorted((name, int(process)) for name, _, process in found)


def test_each_run_is_trained_once_and_all_is_as_in_one_process(made, pretended, tmp_path):
    work = pretended({}, 0.3)
    done, seen = run(made, work)
    trainings = [key for key, _ in begun(work)]
    assert len(trainings) == len(set(trainings)) == 9, "3 seeds of 3 distinct runs"
    assert len({process for _, process in begun(work)}) == 3
    assert done == one_by_one.local(made, Beside(work, 1), lambda _: None)
    assert set(done) == set(range(len(made.subjects))) and seen[-1] == done
    assert len(seen) == 5, "at the start and after each row that had something to do"
    assert all(one.items() <= other.items() for one, other in itertools.pairwise(seen))


def test_a_subject_claims_its_missing_runs_and_its_model(made):
    nli, both = made.subjects[1], made.subjects[4]
    assert claims(nli) == {"bert-base-uncased-one-1"}
    assert claims(both) == {"bert-base-uncased-one-1", "bert-base-uncased-two-1"}
    assert not claims(made.subjects[0]) & claims(nli)
    assert claims(made.subjects[0]), "two rows of one encoder that is not trained"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("user", "failed: loss is NaN at step 7"),
        ("fault", "failed: RuntimeError: out of luck"),
        ("memory", "failed: out of memory with 3 models side by side, take JOBS=2 or fewer"),
        (
            "kill",
            "failed: its process was ended by SIGKILL (memory may have run out, JOBS=2 or fewer "
            "takes less)",
        ),
        ("exit", "failed: its process ended with status 3"),
    ],
)
def test_a_failure_stops_its_rows_and_is_not_tried_twice(made, pretended, ending, said):
    broken = made.subjects[2].run
    work = pretended({broken: ending})
    done, _ = run(made, work)
    failed = {n for n, outcome in done.items() if outcome.failed}
    assert failed == {n for n, s in enumerate(made.subjects) if broken in {x.key for x in s.stages}}
    assert len(failed) == 2
    assert {done[n].reason for n in failed} == {said}
    assert [key for key, _ in begun(work)].count(broken) == 1
    assert len(begun(work)) == 8, "nine runs, less the second stage of the one that failed"


def test_memory_is_told_from_other_faults():
    class Short:
        def train(self, config, overrides):
            raise RuntimeError(overrides[0])

    config = OmegaConf.create({"trainer": {"progress": True}})
    for text in ("CUDA error: out of memory", "DefaultCPUAllocator: can't allocate memory: 8 GB"):
        with pytest.raises(UserError, match="take JOBS=3 or fewer"):
            Beside(Short(), 4).train(config, [text])
    with pytest.raises(RuntimeError, match="another fault"):
        Beside(Short(), 4).train(config, ["another fault"])
    assert config.trainer.progress and not without_bars(config).trainer.progress


@pytest.mark.parametrize("chosen", [None, "5"])
def test_cores_are_shared_unless_the_threads_are_chosen(made, pretended, monkeypatch, chosen):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    done, _ = run(made, pretended(), 2)
    found = {record["threads"] for outcome in done.values() for record in outcome.trained}
    cores = len(os.sched_getaffinity(0))
    assert found == ({chosen} if chosen else {str(max(1, cores // 2))})
    assert os.environ.get("OMP_NUM_THREADS") == chosen


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_it_is_ended_its_processes_save_and_end(made, pretended, tmp_path, number):
    work = pretended({}, 300.0)
    pickled, script = tmp_path / "plan", tmp_path / "parent.py"
    pickled.write_bytes(pickle.dumps((made, work)))
    script.write_text(PARENT.format(beside=str(Path(__file__).parent), pickled=str(pickled)))
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    while len(begun(work)) < 2:
        assert parent.poll() is None, parent.stderr.read()
        time.sleep(0.1)
    processes = {process for _, process in begun(work)}
    parent.send_signal(number)
    status = parent.wait(100)
    end = time.monotonic() + 100
    while any(alive(process) for process in processes):
        assert time.monotonic() < end, "orphans go on"
        time.sleep(0.1)
    assert {p.name for p in work.folder.glob("saved.*")} == {f"saved.{p}" for p in processes}
    assert status == {signal.SIGTERM: 143}.get(number, -number)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_is_not_for_runs_of_several_processes(planned, pretended):
    with pytest.raises(UserError, match=r"jobs=2 with trainer\.devices=3: either"):
        run(planned(changes=["trainer.devices=3"]), pretended(), 2)


def test_one_at_a_time_needs_no_process():
    assert launch.launcher("local", 1) is one_by_one.local
    assert launch.launcher("local", 4).jobs == 4
