"""Two texts as one row of word pieces, the way a cross-encoder reads them.

Nothing is tokenised anew: a row is put together from the word pieces that each text has by itself,
so that models of single sentences and models of pairs share what is kept on disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from sbert_repro.data.tokens import TokenColumn
from sbert_repro.data.word_pieces import plain_copy, special_tokens


class PairForm:
    """What stands around and between two texts, as the model was pre-trained on it.

    BERT reads ``[CLS] a [SEP] b [SEP]`` with token type 0 up to the first ``[SEP]`` and 1 after it,
    RoBERTa ``<s> a </s></s> b </s>`` with one type. The tokenizer itself is asked which it is.

    # paper: how long the sentences of a pair may be is not said
    # here: each is cut as a single sentence is (data.max_length); a pair that is longer than the
    # model has positions for then loses word pieces of its longer text
    # effect: table 2, table 3
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Look at one pair.

        Args:
            tokenizer: The tokenizer of the backbone.
        """
        whole = plain_copy(tokenizer)
        self._alone = tuple(map(len, special_tokens(whole)))
        probe = whole.encode("a", "a")
        start, end, start_second, end_second = _spans(probe.sequence_ids)
        seen = np.array([probe.ids, probe.type_ids], np.int32)
        self._before, self._between = seen[:, :start], seen[:, end:start_second]
        self._after = seen[:, end_second:]

    @property
    def specials(self) -> int:
        """Special tokens of a pair."""
        return sum(part.shape[1] for part in (self._before, self._between, self._after))

    def lengths(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Give the length of pairs that are not cut.

        Args:
            first: Lengths of first texts with the special tokens of single texts ``[N]``.
            second: The same of second texts ``[N]``.

        Returns:
            np.ndarray: Lengths ``[N]``, special tokens included.
        """
        return first + second - 2 * sum(self._alone) + self.specials

    def join(self, first: np.ndarray, second: np.ndarray, longest: int) -> np.ndarray:
        """Put two texts into one row.

        Args:
            first: Word pieces of a text that stands alone, special tokens included ``[T_1]``.
            second: The same of another text ``[T_2]``.
            longest: Most word pieces of a row, special tokens included.

        Returns:
            np.ndarray: Word-piece ids above token types ``[2, T]``, int32.
        """
        a, b = self._inside(first), self._inside(second)
        of_a, of_b = _kept(len(a), len(b), longest - self.specials)
        whole = [
            self._before,
            np.stack([a[:of_a], np.full(of_a, self._before[1, 0])]),
            self._between,
            np.stack([b[:of_b], np.full(of_b, self._after[1, 0])]),
            self._after,
        ]
        return np.concatenate(whole, axis=1)

    def _inside(self, row: np.ndarray) -> np.ndarray:
        before, after = self._alone
        return row[before : len(row) - after]


def _spans(sides: Sequence[int | None]) -> tuple[int, int, int, int]:
    """Where each of two texts begins and ends in a row."""
    first, second = ([i for i, side in enumerate(sides) if side == number] for number in (0, 1))
    if not first or not second:
        # A vocabulary that drops what it does not know: take the tokens of two empty texts apart.
        return 1, 1, len(sides) - 1, len(sides) - 1
    return first[0], first[-1] + 1, second[0], second[-1] + 1


def _kept(first: int, second: int, room: int) -> tuple[int, int]:
    """How much of two lengths fits: the longer one is cut first, then both to a half."""
    short = min(first, second, room // 2)
    long = min(max(first, second), room - short)
    return (short, long) if first <= second else (long, short)


class JointColumn:
    """Pairs of two columns of texts, each put together when it is asked for.

    Attributes:
        cut: Pairs that the model has too few positions for.
    """

    def __init__(
        self, first: TokenColumn, second: TokenColumn, form: PairForm, longest: int
    ) -> None:
        """Take two columns.

        Args:
            first: First texts ``[N]``.
            second: Second texts ``[N]``.
            form: How the model reads pairs.
            longest: Most word pieces of a pair, special tokens included.
        """
        lengths = form.lengths(np.diff(first.offsets), np.diff(second.offsets))
        self.cut = int((lengths > longest).sum())
        self._columns, self._form, self._longest = (first, second), form, longest

    def __len__(self) -> int:
        """Give the number of pairs ``N``."""
        return len(self._columns[0])

    def row(self, i: int) -> np.ndarray:
        """Give one pair.

        Args:
            i: Row number.

        Returns:
            np.ndarray: Word-piece ids above token types ``[2, T]``, int32.
        """
        first, second = (column.row(i) for column in self._columns)
        return self._form.join(first, second, self._longest)
