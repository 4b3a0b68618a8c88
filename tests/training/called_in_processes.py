"""Functions that test_devices.py calls in processes of their own, which import them by name."""

import os
import pickle
import signal
import time

from sbert_repro.errors import UserError
from sbert_repro.training import devices
from sbert_repro.training.fit import _fit
from sbert_repro.training.tracking import Tracking


def fit_each(runs):
    """Fit several runs one after another, since beginning processes takes longer than a fit."""
    for config, folder in runs:
        result = _fit(config, folder, None, Tracking())
        if os.environ["LOCAL_RANK"] == "0":
            (folder / "result.pickle").write_bytes(pickle.dumps(result))
    if os.environ["LOCAL_RANK"] == "1":
        raise UserError("no room", where="here", mend="go there", code="partial")


def fit_until_sigterm(config, folder):
    """Fit, after the process that began this one was told to end."""
    if os.environ["LOCAL_RANK"] == "0":
        os.kill(os.getppid(), signal.SIGTERM)
    while not (devices._folder[0] / devices._ASKED).exists():
        time.sleep(0.01)
    _fit(config, folder, None, Tracking())


def die_alone():
    """Let the second process be killed, as the kernel does when memory is short."""
    if os.environ["LOCAL_RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
