"""Speeds through the ledger: a record names its machine, and is found again only there."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from omegaconf import DictConfig

from sbert_repro.compose import compose_speed
from sbert_repro.config import SpeedConfig, run_key
from sbert_repro.evaluation.speed.rows import lineup, measured
from sbert_repro.ledger import Ledger, hardware, versions
from sbert_repro.storage import sha256_of

composed = compose_speed
KIND = "speed"
SCHEMA = SpeedConfig
"""Imported for its name in Hydra's store, which ``configs/speed.yaml`` starts from."""
VERSION = 1
"""Raised when something else is measured under the same settings and by the same code."""
TIMED_CODE = (
    "backbone",
    "data/batching.py",
    "data/prefetch.py",
    "data/word_pieces.py",
    "data/word_tokenizer.py",
    "data/word_tokens.py",
    "data/word_vectors.py",
    "encoders",
    "evaluation/search",
    "evaluation/speed",
    "inference",
    "pooling",
    "similarity.py",
)
"""Files and folders of the package that are at work while a time is taken."""
_PACKAGE = Path(__file__).resolve().parents[2]
Record = dict[str, Any]


def quiet() -> None:
    """Keep encoders from saying with every repeat what they say of every text."""
    for name in ("sbert_repro.encoders", "sbert_repro.data.tokens"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Said once, of what takes minutes.
    logging.getLogger("sbert_repro.encoders.onnx_graph").setLevel(logging.INFO)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def code_sha256(package: Path = _PACKAGE) -> str:
    """Name the code that is timed by its content, so that no engine is shown with another's time.

    Args:
        package: The folder of the package.

    Returns:
        str: 64 hex digits; any changed, new or renamed file of `TIMED_CODE` gives others.
    """
    digest = hashlib.sha256()
    for name in TIMED_CODE:
        place = package / name
        for path in [place] if place.suffix else sorted(place.rglob("*.py")):
            digest.update(f"{path.relative_to(package)} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def timed_rows(rows: Mapping[str, Sequence[str]], config: DictConfig) -> Record:
    """Time encoders side by side, or find that in the ledger.

    Args:
        rows: Name → options, as for ``scripts/evaluate.py``.
        config: Composed options of ``configs/speed.yaml``.

    Returns:
        Record: ``record["scores"]`` is what `measured` gives.

    Raises:
        UserError: If the sentences are not there.
    """
    line = lineup(rows, config)
    settings = {
        "rows": {name: dict(one.encoder.identity) for name, one in line.works.items()},
        "options": {name: list(words) for name, words in rows.items()},
        "texts": hashlib.sha256("\0".join(line.texts).encode()).hexdigest(),
        "batch_size": int(config.batch_size),
    }
    return kept(settings, config, lambda: measured(line, int(config.repeats)))


def kept(settings: Mapping[str, Any], config: DictConfig, measure: Callable[[], Any]) -> Record:
    """Give the last record of this machine; measure where there is none, or where asked again.

    A time is no reproducible number, so what it depends on includes the machine, the threads, the
    libraries and our own code; the measurements of one machine are counted, and none takes
    another's place.

    Args:
        settings: What is measured.
        config: Composed options; ``again``, ``repeats`` and ``paths`` are read.
        measure: Gives the figures.

    Returns:
        Record: Of the ledger.
    """
    ledger = Ledger(Path(config.paths.results) / "runs")
    whole = {
        **settings,
        "version": VERSION,
        "code": code_sha256(),
        "repeats": int(config.repeats),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    number, last = 1, None
    while (found := ledger.get(run_key(KIND, {**whole, "number": number}))) is not None:
        number, last = number + 1, found
    if last is not None and not config.again:
        return last
    return _new(ledger, {**whole, "number": number}, measure)


def _new(ledger: Ledger, settings: Mapping[str, Any], measure: Callable[[], Any]) -> Record:
    """Measure; a second process that wants the same waits and finds it."""
    key = run_key(KIND, settings)
    with ledger.lock(key):
        if (found := ledger.get(key)) is not None:
            return found
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        scores = measure()
        record = {
            "kind": KIND,
            "settings": settings,
            "scores": scores,
            "seed": None,
            "notes": list(scores["notes"]),
            "wall_seconds": round(time.monotonic() - clock, 3),
            "started": started,
        }
        return ledger.put(key, record)
