"""What ``engine=`` and ``precision=`` may be together; torch is not imported to refuse them."""

from __future__ import annotations

from sbert_repro.errors import UserError

ENGINES = ("auto", "packed", "reference")


def check_engine(engine: str, precision: str) -> None:
    """Refuse an engine that does not exist, or that has no such precision.

    Args:
        engine: ``packed``, ``reference`` or ``auto``.
        precision: ``fp32``, ``bf16`` or ``int8``.

    Raises:
        UserError: If that is so.
    """
    if engine not in ENGINES:
        raise UserError(
            f"there is no such engine; there are: {', '.join(ENGINES)}", where=f"engine={engine}"
        )
    if engine == "reference" and precision == "int8":
        raise UserError(
            "only the packed engine has 8-bit products",
            where="engine=reference precision=int8",
            mend="use precision=fp32, or engine=packed",
        )
