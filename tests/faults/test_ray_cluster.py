"""A table on a Ray cluster whose processes, nodes and driver are killed has the same bits."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Folder, made

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


TABLE = (
    "scripts/table.py table=4 profile=demo trainer.epochs=8 trainer.save_every=20 "
    "trainer.progress=false"
).split()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The table as one process makes it that nothing happens to."""
    return made(tmp_path_factory, tuple(TABLE))


@pytest.fixture
def on_ray(tmp_path):
    return Folder(tmp_path / "disturbed", (*TABLE, "launcher=ray"))


def checkpoints(folder) -> list[Path]:
    return sorted(folder.root.glob("results/runs/*/checkpoints/last.ckpt"))


def until(so, process, folder):
    """Wait until something is true while a process runs."""
    while not so():
        assert process.poll() is None, folder.said()
        time.sleep(0.05)


def ended_well(process, folder, alone):
    assert process.wait() == 0, folder.said()
    assert folder.outcome() == alone.outcome()
    assert "Traceback" not in folder.said()


def test_a_node_that_dies(alone, on_ray, ray_cluster):
    cluster = ray_cluster("dashboard")
    process = on_ray.start(**cluster.environment)
    until(lambda: len(cluster.tasks()) == 2 and checkpoints(on_ray), process, on_ray)
    cluster.kill_second_node()
    ended_well(process, on_ray, alone)
    assert " running (" in on_ray.said(), "it says where"


def test_processes_that_die(alone, on_ray, ray_cluster):
    cluster = ray_cluster()
    process = on_ray.start(**cluster.environment)
    for _ in range(3):
        until(lambda: cluster.tasks() and len(checkpoints(on_ray)) > 0, process, on_ray)
        killed = min(cluster.tasks())
        os.kill(killed, signal.SIGKILL)
        until(lambda gone=killed: gone not in cluster.tasks(), process, on_ray)
    ended_well(process, on_ray, alone)


def test_a_driver_that_is_ended_again_and_again(alone, on_ray, ray_cluster):
    cluster = ray_cluster()
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        process = on_ray.start(**cluster.environment)
        began = time.time()
        until(lambda since=began: newer(checkpoints(on_ray), since), process, on_ray)
        process.send_signal(number)
        assert process.wait() == expected, on_ray.said()
        end = time.monotonic() + 150
        while left := cluster.tasks():
            assert time.monotonic() < end, f"tasks go on: {left}"
            time.sleep(0.1)
    ended_well(on_ray.start(**cluster.environment), on_ray, alone)


def newer(paths, since) -> bool:
    with contextlib.suppress(FileNotFoundError):  # a run that ended needs no checkpoint
        return any(path.stat().st_mtime > since for path in paths)
    return False


def test_a_node_that_sees_no_results_and_dies(alone, on_ray, ray_cluster):
    hides = ("unshare", "--map-root-user", "--mount")
    if subprocess.run([*hides, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    cluster = ray_cluster("alone")
    results = on_ray.root / "results"
    results.mkdir()
    join = [sys.executable, str(Path(__file__).parents[1] / "ray_cluster.py"), "join"]
    join.append(cluster.environment["RAY_ADDRESS"])
    blind = subprocess.Popen(
        [*hides, "sh", "-c", f"mount -t tmpfs none {results} && exec {shlex.join(join)}"],
        env={**os.environ, **cluster.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert blind.stdout.readline(), "the node did not start"
        process = on_ray.start(**cluster.environment)
        until(lambda: "does not see the results folder" in on_ray.said(), process, on_ray)
        # What the other node has made has come here, and it has gone on to its next task.
        until(lambda: brought_back(results), process, on_ray)
        blind.stdin.write("kill\n")
        blind.stdin.flush()
        ended_well(process, on_ray, alone)
    finally:
        blind.communicate()


def brought_back(results) -> bool:
    """Whether there is a run that was made in a folder of a worker's own."""
    finished = results.glob("runs/*/record.json")
    configs = (path.with_name("config.yaml") for path in finished)
    return any("/sbert-ray-" in path.read_text() for path in configs if path.exists())
