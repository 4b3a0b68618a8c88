"""scripts/slurm.sbatch with stand-ins for SLURM; scripts/kuberay.yaml as far as it can be read."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "slurm.sbatch"
STAND_INS = {
    "scontrol": 'printf "%s\\n" node07 node08',
    "srun": 'echo "$RAY_AUTH_MODE $RAY_USAGE_STATS_ENABLED"; printf "%s\\n" "$@"',
}


def submit(folder, *words, with_ray=True):
    """Run the script as the first node of a job of two would."""
    for name, does in STAND_INS.items():
        write(folder / "bin" / name, does)
    if with_ray:
        write(
            folder / ".venv" / "bin" / "ray", "mkdir -p ~/.ray && echo secret > ~/.ray/auth_token"
        )
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NODELIST": "node[07-08]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_ON_NODE": "64",
    }
    return subprocess.run(
        ["sh", str(SCRIPT), *words], env=variables, capture_output=True, text=True, check=False
    )


def write(path, does):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def test_it_is_a_script_of_any_shell():
    subprocess.run(["sh", "-n", str(SCRIPT)], check=True)


def test_ray_starts_on_each_node_and_the_tables_on_the_first(tmp_path):
    done = submit(tmp_path, "table-1", "PROFILE=lite")
    assert done.returncode == 0, done.stderr
    variables, *words = done.stdout.splitlines()
    assert variables == "token 0"
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o077 == 0, "nobody else reads it"
    ray, command = words[: words.index("--")], words[words.index("--") + 1 :]
    assert ray[:3] == ["--kill-on-bad-exit=1", "ray", "symmetric-run"]
    options = dict(zip(ray[3::2], ray[4::2], strict=True))
    assert options == {"--address": "node07:24567", "--min-nodes": "2", "--num-cpus": "64"}
    assert command == [
        "env",
        "RAY_ADDRESS=node07:24567",
        *["make", "--keep-going", "table-1", "PROFILE=lite", "LAUNCHER=ray"],
    ]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray_has_the_command_and_its_options():
    from ray.scripts.scripts import cli

    known = {word for option in cli.commands["symmetric-run"].params for word in option.opts}
    started = {word for option in cli.commands["start"].params for word in option.opts}
    assert {"--address", "--min-nodes"} <= known and "--num-cpus" in started
    assert "get-auth-token" in cli.commands


def test_what_is_missing_is_one_line(tmp_path):
    for words, with_ray, said in (
        (["table-1"], False, "error: no Ray in .venv: make setup EXTRAS=ray\n"),
        ([], True, "error: which targets? sbatch scripts/slurm.sbatch table-6\n"),
    ):
        done = submit(tmp_path, *words, with_ray=with_ray)
        assert (done.returncode, done.stderr, done.stdout) == (1, said, "")


def test_the_manifest_runs_targets_that_exist_on_the_locked_ray():
    job = yaml.safe_load((ROOT / "scripts" / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]
    cluster = job["rayClusterSpec"]
    lock = (ROOT / "requirements-ray.lock").read_text(encoding="utf-8")
    assert f"ray=={cluster['rayVersion']}\n" in lock
    assert cluster["authOptions"] == {"mode": "token"}
    tables = re.findall(r"table-(\w+)", job["entrypoint"])
    assert tables and all((ROOT / "configs/tables" / f"table_{n}.yaml").exists() for n in tables)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"]["containers"][0] for group in groups]
    assert len({pod["image"] for pod in pods}) == 1
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in pods[0]["env"] == pods[1]["env"]
    assert all(pod["volumeMounts"] == pods[0]["volumeMounts"] for pod in pods)
