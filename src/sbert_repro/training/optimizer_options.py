"""Numbers of an optimizer that no optimizer can work with."""

from __future__ import annotations

from omegaconf import DictConfig

from sbert_repro.errors import UserError

_SHARES = ("beta1", "beta2", "momentum")
_POSITIVE = ("lr", "eps", "clip_per_tensor", "min_lr", "decay", "shrink")
_NOT_NEGATIVE = ("weight_decay",)


def check_optimizer(node: DictConfig) -> None:
    """Refuse numbers out of range.

    Args:
        node: The composed ``optimizer``; options that it does not have are not asked for.

    Raises:
        UserError: If a number is out of range; says which and what is expected.
    """
    for name in map(str, node):
        value = node[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for names, fits, expected in (
            (_SHARES, 0 <= value < 1, "at least 0 and less than 1"),
            (_POSITIVE, 0 < value < float("inf"), "more than 0"),
            (_NOT_NEGATIVE, 0 <= value < float("inf"), "at least 0"),
        ):
            if name in names and not fits:
                raise UserError(f"optimizer.{name}={value:g}: expected {expected}")
