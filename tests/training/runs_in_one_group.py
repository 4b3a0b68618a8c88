"""Several runs one after another in one group of processes, which then begin only once."""

from functools import partial

from sbert_repro.training.fit import _begin_beside


def begin(runs):
    """What `together` asks for, for `(config, folder)` after `(config, folder)`."""
    begun = [_begin_beside(config, folder, None) for config, folder in runs]
    return partial(_run_all, begun)


def _run_all(begun):
    for run in begun:
        run()
