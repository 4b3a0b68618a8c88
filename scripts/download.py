"""Get what the paper's tables need: ``python scripts/download.py [sets=[NAME,…]] [NAME …]``.

Data sets and word vectors go to the data root, InferSent and USE to the folder of models, the four
pre-trained encoders to the Hub's cache. This needs the network, and nothing does afterwards. What
is there already is left alone, and what fails does not stop the rest: it is listed at the end, and
the exit status is 1.

``sets=`` names what to get instead: data sets (``docs/data.md``; some are in no table), files of
word vectors, ``infersent``, ``use``, ``bert_base``, ``bert_large``, ``roberta_base``,
``roberta_large``; ``word_vectors`` and ``encoders`` stand for all of these. ``paths.data=FOLDER``
(or ``root=``) and ``paths.models=FOLDER`` say where to put them, otherwise SBERT_DATA and
SBERT_MODELS or data/ and models/. ``allow_partial=true`` keeps a data set that has another number
of rows than the paper's; commands that read it then need ``data.allow_partial=true``.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from sbert_repro.cli import one_line_errors
from sbert_repro.config import CONFIG_DIR
from sbert_repro.data import word_vectors
from sbert_repro.data.download import BY_HAND, check_hub_cache, download, fetch
from sbert_repro.data.schema import dataset, names
from sbert_repro.errors import UserError
from sbert_repro.storage import filling

ENCODERS = ("bert_base", "bert_large", "roberta_base", "roberta_large")
GROUPS = {
    word_vectors.FOLDER: [published.name for published in word_vectors.PUBLISHED],
    "encoders": list(ENCODERS),
    "snli": ["nli"],
    "multi_nli": ["nli"],
    "kornli": ["kornli_xnli"],
}
"""Further words for ``sets=``: several things at once, and other names of one."""
FAILED = 1


@dataclass
class Wanted:
    """What was asked for on the command line."""

    # Not where readers would look: a folder beside the repository is not ours to fill.
    data: Path = field(default_factory=lambda: Path(os.environ.get("SBERT_DATA") or "data"))
    models: Path = field(default_factory=lambda: Path(os.environ.get("SBERT_MODELS") or "models"))
    allow_partial: bool = False
    chosen: list[str] = field(default_factory=list)


def wanted(words: Sequence[str]) -> Wanted:
    """Read the words of the command line."""
    found = Wanted()
    for word in words:
        key, given, value = word.partition("=")
        if not given:
            found.chosen.append(word)
        elif key == "sets":
            inside = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            names = [name.strip() for name in inside.split(",") if name.strip()]
            if not names or any(set("[]") & set(name) for name in names):
                raise UserError("names nothing; expected sets=[NAME,…]", where=word)
            found.chosen += names
        elif key in ("root", "paths.data") and value:
            found.data = Path(value)
        elif key == "paths.models" and value:
            found.models = Path(value)
        elif key in ("allow_partial", "data.allow_partial") and value in ("true", "false"):
            found.allow_partial = value == "true"
        else:
            raise UserError(
                "expected sets=[NAME,…], root=FOLDER, paths.models=FOLDER or allow_partial=true",
                where=word,
            )
    return found


def jobs(asked: Wanted) -> dict[str, Callable[[], Iterator[str]]]:
    """Return what can be got: its name → what gets it, a line for each file."""
    found: dict[str, Callable[[], Iterator[str]]] = {
        name: partial(download, dataset(name), asked.data, allow_partial=asked.allow_partial)
        for name in names()
    }
    for published in word_vectors.PUBLISHED:
        found[published.name] = partial(_vectors, published, asked.data)
    found["infersent"] = partial(_infersent, asked.models)
    found["use"] = partial(_use, asked.models)
    for name in ENCODERS:
        found[name] = partial(_encoder, name, asked.models)
    return found


def _vectors(published: word_vectors.Published, root: Path) -> Iterator[str]:
    yield word_vectors.download(published, root)


def _infersent(models: Path) -> Iterator[str]:
    from sbert_repro.encoders.infersent import SOURCE, published_weights

    file = models / "infersent1.pkl"
    there = file.is_file()
    fetch(f"{SOURCE}/{file.name}", file)
    try:
        published_weights(file)
    except UserError:
        if not there:
            file.unlink()
        raise
    yield f"{file}: InferSent's weights{', already there' if there else ''}"


def _use(models: Path) -> Iterator[str]:
    from sbert_repro.encoders.use import GRAPHS, SOURCE

    folder = models / str(OmegaConf.load(CONFIG_DIR / "encoder" / "use.yaml").path)
    if any((folder / name).is_file() for name in GRAPHS):
        yield f"{folder}: already there"
        return
    address = f"{SOURCE}?tf-hub-format=compressed"
    try:
        with tempfile.TemporaryDirectory() as place, filling(folder) as own:
            archive = fetch(address, Path(place) / "use.tar.gz")
            with tarfile.open(archive) as packed:
                packed.extractall(own, filter="data")
            if not any((own / name).is_file() for name in GRAPHS):
                raise UserError(f"{address} holds no saved_model.pb")
    except (UserError, tarfile.TarError) as problem:
        # Its site has moved more than once, and everything else runs without it.
        raise UserError(
            f"Universal Sentence Encoder: {getattr(problem, 'found', problem)}",
            mend=f"unpack {address} (or version 3 of the large one from Kaggle's models of Google) "
            f"into {folder}, so that saved_model.pb, variables/ and assets/ lie there; its rows "
            "also need `make setup EXTRAS=use`, and print — without",
            code=BY_HAND,
        ) from problem
    yield f"{folder}: Universal Sentence Encoder"


def _encoder(name: str, models: Path) -> Iterator[str]:
    from sbert_repro.backbone.find_model import find_model

    encoder = OmegaConf.load(CONFIG_DIR / "encoder" / f"{name}.yaml")
    folder = find_model(encoder.path, models, encoder.revision)
    check_hub_cache(encoder.path, "model")
    yield f"{folder}: {encoder.path}"


def main() -> None:
    """Get one thing after another, then list what failed and what is left to the user."""
    asked = wanted(sys.argv[1:])
    there_are = jobs(asked)
    in_tables = [name for name in there_are if name not in names() or dataset(name).in_tables]
    chosen = [part for name in asked.chosen for part in GROUPS.get(name, [name])] or in_tables
    for name in chosen:
        if name not in there_are:
            known = ", ".join([*there_are, *GROUPS])
            raise UserError(f"there is no data set {name!r}; there are {known}")
    console = Console(soft_wrap=True, highlight=False)
    problems: list[tuple[str, UserError]] = []
    for name in dict.fromkeys(chosen):
        try:
            for line in there_are[name]():
                console.print(line, markup=False)
        except UserError as problem:
            problems.append((name, problem))
            console.print(f"{name}: {problem.found}", markup=False)
    failed = [one for one in problems if one[1].code != BY_HAND]
    for title, some in (
        ("to be fetched by hand", [one for one in problems if one not in failed]),
        (f"error: {len(failed)} of {len(set(chosen))} failed", failed),
    ):
        if some:
            sys.stderr.write(f"{title}:\n")
            sys.stderr.writelines(f"  {name}: {why}\n" for name, why in some)
    if failed:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    one_line_errors(main, __doc__)
