"""launcher=ray: what Ray is asked to do, folders that are not shared, a cluster of two nodes."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sbert_repro.compose import compose_table, prepare
from sbert_repro.errors import UserError
from sbert_repro.tables import launch, plan, spec
from sbert_repro.tables import ray as ours
from sbert_repro.tables.launch import InProcess, LedgerWork, carry_out
from sbert_repro.tables.plan import Result

ROOT = Path(__file__).resolve().parents[2]
SHORT = (
    "profile.max_seeds=1",
    "trainer.max_steps=4",
    "trainer.save_every=2",
    "trainer.evaluate_every=2",
    "wandb.mode=disabled",
)


class RayError(Exception):
    """What Ray raises; the kinds of it that the launcher tells apart."""

    cause = RuntimeError("no such thing in /home/somebody/rack")


KINDS = {
    name: types.new_class(name, (RayError,))
    for name in ("OutOfMemoryError", "RayTaskError", "NodeDiedError")
}


class Reference:
    """Of a value, or of what is raised when it is fetched."""

    def __init__(self, value):
        self.value = value


class InlineRay:
    """Does at once, in this process, what Ray would do elsewhere.

    Attributes:
        asked: Options of each task, in the order of their beginning.
        lost: Name of a task → what is raised when its result is fetched.
    """

    exceptions = types.SimpleNamespace(RayError=RayError, **KINDS)

    def __init__(self, *nodes):
        self.resources, self.asked, self.lost = nodes or ({"CPU": 2.0},), [], {}

    def nodes(self):
        return [{"Alive": True, "Resources": resources} for resources in self.resources]

    def put(self, value):
        return Reference(value)

    def get(self, reference):
        if isinstance(reference.value, Exception):
            raise reference.value
        return reference.value

    def wait(self, references, **_):
        return references, []

    def remote(self, function):
        def options(**given):
            return types.SimpleNamespace(remote=lambda *words: self.begin(function, given, words))

        return types.SimpleNamespace(options=options)

    def begin(self, function, given, words):
        self.asked.append(given)
        try:
            if given["name"] in self.lost:
                raise self.lost[given["name"]]
            words = [self.get(word) if isinstance(word, Reference) else word for word in words]
            return tuple(map(Reference, function(*words)))
        except RayError as problem:  # so is what waits for it
            return Reference(problem), Reference(problem)


class Inline(ours.Ray):
    """The launcher on `InlineRay`."""

    def __init__(self, ray, work, count, base, shared):
        self.ray, self.work, self.count, self.base, self.shared = ray, work, count, base, shared

    def run(self, jobs, finished):
        results = Path(self.base.paths.results).absolute()
        mark = results / "mark"
        if self.shared:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        folders = {n: Path(self.base.paths[n]).absolute() for n in ("cache", "data", "models")}
        common = ours._Common(self.work, self.count, results, mark, folders)
        items = self._submit(jobs, common, None if self.shared else results)
        self._follow(items, results, finished)


@pytest.fixture
def inline(monkeypatch, tmp_path):
    """A function that makes a launcher; tasks change into the checkout, which is undone."""
    monkeypatch.chdir(tmp_path)

    def make(made, work, *nodes, count=1, shared=True):
        return Inline(InlineRay(*nodes), work, count, made.base, shared)

    return make


def names(launcher):
    return [options["name"].rpartition("] ")[2] for options in launcher.ray.asked]


def test_each_stage_is_a_task_and_a_failure_stays_in_its_rows(planned, work, inline):
    made = planned(changes=["trainer.progress=false"])  # as on a cluster
    work.fails_at[made.jobs[2].run] = UserError("loss is NaN at step 7")
    launcher = inline(made, work)
    results = carry_out(made, launcher, lambda results: None)
    work.kept.clear()
    assert results == carry_out(made, InProcess(work), lambda results: None)
    assert sum(result.failed for result in results.values()) == 2
    assert len(names(launcher)) == len(set(names(launcher))) == 9 + len(made.left)
    assert {options["max_retries"] for options in launcher.ray.asked} == {5}


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("NodeDiedError", "killed", "its process or its machine was lost 6 times"),
        ("OutOfMemoryError", "out_of_memory", "the memory of its machine ran out"),
        ("RayTaskError", "failed", "RuntimeError: no such thing in rack"),
    ],
)
def test_what_is_lost_fails_its_rows_alone(planned, work, inline, kind, code, said):
    made = planned()
    launcher, job = inline(made, work), made.jobs[2]
    launcher.ray.lost[f"{job.title}: training"] = KINDS[kind]("worker 7 is gone")
    results = carry_out(made, launcher, lambda results: None)
    failed = {n: result for n, result in results.items() if result.failed}
    waits = {j.number for j in made.left if job.run in [stage.key for stage in j.stages]}
    assert failed.keys() == waits and len(waits) == 2
    assert {result.reason.code for result in failed.values()} == {code}
    assert {result.reason.found for result in failed.values()} == {said}


@pytest.mark.parametrize(
    ("words", "nodes", "count", "threads", "needs"),
    [
        ([], [{"CPU": 2.0}], 1, "3", {"num_cpus": 3}),
        ([], [{"CPU": 8.0}, {"CPU": 4.0}], 1, "3", {"num_cpus": 3}),
        ([], [{"CPU": 8.0, "GPU": 2.0}], 1, None, {"num_gpus": 1, "num_cpus": 1}),
        ([], [{"CPU": 8.0, "GPU": 2.0}], 4, None, {"num_gpus": 0.25, "num_cpus": 1}),
        (["trainer.devices=2"], [{"CPU": 8, "GPU": 2}], 1, None, {"num_gpus": 2, "num_cpus": 1}),
        (["trainer.accelerator=cpu"], [{"CPU": 4.0, "GPU": 2.0}], 1, "4", {"num_cpus": 4}),
    ],
)
def test_a_task_gets_a_gpu_or_the_cores_of_its_threads(
    planned, work, inline, monkeypatch, words, nodes, count, threads, needs
):
    made = planned(changes=words)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    else:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launcher = inline(made, work, *nodes, count=count)
    if threads == "3" and len(nodes) == 1:
        with pytest.raises(UserError, match=r"OMP_NUM_THREADS=3: no node has more than 2 cores"):
            carry_out(made, launcher, lambda results: None)
        return
    carry_out(made, launcher, lambda results: None)
    for options in launcher.ray.asked:
        expected = needs if options["name"].endswith("training") else {**needs}
        if "scoring" in options["name"] and "num_gpus" in needs:
            expected["num_gpus"] = min(1, needs["num_gpus"])
        assert {name: options[name] for name in needs} == expected
        variables = options["runtime_env"]["env_vars"]
        assert variables["OMP_NUM_THREADS"] == (threads or str(4 // count))
        assert variables.keys() <= {"OMP_NUM_THREADS", *ours._PASSED}, "no secrets"


def test_a_large_network_shares_its_gpu_with_nobody(planned, work, inline, monkeypatch):
    wide = types.SimpleNamespace(hidden_size=1024)
    monkeypatch.setattr(ours, "find_model", lambda path, *_: path)
    monkeypatch.setattr(
        ours,
        "load_config",
        lambda path: wide if "large" in path else types.SimpleNamespace(hidden_size=768),
    )
    made = planned()
    launcher = inline(made, work, {"CPU": 8.0, "GPU": 2.0}, count=2)
    carry_out(made, launcher, lambda results: None)
    shares = {("large" in o["name"], o["num_gpus"]) for o in launcher.ray.asked}
    assert shares == {(False, 0.5), (True, 1)}


# Folders that are not shared


def outcome(results: Path) -> dict[str, bytes]:
    """Weights, scores and settings, which must not depend on who made them where."""
    paths = [*results.glob("runs/*/model/**/*"), *results.glob("runs/*/metrics.json")]
    paths += results.glob("runs/*/settings.json")
    found = {str(p.relative_to(results)): p.read_bytes() for p in paths if p.is_file()}
    return found | {str(p.relative_to(results)): b"" for p in results.glob("runs/*/record.json")}


def small_plan(folder: Path):
    """The first trained row of Table 2, of two stages, in the demo."""
    words = (
        *SHORT,
        f"paths.results={folder / 'results'}",
        f"paths.cache={folder.parent / 'cache'}",
    )
    base = compose_table("demo", words)
    prepare(base)
    table = spec.load("2")
    rows = tuple(row for row in table.rows if row.name == "SBERT-NLI-STSb-base")
    work = LedgerWork(base, "table_2_demo")
    small = dataclasses.replace(table, rows=rows)
    return plan.make(small, plan.Request("demo", words), base, work), work


def test_without_a_shared_folder_the_same_files_are_brought_back(inline, tmp_path):
    made, work = small_plan(tmp_path / "here")
    alone = carry_out(made, InProcess(work), lambda results: None)
    results = tmp_path / "there" / "results"
    made, work = small_plan(tmp_path / "there")
    found = carry_out(made, inline(made, work, shared=False), lambda results: None)
    assert outcome(results) == outcome(tmp_path / "here" / "results")
    assert len(list(results.glob("runs/*/record.json"))) == 3, "two stages and a score"
    assert not list(results.glob("runs/*/checkpoints"))
    for number, result in found.items():
        assert {t: r["scores"] for t, r in result.scores.items()} == {
            t: r["scores"] for t, r in alone[number].scores.items()
        }
    # The model is here, its score is not: what scores it elsewhere gets its files.
    (record,) = (p for p in results.glob("runs/*/record.json") if not (p.parent / "model").exists())
    expected = record.read_bytes()
    record.unlink()
    made, work = small_plan(tmp_path / "there")
    carry_out(made, inline(made, work, shared=False), lambda results: None)
    assert json.loads(record.read_bytes())["scores"] == json.loads(expected)["scores"]
    assert small_plan(tmp_path / "there")[0].left == []


def test_what_is_brought_back_stays_in_the_results_folder(tmp_path):
    for name in ("../elsewhere", "/etc/elsewhere", "runs/../../elsewhere"):
        with pytest.raises(UserError, match="leads out of the results folder"):
            launch.store({name: b""}, tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_the_folders_looks_into_its_own_checkout(tmp_path):
    (tmp_path / "data").mkdir()
    folders = {"data": tmp_path / "data", "models": tmp_path / "gone", "cache": tmp_path / "gone"}
    common = ours._Common(None, 1, tmp_path / "it's results", tmp_path / "mark", folders)
    place = ours._Workplace(common, tmp_path / "own", {})
    config = place.here(compose_table("demo", ()))
    assert (config.paths.results, config.paths.data) == tuple(
        str(tmp_path / name) for name in ("own", "data")
    )
    assert (config.paths.cache, config.trainer.progress) == (".cache", False)
    words = ours._Workplace(common, common.results, {}).words()
    again = compose_table("demo", words)
    assert again.paths.results == str(tmp_path / "it's results")
    assert again.paths.cache == str(tmp_path / "gone"), "it is made in a folder that is shared"


# Refusals


def test_without_ray_a_line_says_how_to_install_it(planned, work, monkeypatch):
    monkeypatch.setattr(ours.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"launcher=ray: Ray is not installed: .*EXTRAS=ray"
    ) as said:
        launch.launcher("ray")(work, 1, planned().base)
    assert said.value.code == "missing"


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("address", ["ray://head:10001", "head", "127.0.0.1:9"])
def test_an_address_that_does_not_answer_is_refused_at_once(address):
    with pytest.raises(UserError, match=rf"RAY_ADDRESS={address}: (expected host:port|nobody)"):
        ours._refuse_unreachable(address)


def test_several_jobs_on_a_gpu_and_several_gpus_for_a_job_do_not_fit(planned, work):
    base = planned(changes=["trainer.devices=2"]).base
    with pytest.raises(UserError, match=r"jobs=2 with trainer\.devices=2: either"):
        launch.launcher("ray")(work, 2, base)


class GetTimeout(RayError):
    pass


class AskedNodes:
    """Ray as `_check_nodes` needs it, with one node that answers as it is told."""

    exceptions = types.SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeout)

    def __init__(self, answer):
        self.answer = answer

    def nodes(self):
        node = {"Alive": True, "Resources": {"CPU": 2.0}, "NodeID": "1"}
        return [{**node, "NodeManagerHostname": "rack"}]

    def remote(self, **_):
        told = types.SimpleNamespace(remote=lambda mark: self.answer)
        return lambda function: types.SimpleNamespace(options=lambda **_: told)

    def get(self, answer, timeout):
        assert timeout > launch.PATIENCE, "a busy node needs minutes to load the program"
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (GetTimeout("timed out"), r"node rack: has not loaded this program within 15 min: look at"),
        (RayError("No module named sbert_repro"), r"cannot run .*named sbert_repro\): install the"),
        (ours._Node("rack", True, {"torch": "1"}), r"has another version of torch than this mach"),
    ],
)
def test_a_node_that_cannot_work_is_refused_by_name(monkeypatch, planned, work, answer, said):
    kinds = types.SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", kinds)
    monkeypatch.setattr(ours, "_look", lambda mark: ours._Node("here", True, {"torch": "2"}))
    launcher = Inline(AskedNodes(answer), work, 1, planned().base, True)
    with pytest.raises(UserError, match=said):
        launcher._check_nodes(Path("mark"))


# What is shown


def test_the_line_says_what_runs_where_and_how_long_it_takes(planned, work):
    made = planned()
    jobs = made.left[:4]
    first = jobs[0]
    records = [work.train(stage.config, stage.overrides) for stage in first.stages]
    items = [ours._Item(job.title, object(), {}, "scoring", job=job) for job in jobs]
    items[2].like = "never measured"
    progress = ours._Progress(types.SimpleNamespace(), items, 2, records)
    assert progress._line() == (
        "0 done, 0 failed, 0 running, 4 waiting; time left: not known before the first one of its "
        "kind has ended"
    )
    progress.ended(items.pop(0), Result({"stsb": {"wall_seconds": 3600.0}}))
    items[0].host, items[0].since = "node1", ours.time.monotonic() - 1800
    assert progress._line() == (
        "1 done, 0 failed, 1 running (1 on node1), 2 waiting; about 1.0 h at least, 1 are of a "
        "kind not measured yet"
    )


# A cluster


def start(folder: Path, environment: dict[str, str], *words: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "scripts" / "table.py"), "table=4", "profile=demo"]
    command += [*SHORT, *words, f"paths.results={folder / 'results'}"]
    command += [f"paths.cache={folder.parent / 'cache'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **quiet, text=True, env=environment)


@pytest.mark.timeout(600)
def test_two_nodes_make_the_table_that_one_process_makes(ray_cluster, tmp_path):
    here = start(tmp_path / "here", {})
    there = start(tmp_path / "there", ray_cluster().environment, "launcher=ray")
    for process in (here, there):
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert re.search(r": done; (\d+) of \1\n", said) and "Traceback" not in said
    demo = [tmp_path / name / "results" / "demo" for name in ("here", "there")]
    tables = [folder / "changed" / "table_4.csv" for folder in demo]
    first, second = (list(csv.DictReader(path.open(encoding="utf-8"))) for path in tables)
    assert first == second and any(line["ours"] for line in first)
    assert outcome(tmp_path / "here" / "results") == outcome(tmp_path / "there" / "results")
    assert not list((tmp_path / "there").glob("results/runs/.locks/ray-*"))
