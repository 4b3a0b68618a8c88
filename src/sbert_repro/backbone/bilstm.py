"""A bidirectional LSTM over word vectors: the token states of InferSent, to compare with."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sbert_repro.backbone.bilstm_folder import DESCRIPTION, described
from sbert_repro.backbone.weights import AGAIN, WEIGHTS, read_weights
from sbert_repro.batch import Tokens
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.errors import UserError


class BiLstmBackbone(nn.Module):
    """The state of each word, ``[N, T, D]``: both directions side by side.

    With MAX pooling this is the encoder of Conneau et al. (2017). The word vectors are not trained
    and not saved with the weights.

    Attributes:
        VERSION: Raised by hand when the same weights would give other states.
        packs: False; it takes padded sentences.
        width: Width ``D`` of the states, twice that of each direction.
        layer: The only one there is.
        positions: Words a sentence may have; a recurrent network has no last position.
    """

    VERSION: ClassVar[int] = 1
    packs: ClassVar[bool] = False
    layer: ClassVar[str] = "last"
    positions: ClassVar[int] = sys.maxsize
    words: Tensor

    def __init__(self, vectors: WordVectors, hidden: int) -> None:
        """Make the network with random weights, drawn from torch's own generator.

        Args:
            vectors: The word vectors ``[V, E]``.
            hidden: Width of each direction.

        Raises:
            UserError: If ``hidden`` is less than 1.
        """
        super().__init__()
        if hidden < 1:
            raise UserError("expected at least 1", where=f"encoder.hidden={hidden}")
        self.lstm = nn.LSTM(
            vectors.values.shape[1], hidden, num_layers=1, bidirectional=True, batch_first=True
        )
        with warnings.catch_warnings():
            # They are mapped from the disk for reading, and nothing here writes to them.
            warnings.filterwarnings("ignore", message=".*not writable")
            words = torch.from_numpy(vectors.values)
        # Not part of the state: 2 GB in each checkpoint that never change.
        self.register_buffer("words", words, persistent=False)
        self.width = 2 * hidden

    def forward(self, tokens: Tokens) -> Tensor:
        """Run the network over all sentences, each to its own end.

        Args:
            tokens: ``N`` sentences of up to ``T`` words, as rows of the word vectors; the row after
                the last one stands for a vector of zeros.

        Returns:
            States ``[N, T, D]``, 0 on padding.
        """
        count = len(self.words)
        vectors = F.embedding(tokens.ids.clamp(max=count - 1), self.words)
        vectors = vectors.masked_fill((tokens.ids >= count).unsqueeze(-1), 0)
        # Packed, the backward direction begins at a sentence's last word, not at its padding.
        packed = pack_padded_sequence(
            vectors, tokens.mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states: Tensor = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=tokens.ids.shape[1]
        )[0]
        return states

    def save(self, folder: Path) -> None:
        """Write weights and shape.

        Args:
            folder: The model's folder; made when it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: w.contiguous() for name, w in self.lstm.state_dict().items()}, folder / WEIGHTS
        )
        shape = {"hidden": self.width // 2, "input": self.words.shape[1]}
        (folder / DESCRIPTION).write_text(json.dumps(shape, sort_keys=True) + "\n", "utf-8")

    def with_weights(self, weights: Mapping[str, Tensor], where: Path) -> BiLstmBackbone:
        """Replace the weights.

        Args:
            weights: By the names that torch's LSTM has for them.
            where: Their file, for messages.

        Returns:
            This backbone.

        Raises:
            UserError: If they are those of another network.
        """
        try:
            self.lstm.load_state_dict(dict(weights))
        except RuntimeError as problem:
            raise UserError(
                f"no weights of a BiLSTM with {self.width // 2} units over vectors of "
                f"{self.words.shape[1]} numbers ({' '.join(str(problem).split())[:200]})",
                where=where,
                mend=AGAIN,
            ) from problem
        return self


def random_bilstm(vectors: WordVectors, hidden: int, seed: int) -> BiLstmBackbone:
    """Make a backbone with random weights.

    Args:
        vectors: The word vectors.
        hidden: Width of each direction.
        seed: Equal seeds give equal weights, whatever was drawn before.

    Returns:
        The backbone, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BiLstmBackbone(vectors, hidden)


def load(folder: Path, vectors: WordVectors) -> BiLstmBackbone:
    """Load a backbone that was trained here, in evaluation mode.

    Args:
        folder: A model folder.
        vectors: The word vectors it was trained with.

    Returns:
        The backbone, on the CPU.

    Raises:
        UserError: If a file is missing or damaged.
    """
    hidden, weights = described(folder)["hidden"], read_weights(folder / WEIGHTS)
    backbone = random_bilstm(vectors, hidden, seed=0)
    return backbone.with_weights(weights, folder / WEIGHTS).eval()
