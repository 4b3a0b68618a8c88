"""After which steps dev is scored: part of a run's key, where it makes a difference."""

from __future__ import annotations


def is_look(step: int, epoch_steps: int, every: int | None) -> bool:
    """Tell whether dev is scored after a step, the run's last one apart.

    # paper: silent / here: the steps are counted from each epoch's start, and dev is scored at its
    # end too, as in the authors' code / effect: which weights of several epochs are kept

    Args:
        step: Steps of the run so far.
        epoch_steps: Steps of an epoch.
        every: Steps between two looks; ``None``: only at the end of each epoch.

    Returns:
        Whether it is.
    """
    in_epoch = step % epoch_steps
    return in_epoch == 0 or (every is not None and in_epoch % every == 0)
