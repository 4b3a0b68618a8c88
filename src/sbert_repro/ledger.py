"""Content-addressed, write-once records: one JSON file for each trained model and each score.

A key says what was computed (kind, settings, data, versions of components), so "is it done?" is a
question about one file, and a stale result cannot pass as a fresh one. A record also says where its
number came from: the commit, the locked versions and the machine. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.aliases import renamed
from sbert_repro.errors import UserError
from sbert_repro.facts import fact, sentence
from sbert_repro.json_files import set_aside
from sbert_repro.storage import lock, remove_unfinished, sha256_of, write_once

Record = dict[str, Any]

SCHEMA = 2
"""Raised whenever the meaning of a stored field changes; older records must go on loading.

1: ``notes`` held sentences, and settings named components by their import paths.
2: ``facts`` hold fields, and settings name components by their words on the command line.
"""

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, when the package runs from one (an installed copy has no git state and no lock)."""

_REQUIRED = ("kind", "settings", "scores", "seed")
_KEY = re.compile(r"[0-9A-Za-z_-]{4,64}")
_CODE = ("src", "configs", "scripts", "train.py", "requirements.lock")
_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "pyarrow",
    "hydra-core",
    "wandb",
)
_log = logging.getLogger(__name__)


class Ledger:
    """The folder of all records, ``<root>/<key>/record.json``.

    Args:
        root: The folder, usually ``results/runs``; it is made when the first record is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Return the folder of a run, where its record, checkpoints and model lie.

        Args:
            key: The run key.

        Returns:
            ``<root>/<key>``, which need not exist.

        Raises:
            UserError: The key is not a key but, for example, a path.
        """
        if not _KEY.fullmatch(key):
            raise UserError(f"{key!r} is not a run key; expected 16 hex digits as in {self.root}")
        return self.root / key

    def get(self, key: str, *former: str) -> Record | None:
        """Read a record; one that cannot be read is set aside and counts as missing.

        Args:
            key: The run key.
            *former: Keys that earlier versions of this program gave the same work.

        Returns:
            The record in today's form, with the key it was stored under; ``None`` when the work has
            not been finished.

        Raises:
            UserError: The record was written by a later schema than this program knows.
        """
        found = (self._read(one) for one in (key, *former))
        return next((record for record in found if record is not None), None)

    def _read(self, key: str) -> Record | None:
        path = self.folder(key) / "record.json"
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=path) from error
        try:
            record = whole(text, key, path)
        except UserError as problem:
            # Another process may have put a good one there in the meantime.
            with contextlib.suppress(OSError):
                if path.read_bytes() == text:
                    set_aside(path, f"no whole record, {problem.found}", "it is made again")
            return None
        # Of a process that was killed between the record and the removal of its second name.
        remove_unfinished(path.parent)
        if record["schema"] > SCHEMA:
            raise UserError(
                f"a record of schema {record['schema']}, this program knows up to {SCHEMA}",
                where=path,
                mend="update the program",
            )
        return upgraded(record)

    def put(self, key: str, record: Mapping[str, Any]) -> Record:
        """Write a record once; the same content again is accepted, other content is refused.

        Schema, key and `provenance` are added where the caller gives none. A score that is not a
        finite number is stored as null: JSON has no NaN, and a degenerate seed must be shown.

        Args:
            key: The run key.
            record: At least ``kind``, ``settings``, ``scores`` and ``seed``.

        Returns:
            The record as stored.

        Raises:
            UserError: The key holds another record, or the disk refused it.
            ValueError: A required field is missing.
        """
        if missing := [name for name in _REQUIRED if name not in record]:
            raise ValueError(f"record of {key}: no {', '.join(missing)}")
        given = _plain(record)
        stored = self.get(key)
        if stored is None:
            full = {"schema": SCHEMA, "key": key, "facts": [], **_plain(provenance()), **given}
            text = json.dumps(full, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
            whole(text.encode(), key, self.folder(key) / "record.json")
            if write_once(self.folder(key) / "record.json", text + "\n"):
                return full
            stored = self.get(key) or {}
        differing = [name for name, value in given.items() if stored.get(name) != value]
        if differing:
            raise UserError(
                f"already there with other {', '.join(differing)}",
                where=self.folder(key) / "record.json",
                mend="a record is written once; remove its folder to compute it again",
            )
        return stored

    def keys(self) -> list[str]:
        """Return the keys of all finished runs, sorted."""
        return sorted(path.parent.name for path in self.root.glob("*/record.json"))

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a run for one process; another one waits, and says so once.

        Args:
            key: The run key.

        Yields:
            Nothing; call `get` again inside, since another process may have finished the run.

        Raises:
            UserError: The folder cannot be written, or its file system has no locks.
        """
        with lock(self.root / ".locks" / self.folder(key).name, f"run {key}"):
            yield


class Published:
    """The records behind a profile's committed tables, ``results/<profile>/records/*.json``.

    They stand in for the ledger where that is empty, as in a fresh clone: their numbers are printed
    again and nothing is trained anew. They hold no models.

    Args:
        folder: The folder of the files, which need not exist; ``None`` for no records at all.

    Attributes:
        used: Keys of the records that were returned.
    """

    def __init__(self, folder: Path | None) -> None:
        self._records: dict[str, Record] = {}
        self._scores: dict[tuple[str, str], Record] = {}
        self.used: set[str] = set()
        for path in sorted(folder.glob("*.json")) if folder is not None else ():
            self._records |= records_in(path)
        for record in self._records.values():
            if record["kind"] == "evaluate" and record.get("run"):
                place = self._model(record["run"]), _without_model(record["settings"])
                self._scores[place] = record

    def get(self, *keys: str) -> Record | None:
        """Return a record by its key.

        Args:
            *keys: The run key, and those that the same work had before.

        Returns:
            The first one there is, or ``None``.
        """
        return self._returned(next((self._records[k] for k in keys if k in self._records), None))

    def score(self, run: str, settings: Mapping[str, Any]) -> Record | None:
        """Return an evaluation of a run's model, without having the model.

        Args:
            run: The run's key, as its published record has it.
            settings: All that the evaluation's key is made of; of the encoder its precision, since
                the run tells the rest: task, data, metric, and the classifier or folds if any.

        Returns:
            The record, or ``None``.
        """
        return self._returned(self._scores.get((self._model(run), _without_model(settings))))

    def _model(self, run: str) -> str:
        """Return what tells a run's model from others: runs of equal models share their scores.

        The weights of the best look at dev and those of the last step, for example, may be equal.
        """
        record = self._records.get(run, {})
        if not (weights := record.get("weights_sha256")):
            return run
        settings = record["settings"]
        others = [settings.get(part) for part in ("pooling", "loss")]
        places = [settings["encoder"].get("layer"), settings["data"].get("max_length")]
        return json.dumps(_plain([weights, *others, *places]), sort_keys=True)

    def _returned(self, record: Record | None) -> Record | None:
        if record is not None:
            self.used.add(record["key"])
        return record


def _without_model(settings: Mapping[str, Any]) -> str:
    encoder = {"precision": settings["encoder"].get("precision")}
    return json.dumps(_plain({**settings, "encoder": encoder}), sort_keys=True)


def records_in(path: Path) -> dict[str, Record]:
    """Read the records behind one table's committed files.

    Args:
        path: ``results/<profile>/records/<table>.json``, which need not exist.

    Returns:
        The records by key, in today's form; none of a file that is damaged, which the log names.
    """
    try:
        records: dict[str, Record] = read_committed(path)["records"] if path.is_file() else {}
    except UserError as problem:
        _log.warning("%s; its records are not used", problem)
        return {}
    return {key: record for key, record in records.items() if record["schema"] <= SCHEMA}


def read_committed(path: Path) -> dict[str, Any]:
    """Read what is committed beside a table: its cells, and the records behind them.

    Args:
        path: ``results/<profile>/records/<table>.json``.

    Returns:
        Its content, with the records in today's form.

    Raises:
        UserError: If it is missing or damaged; names the record or the field.
    """
    mend = f"put it back: git checkout {path}"
    content: dict[str, Any] = dict(json_files.read(path, _Committed, mend))
    records = {}
    for key, record in content["records"].items():
        try:
            known = whole(json.dumps(record).encode(), key, path)
        except UserError as problem:
            found = f"record {key}: {problem.found}"
            raise UserError(found, where=path, mend=mend, code="damaged") from problem
        records[key] = upgraded(known)
    return content | {"records": records}


def upgraded(record: Record) -> Record:
    """Bring a record of an earlier schema into today's form.

    Args:
        record: As stored.

    Returns:
        The same, or a copy with components named by their words and with ``facts``. What the
        sentences of schema 1 said is not read back; whoever finds such a record at work on the same
        data knows the rows anew (`facts_of_before` marks it).
    """
    if record["schema"] >= SCHEMA:
        return record
    kept = {name: value for name, value in record.items() if name != "notes"}
    facts = [fact("facts_of_before")]
    return {**kept, "settings": renamed(record["settings"]), "facts": facts, "schema": SCHEMA}


def _is_sayable(one: Record) -> Record:
    try:
        sentence(one)
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"no fact that can be said ({problem!r})") from None
    return one


_Number = float | int | None


class Hardware(TypedDict, total=False):
    """A machine, as `hardware` describes it."""

    cpu: str | None
    instructions: list[str] | None
    cores: int | None
    ram_gib: float | int | None
    gpus: list[str] | None


class _Record(TypedDict):
    """What all kinds of record have in common; other entries may stand beside these."""

    schema: int
    key: str
    kind: str
    settings: dict[str, Any]
    scores: dict[str, Any]
    seed: int | None
    hardware: NotRequired[Hardware]
    versions: NotRequired[dict[str, str | None]]
    git: NotRequired[dict[str, str | bool | None]]
    run: NotRequired[str | None]
    parent: NotRequired[str | None]
    started: NotRequired[str | None]
    wandb_id: NotRequired[str | None]
    weights_sha256: NotRequired[str]
    steps: NotRequired[int | None]
    threads: NotRequired[int]
    train_seconds: NotRequired[_Number]
    wall_seconds: NotRequired[_Number]


class _WithFacts(TypedDict):
    facts: list[Annotated[dict[str, Any], AfterValidator(_is_sayable)]]


class _Part(TypedDict, total=False):
    n: int
    spearman: _Number
    pearson: _Number
    accuracy: _Number


class _Parts(_Part, total=False):
    parts: dict[str, _Part]


class _Scores(_Part, total=False):
    all: _Number
    mean: _Number
    wmean: _Number
    dev: _Number
    ci_low: _Number
    ci_high: _Number
    similarities: dict[str, _Number]
    subsets: dict[str, _Part]
    folds: _Parts
    topics: _Parts


class _Task(TypedDict):
    task: str
    encoder: NotRequired[dict[str, Any]]


class _Evaluation(TypedDict):
    settings: _Task
    scores: _Scores


class _Run(TypedDict, total=False):
    encoder: dict[str, Any]
    data: dict[str, Any]
    parent: str | None


class _Training(TypedDict):
    settings: _Run
    scores: dict[str, _Number]


class _Intervals(TypedDict):
    intervals: list[list[float]]


class _Bootstrap(TypedDict):
    scores: _Intervals


_KINDS: dict[str, Any] = {
    "evaluate": _Evaluation,
    "train": _Training,
    "bootstrap": _Bootstrap,
}
"""Kind → what its records have besides."""


class _Cell(TypedDict):
    paper_row: str
    column: str
    scores: NotRequired[dict[str, _Number]]


class _Committed(TypedDict):
    records: dict[str, dict[str, Any]]
    cells: NotRequired[list[_Cell]]


def whole(text: bytes, key: str, where: object) -> Record:
    """Parse a record, and check every field that this program reads.

    Args:
        text: Its file.
        key: What it must be the record of.
        where: The file, for messages.

    Returns:
        The record, as stored.

    Raises:
        UserError: If a field is missing or of another type; names it.
    """
    record: dict[str, Any] = dict(json_files.parse(text, _Record, where))
    if record["key"] != key:
        raise UserError(f"the record of {record['key']}, expected {key}", where=where)
    if record["schema"] > 1:
        json_files.parse(text, _WithFacts, where)
    if kind := _KINDS.get(record["kind"]):
        json_files.parse(text, kind, where)
    return record


def _plain(value: Any) -> Any:
    """Return the value as JSON would give it back: NumPy numbers plain, NaN null, tuples lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


@functools.cache
def provenance() -> dict[str, Any]:
    """Describe the code and the machine behind a number.

    Read once a process: the code that runs is the code that was there when the process began,
    whatever is edited while a long run is under way.

    Returns:
        ``git`` (commit, dirty), ``lock_sha256``, ``hardware``, ``versions``; what cannot be found
        is ``None``.
    """
    locked = ROOT / "requirements.lock"
    return {
        # An installed copy may lie inside a checkout of something else.
        "git": git_state(ROOT) if (ROOT / "configs").is_dir() else {"commit": None, "dirty": None},
        "lock_sha256": sha256_of(locked) if locked.is_file() else None,
        "hardware": hardware(),
        "versions": versions(),
    }


def git_state(root: Path) -> dict[str, Any]:
    """Return the commit, and whether the code differs from it.

    Only code and configs count: a table that writes its own results must not make every later
    number look as if it came from changed code.

    Args:
        root: The checkout.

    Returns:
        ``commit`` (``None`` outside a repository) and ``dirty`` (``None`` when it is not known).
    """
    commit = _output(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"])
    paths = [name for name in _CODE if (root / name).exists()]
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--", *paths])
    return {"commit": commit or None, "dirty": None if changed is None else bool(changed)}


def hardware() -> dict[str, Any]:
    """Return the CPU's name and what its products are made of, usable cores, RAM in GiB, GPUs."""
    cpu, instructions = _cpu()
    return {
        "cpu": cpu,
        "instructions": instructions,
        "cores": cores(),
        "ram_gib": _ram_gib(),
        "gpus": _gpus(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the libraries that can move a number."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine(record: Mapping[str, Any]) -> str:
    """Name the machine that a record was made on.

    Args:
        record: Of the ledger, or anything else with ``hardware`` and perhaps ``threads``.

    Returns:
        "AMD EPYC (AVX2), 2 cores, 24 GiB"; threads are named where they are not as many as the
        cores, and earlier records do not know their instructions.
    """
    here = record.get("hardware", {})
    known = here.get("instructions")
    cpu = (here.get("cpu") or "unknown CPU") + (f" ({', '.join(known)})" if known else "")
    gpus = Counter(here.get("gpus") or [])
    cards = "".join(f", {count} × {name}" for name, count in gpus.items())
    memory = f", {here['ram_gib']:.0f} GiB" if here.get("ram_gib") else ""
    count = here.get("cores", "?")
    cores = "1 core" if count == 1 else f"{count} cores"
    number = record.get("threads", count)
    threads = "" if number == count else ", 1 thread" if number == 1 else f", {number} threads"
    return f"{cpu}, {cores}{memory}{cards}{threads}"


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


_INSTRUCTIONS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "AVX-VNNI": {"avx_vnni"},
    "VNNI": {"avx512_vnni"},
    "bf16": {"avx512_bf16", "bf16"},
    "AMX": {"amx_tile"},
    "I8MM": {"i8mm"},
}
"""Sets of instructions that decide how fast products are, and what the kernel calls them."""


def _cpu(kernels: Path = Path("/proc/cpuinfo")) -> tuple[str | None, list[str]]:
    """Return the processor's name and those of `_INSTRUCTIONS` that it has.

    The name alone does not do: on rented machines processors of very different speed share one.
    """
    try:
        lines = kernels.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None, []
    first: dict[str, str] = {}
    for line in lines:
        field, _, value = line.partition(":")
        first.setdefault(field.strip(), value.strip())
    has = {*first.get("flags", first.get("Features", "")).split()}
    found = [name for name, flags in _INSTRUCTIONS.items() if flags & has]
    if "AVX-512" in found:
        found.remove("AVX2")
    return first.get("model name", platform.machine()), found


def cores() -> int | None:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _ram_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return round(total / 2**30, 1)


def _gpus() -> list[str]:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return [line.strip() for line in (names or "").splitlines() if line.strip()]
