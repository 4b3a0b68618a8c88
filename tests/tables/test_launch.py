"""Jobs are carried out once, in one process or several; a failure or a death stays in its row."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sbert_repro.compose import compose_table
from sbert_repro.errors import Diverged, UserError
from sbert_repro.tables import cells, launch, plan
from sbert_repro.tables.launch import InProcess, Processes, carry_out, claims, execute
from sbert_repro.tables.render import as_csv, as_json, as_markdown, reason_of, sheet

from .conftest import named

pytestmark = pytest.mark.timeout(600)
PARENT = """
import pickle, sys
sys.path.insert(0, {beside!r})
from pathlib import Path
from sbert_repro.tables.launch import Processes
if __name__ == "__main__":
    jobs, work = pickle.loads(Path({pickled!r}).read_bytes())
    Processes(work, 2).run(jobs, lambda job, result: None)
"""


def run(made, work):
    seen = []
    results = carry_out(made, InProcess(work), lambda results: seen.append(dict(results)))
    return results, seen


def by_name(made, results):
    return {(cell.row, cell.column): cell for cell in cells.build(made, results)}


def test_a_shared_run_is_trained_once_and_each_score_is_made_once(planned, work):
    made = planned()
    results, seen = run(made, work)
    assert len(work.trainings) == len(set(work.trainings)) == 9, "3 seeds of 3 distinct runs"
    assert len(work.scorings) == len(set(work.scorings)) == 20
    assert set(results) == set(range(len(made.jobs)))
    assert not any(result.failed for result in results.values())
    assert [len(known) for known in seen] == [1, 2, 5, 8, 11], "at the start, after each row"


def test_the_second_time_nothing_is_done_and_the_files_are_the_same(planned, work):
    made = planned()
    first = sheet(made, run(made, work)[0])
    work.trainings.clear(), work.scorings.clear()
    again = planned()
    assert again.left == []
    second = sheet(again, run(again, work)[0])
    assert work.trainings == work.scorings == []
    for written in (as_csv, as_markdown, as_json):
        assert written(first) == written(second)


def test_an_interruption_goes_through_and_the_next_start_goes_on(planned, work):
    made = planned()
    work.fails_at[made.jobs[2].run] = KeyboardInterrupt()
    seen = []
    with pytest.raises(KeyboardInterrupt):
        carry_out(made, InProcess(work), lambda results: seen.append(dict(results)))
    first = list(work.trainings)
    assert by_name(made, seen[-1])["NLI", "A"].reasons == (cells.NOT_YET,)
    work.fails_at.clear()
    run(planned(), work)
    assert len(first) == 1
    assert len(work.trainings) == len(set(work.trainings)) == 9


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (UserError("loss is NaN at step 7"), "failed: loss is NaN at step 7"),
        (
            RuntimeError("cable\nloose in /home/somebody/rack"),
            "failed: RuntimeError: cable loose in rack",
        ),
    ],
)
def test_a_failure_stays_in_its_rows_and_is_not_tried_twice(planned, work, problem, said, caplog):
    made = planned()
    work.fails_at[made.jobs[2].run] = problem
    results, _ = run(made, work)
    found = by_name(made, results)
    assert reason_of(found["NLI", "A"]) == f"2 of 3 seeds; {said}"
    assert found["NLI", "A"].n == 2
    assert reason_of(found["NLI then STSb", "A"]) == f"2 of 3 seeds; {said}"
    assert found["large", "A"].n == 3 and found["mean BERT", "A"].n == 1
    assert sum(result.failed for result in results.values()) == 2
    assert ("Traceback" in caplog.text) == isinstance(problem, RuntimeError)
    work.fails_at.clear()
    results, _ = run(planned(), work)
    assert not any(result.failed for result in results.values()), "the next start tries again"


def test_a_fault_found_while_planning_stays_in_its_row_and_is_a_failure(planned, work, caplog):
    work.without.add("google-bert/bert-large-uncased")
    work.fault = KeyError("no such layer")
    made = planned()
    results, _ = run(made, work)
    found = by_name(made, results)
    assert reason_of(found["large", "A"]) == "failed: KeyError: 'no such layer'"
    assert found["NLI", "A"].n == 3
    assert [result.failed for result in results.values()].count(True) == 1
    assert "Traceback" in caplog.text


def test_a_row_that_cannot_be_run_is_no_failure(planned, work):
    work.without.add("google-bert/bert-large-uncased")
    made = planned()
    results, _ = run(made, work)
    assert not any(result.failed for result in results.values())
    reason = reason_of(by_name(made, results)["large", "Avg."])
    assert reason == "model google-bert/bert-large-uncased is not there"


def test_a_seed_that_diverged_is_shown_in_the_same_words_and_is_no_failure(planned, work):
    made = planned()
    key = made.jobs[2].run
    work.fails_at[key] = Diverged("seed 2 diverged: the loss is nan at step 7", mend="remove it")
    results, _ = run(made, work)
    first = by_name(made, results)
    reason = "2 of 3 seeds; seed 2 diverged: the loss is nan at step 7"
    assert reason_of(first["NLI", "A"]) == reason
    assert first["NLI", "A"].reasons[0].code == "diverged"
    assert not any(result.failed for result in results.values())
    work.diverged[key] = work.fails_at.pop(key)
    work.trainings.clear()
    again = planned()
    second = by_name(again, run(again, work)[0])
    assert work.trainings == [], "it is not tried again"
    assert second["NLI", "A"] == first["NLI", "A"]
    assert reason_of(second["NLI then STSb", "A"]) == reason


@pytest.mark.parametrize(
    ("profile", "changes", "gpu", "lacking"),
    [
        ("paper", [], False, True),
        ("paper", [], True, False),
        ("paper", ["trainer.accelerator=cpu"], False, False),
        ("lite", [], False, False),
    ],
)
def test_only_profile_paper_expects_a_gpu(monkeypatch, profile, changes, gpu, lacking):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: gpu)
    assert launch.lacks_gpu(compose_table(profile, changes)) is lacking


def test_hours_on_a_cpu_are_those_that_were_measured_without_a_gpu(planned, work, tmp_path):
    base = compose_table("paper", [f"paths.results={tmp_path}"])
    first = planned().jobs[1]
    record = work.train(first.config, first.overrides)
    left = plan.missing_stages(planned().left)
    said = launch.hours_on_cpu(base, left, work)
    assert "8 trainings run on the CPU. No estimate from a speed: `python scripts/" in said
    assert "About" not in said, "the record is that of a GPU"
    record["hardware"]["gpus"] = []
    said = launch.hours_on_cpu(base, left, work)
    assert (
        "About 4 min (0.07 h) for 2 of 8 trainings, as measured on Some CPU, 2 cores, 4 GiB; "
        "nothing like the others has been measured. No estimate from a speed: `python" in said
    )
    assert "\n" not in said
    assert "1 training runs on the CPU" in launch.hours_on_cpu(base, left[:1], work)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize(
    ("error", "code"),
    [(MemoryError(), "out_of_memory"), (RuntimeError("CUDA out of memory"), "failed")],
)
def test_memory_is_told_from_other_faults_by_the_kind_of_error(planned, at_once, error, code):
    class Short:
        def train(self, config, overrides):
            assert config.trainer.progress == (at_once == 1)
            raise error

    job = planned().jobs[1]
    reason = execute(job, Short(), at_once).reason
    assert (reason.code, reason.failed) == (code, True)
    assert ("JOBS=2 or fewer" in reason.found) == (at_once == 3 and code == "out_of_memory")


def test_the_command_line_chooses_the_launcher(planned, work):
    base = planned().base
    assert isinstance(launch.launcher("local")(work, 1, base), InProcess)
    assert isinstance(launch.launcher("local")(work, 4, base), Processes)
    with pytest.raises(UserError, match=r"launcher=slurm: .* there are: local, ray"):
        launch.launcher("slurm")
    base = planned(changes=["trainer.devices=3"]).base
    with pytest.raises(UserError, match=r"jobs=2 with trainer\.devices=3: either"):
        launch.launcher("local")(work, 2, base)


def test_runs_of_a_table_share_a_group_in_wandb_unless_they_name_one(planned, monkeypatch):
    seen, base = [], planned().base
    monkeypatch.setattr(
        "sbert_repro.training.run.train", lambda config, words: seen.append(config.wandb.group)
    )
    work = launch.LedgerWork(base, launch.group_of("table_6", "lite"))
    work.train(base, [])
    work.train(planned(changes=["wandb.group=mine"]).base, [])
    assert seen == ["table_6_lite", "mine"] and base.wandb.group is None


# Processes


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
    for job in plan.jobs:
        for stage in job.stages:
            two = "two" if stage.config.parent is not None else "one"
            name = f"{stage.config.encoder.path.rpartition('/')[2]}-{two}-{stage.config.seed}"
            object.__setattr__(stage, "key", name)
    return plan


def begun(work) -> list[tuple[str, int]]:
    """Each training that began, and the process it began in."""
    found = (p.name.rpartition(".") for p in work.folder.glob("*-*.*"))
    return sorted((name, int(process)) for name, _, process in found)


def test_several_processes_train_each_run_once_and_find_what_one_finds(made, pretended):
    work, seen = pretended({}, 0.3), []
    results = carry_out(made, Processes(work, 3), lambda results: seen.append(dict(results)))
    trainings = [key for key, _ in begun(work)]
    assert len(trainings) == len(set(trainings)) == 9, "3 seeds of 3 distinct runs"
    assert len({process for _, process in begun(work)}) == 3
    alone = {job.number: execute(job, work, 2) for job in made.left}
    assert results == alone | made.known
    assert seen[-1] == results
    assert len(seen) == 5, "at the start and after each row that had something to do"
    assert all(one.items() <= other.items() for one, other in itertools.pairwise(seen))


def test_a_failure_or_a_death_stops_its_rows_alone(made, pretended):
    base, large = "bert-base-uncased-one", "bert-large-uncased-one"
    work = pretended(
        {
            f"{base}-1": "user",
            f"{base}-2": "fault",
            f"{base}-3": "memory",
            f"{large}-1": "killed",
            f"{large}-2": "killed_once",
        }
    )
    results = carry_out(made, Processes(work, 2), lambda results: None)
    found = {
        (job.row.name, job.seed): results[job.number].reason and results[job.number].reason.code
        for job in made.jobs
    }
    assert found == {
        ("mean BERT", 0): None,
        **{("NLI", n): c for n, c in enumerate(("refused", "failed", "out_of_memory"), 1)},
        **{("NLI then STSb", n): found["NLI", n] for n in (1, 2, 3)},
        **{("large", n): c for n, c in enumerate(("killed", None, None), 1)},
        ("InferSent", 0): "missing",
    }
    assert not [
        r for r in results.values() if r.reason and r.failed == (r.reason.code == "missing")
    ]
    times = [key for key, _ in begun(work)]
    assert {key: times.count(key) for key in set(times)} == {
        **dict.fromkeys((f"{base}-1", f"{base}-2", f"{base}-3", f"{large}-3"), 1),
        f"{large}-1": 2,
        f"{large}-2": 2,
    }, "a run whose process was killed is begun once more; what failed is not tried for another row"


def test_a_job_claims_its_missing_runs_and_its_model(made):
    nli, both = made.jobs[1], made.jobs[4]
    assert claims(nli) == {"bert-base-uncased-one-1"}
    assert claims(both) == {"bert-base-uncased-one-1", "bert-base-uncased-two-1"}
    assert not claims(made.jobs[0]) & claims(nli)
    assert claims(named(made, "mean BERT")[0]), "two rows of one encoder that is not trained"


@pytest.mark.parametrize("chosen", [None, "5"])
def test_cores_are_shared_unless_the_threads_are_chosen(monkeypatch, chosen):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    cores = len(os.sched_getaffinity(0))
    with launch._share_of_threads(2):
        assert os.environ["OMP_NUM_THREADS"] == (chosen or str(max(1, cores // 2)))
    assert os.environ.get("OMP_NUM_THREADS") == chosen


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_it_is_ended_its_processes_save_and_end(made, pretended, tmp_path, number):
    work = pretended({}, 300.0)
    pickled, script = tmp_path / "jobs", tmp_path / "parent.py"
    pickled.write_bytes(pickle.dumps((made.left, work)))
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
