"""Work of processes that only pretend, for test_launch.py: what they do are files."""

import json
import os
import signal
import time
from pathlib import Path

from sbert_repro.errors import UserError


class PretendedWork:
    """Trains by writing a file.

    Attributes:
        folder: A file `<key>` for each training that ended, `<key>.<process>` for each that began.
        endings: Key → user, fault, memory, killed or killed_once: what happens instead of training.
        seconds: That a training takes.
    """

    def __init__(self, folder, endings=None, seconds=0.0):
        self.folder, self.endings, self.seconds = Path(folder), endings or {}, seconds

    def trained(self, config, overrides, settings=None):
        path = self.folder / self.key(config)
        return json.loads(path.read_text()) if path.exists() else None

    def records(self):
        return []

    def train(self, config, overrides):
        assert config.trainer.progress is False, "bars of several would write over each other"
        key = self.key(config)
        if (found := self.trained(config, overrides)) is None:
            signal.signal(signal.SIGTERM, self.end)
            (self.folder / f"{key}.{os.getpid()}").touch()
            time.sleep(self.seconds)
            self.fail(key, self.endings.get(key))
            found = {"kind": "train", "key": key, "threads": os.environ["OMP_NUM_THREADS"]}
            (self.folder / key).write_text(json.dumps(found))
        return found

    def key(self, config):
        stage = "two" if config.parent is not None else "one"
        return f"{config.encoder.path.rpartition('/')[2]}-{stage}-{config.seed}"

    def end(self, *_):
        (self.folder / f"saved.{os.getpid()}").touch()
        raise SystemExit(143)

    def fail(self, key, ending):
        if ending == "user":
            raise UserError("loss is NaN at step 7")
        if ending == "fault":
            raise RuntimeError("out of luck")
        if ending == "memory":
            import torch

            raise torch.OutOfMemoryError("said in any words")
        begun = len(list(self.folder.glob(f"{key}.*")))
        if ending == "killed" or (ending == "killed_once" and begun == 1):
            os.kill(os.getpid(), signal.SIGKILL)

    def score(self, config, run, tasks):
        encoder = run or f"{config.encoder.path}"
        return {task: {"kind": "evaluate", "key": f"{encoder} {task}"} for task in tasks}
