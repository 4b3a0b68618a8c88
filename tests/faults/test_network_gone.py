"""Data and models are there, and no network at all: the same bits, W&B offline."""

import subprocess

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
ALONE = ("unshare", "--map-root-user", "--net")


@pytest.fixture(autouse=True)
def namespaces():
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces for this user")


def test_without_a_network_a_run_that_should_be_online_ends_as_ever(undisturbed_stages, stages):
    stages.within = ALONE
    online = {"WANDB_MODE": "online", "WANDB_API_KEY": "a" * 40, "HF_HUB_OFFLINE": "0"}
    assert stages.start(**online).wait() == 0, stages.said()
    assert stages.outcome() == undisturbed_stages.outcome()
    assert stages.said().count("W&B did not start (online)") == 1, "it waits once a process"
    offline = {path.parent.name for path in stages.root.glob("results/wandb/offline-run-*/*.wandb")}
    assert len(offline) == 2, "one for each stage"
