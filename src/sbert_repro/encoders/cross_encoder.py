"""BERT that reads two sentences as one and scores the pair: Tables 2 and 3's cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.aliases import name_of
from sbert_repro.backbone.find_model import find_model, model_name, model_sha256, weights_folder
from sbert_repro.backbone.weights import AGAIN
from sbert_repro.declared import declared
from sbert_repro.encoders.base import ChosenPooling, OnEngine, reads_pairs, trained_with
from sbert_repro.errors import UserError
from sbert_repro.progress import showing

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from torch import Tensor

    from sbert_repro.data.tokens import PairTemplate, WordPieces
    from sbert_repro.losses.cross_regression import CrossRegressionLoss


_PARTS = (
    "sbert_repro.backbone.transformer.TransformerBackbone",
    "sbert_repro.losses.cross_regression.CrossRegressionLoss",
)


class _Loss(TypedDict):
    error: str


class _Trained(TypedDict):
    max_length: int
    layer: str
    pooling: dict[str, Any]
    loss: _Loss
    pair_length: NotRequired[int | None]


class CrossEncoder(OnEngine):
    """Scores of pairs from a model folder that ``loss=cross_regression`` left behind.

    Each pair goes through the network by itself, so 10,000 sentences make 49,995,000 pairs to score
    where a sentence encoder embeds 10,000 texts (section 1 of the paper). Layer, pooling and head
    are those of the training. Nothing heavy is read until the first pair comes.

    Attributes:
        VERSION: Raised when the same model would give other scores.
        label: The name that a table prints.
    """

    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        *,
        label: str | None = None,
        max_length: int | None = None,
        models_root: str | Path | None = None,
        precision: str = "fp32",
        engine: str = "auto",
        progress: bool = False,
    ) -> None:
        """Find the model; a folder that holds no cross-encoder with a score is refused here.

        Args:
            path: A model folder; see `find_model`.
            label: ``None``: the model's name, by `model_name`.
            max_length: Word pieces of each sentence, special ones not counted; ``None``: as in
                training. A pair is cut as in training, or where the model's positions end.
            models_root: Folder of models.
            precision: ``fp32``, ``bf16`` or ``int8``; see `Engine`.
            engine: ``packed``, ``reference`` or ``auto``; see `Engine`.
            progress: Show a bar when the work is long.

        Raises:
            UserError: If there is no such model, or it is not a cross-encoder that gives a score.
        """
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        trained = trained_with(self.folder)
        loss = trained.get("loss", {})
        if not reads_pairs(trained) or not loss or name_of(loss) != "cross_regression":
            raise UserError(
                "not a cross-encoder that gives a score",
                where=self.folder,
                mend="train one with experiment=cross_encoder_stsb, and name its model folder",
            )
        settings = json_files.read(self.folder / "sbert_repro.json", _Trained, AGAIN)
        self.error = settings["loss"]["error"]
        self.pooling = ChosenPooling(name_of(settings["pooling"]), self.folder)
        self.layer = settings["layer"]
        self.max_length = max_length or settings["max_length"]
        self.pair_length = trained.get("pair_length")
        self.label = label or model_name(Path(path))
        self.facts = []
        self.precision, self.progress = precision, progress
        self._ask_for(engine)

    @property
    def identity(self) -> dict[str, Any]:
        """What the scores depend on: files by content, the head included, and settings."""
        return {
            "encoder": "cross_encoder",
            "version": [self.VERSION, *(declared(part).constants["VERSION"] for part in _PARTS)],
            "model": model_sha256(self.folder),
            "pooling": self.pooling.identity,
            "layer": self.layer,
            "error": self.error,
            "max_length": self.max_length,
            **({} if self.pair_length is None else {"pair_length": self.pair_length}),
            "precision": self.precision,
            **self._rounding,
        }

    @cached_property
    def head(self) -> CrossRegressionLoss:
        """The head that turns the network's output into a score."""
        from sbert_repro.losses.cross_regression import CrossRegressionLoss
        from sbert_repro.training.save import load_head

        head = CrossRegressionLoss(self._engine.width, self.error)
        load_head(self.folder, head)
        return head.eval().to(self.device)

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Score pairs, equal ones once; the order of the two sentences counts.

        Args:
            pairs: ``N`` pairs of texts.

        Returns:
            NDArray[np.float32]: ``[N]``, bigger means closer.
        """
        row = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        if not row:
            return np.empty(0, np.float32)
        with showing("scoring", len(row), unit="pairs", shown=self.progress) as advance:
            scores = self._engine.encode(
                self.pieces(list(row)),
                self._head,
                pad_id=self.tokenizer.pad_token_id,
                advance=advance,
            )
        return scores[[row[pair] for pair in pairs], 0]

    def pieces(self, pairs: Sequence[tuple[str, str]]) -> list[NDArray[np.int32]]:
        """Split pairs into word pieces, as in training.

        Args:
            pairs: ``N`` pairs of texts.

        Returns:
            list[NDArray[np.int32]]: ``N`` arrays of ids above token types.
        """
        positions = self._engine.positions
        longest = min(self.pair_length or positions, positions)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._word_pieces(texts), strict=True))
        return [self._form.join(ids[a], ids[b], longest) for a, b in pairs]

    @cached_property
    def _form(self) -> PairTemplate:
        from sbert_repro.data.tokens import PairTemplate

        return PairTemplate(self.tokenizer)

    @cached_property
    def _word_pieces(self) -> WordPieces:
        from sbert_repro.data.tokens import WordPieces

        specials = self.tokenizer.num_special_tokens_to_add()
        longest = min(self.max_length, self._engine.positions - specials)
        return WordPieces(self.tokenizer, longest)

    def _head(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.head.predict(self.pooling(states.float(), mask))
