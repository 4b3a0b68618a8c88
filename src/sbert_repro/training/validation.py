"""One look at the dev set while training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sbert_repro.batch import Tokens
from sbert_repro.data.batches import Column, pad
from sbert_repro.similarity import cosine, spearman

_BATCH = 64


class DevSet:
    """Rows whose score picks the best checkpoint, as in the authors' code.

    Scored pairs give Spearman's rank correlation of the cosine, or of the score of a cross-encoder;
    triplets the share whose positive is closer to the anchor than the negative by the Euclidean
    distance (sections 4.2 and 4.4); labelled pairs the share that the objective's head classes
    rightly, as InferSent was watched.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        gold: np.ndarray | None,
        pad_id: int,
        labelled: bool = False,
    ) -> None:
        """Take the rows.

        Args:
            columns: ``k`` columns of ``N`` sentences; one of ``N`` pairs for a cross-encoder.
            gold: Gold scores ``[N]`` of any scale, or class ids; ``None`` for triplets.
            pad_id: What stands on padding.
            labelled: Whether ``gold`` are class ids.
        """
        self.metric = "accuracy" if gold is None or labelled else "spearman"
        self._labelled = labelled
        self._columns, self._gold, self._pad_id = columns, gold, pad_id
        self._rows = [column.row(i) for column in columns for i in range(len(column))]
        # By length, so that nearly no padding is computed; the vectors do not depend on it.
        self._order = np.argsort([-row.shape[-1] for row in self._rows], kind="stable")

    def score(
        self,
        embed: Callable[[Tokens], Tensor],
        device: torch.device,
        logits: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> float:
        """Score a model.

        Args:
            embed: Gives vectors ``[N, D]`` for ``N`` sentences; scores ``[N, 1]`` for pairs.
            device: Where it computes.
            logits: Scores the classes of pairs ``u, v``; asked for labelled pairs only.

        Returns:
            float: × 100; NaN where a correlation is not defined (all vectors alike).
        """
        vectors: np.ndarray | None = None
        for start in range(0, len(self._rows), _BATCH):
            chosen = self._order[start : start + _BATCH]
            tokens = pad([self._rows[i] for i in chosen], self._pad_id)
            found = embed(tokens.to(device)).float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(self._rows), found.shape[1]), np.float32)
            vectors[chosen] = found
        assert vectors is not None, "a split has rows"
        columns = np.split(vectors, len(self._columns))
        if self._labelled:
            assert logits is not None, "labelled pairs are refused for objectives without classes"
            return 100 * self._rightly_classed(columns[0], columns[1], device, logits)
        return 100 * (self._accuracy(*columns) if self._gold is None else self._spearman(*columns))

    def _rightly_classed(
        self,
        u: np.ndarray,
        v: np.ndarray,
        device: torch.device,
        logits: Callable[[Tensor, Tensor], Tensor],
    ) -> float:
        right = 0
        for start in range(0, len(u), _BATCH):
            pair = (torch.from_numpy(x[start : start + _BATCH]).to(device) for x in (u, v))
            found = logits(*pair).argmax(1).cpu().numpy()
            assert self._gold is not None
            right += int((found == self._gold[start : start + _BATCH]).sum())
        return right / len(u)

    def _spearman(self, *columns: np.ndarray) -> float:
        assert self._gold is not None
        return spearman(cosine(*columns) if len(columns) > 1 else columns[0][:, 0], self._gold)

    @staticmethod
    def _accuracy(anchor: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
        near = np.linalg.norm(anchor - positive, axis=1)
        return float((near < np.linalg.norm(anchor - negative, axis=1)).mean())
