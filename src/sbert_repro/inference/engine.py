"""One model's way from word pieces to vectors: the engine, and the network as it wants it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sbert_repro.backbone.lookup import weights_folder
from sbert_repro.backbone.transformer import TransformerBackbone, load, load_tokenizer
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError
from sbert_repro.inference import packed_cpu, packed_cuda, reference
from sbert_repro.inference.batches import Pieces
from sbert_repro.inference.choice import check_engine, choose_engine
from sbert_repro.inference.layers import Pool
from sbert_repro.inference.packed_cuda import PackedCuda
from sbert_repro.inference.progress import Advance
from sbert_repro.inference.trial import disagreement
from sbert_repro.inference.weights import Network, prepack
from sbert_repro.pooling.cls import ClsPooling


class Engine:
    """The engine of one model; no weight is read before it must be."""

    def __init__(
        self, asked: str, folder: Path, pooling: nn.Module, *, layer: str, precision: str
    ) -> None:
        """Say what is wanted.

        Args:
            asked: A name from ``ENGINES``.
            folder: The model's folder.
            pooling: ``(states, mask) -> [N, D]``.
            layer: Which layer's states are pooled; a name from ``LAYERS``.
            precision: ``fp32`` or ``bf16``.
        """
        check_engine(asked)
        self._asked, self._folder, self._pooling = asked, folder, pooling
        self._layer, self._precision = layer, precision
        self._first_only = layer == "last" and isinstance(pooling, ClsPooling)

    @cached_property
    def gpus(self) -> tuple[torch.device, ...]:
        """The GPUs of this machine."""
        return packed_cuda.devices()

    @property
    def device(self) -> torch.device:
        """Where the reference computes: the first GPU, or the CPU."""
        return self.gpus[0] if self.gpus else torch.device("cpu")

    @cached_property
    def name(self) -> str:
        """The engine that computes: ``packed`` or ``reference``.

        On a GPU in bf16 this reads the model: the packed engine must first agree with the other.
        """
        folder = weights_folder(self._folder)
        return choose_engine(self._asked, folder, self._precision, self.gpus, self._disagreement)

    @property
    def rounding(self) -> dict[str, str]:
        """What the engine adds to the identity of a vector."""
        # In fp32 both engines give the same vectors up to rounding (1e-5, held by a test), so a
        # score is the same score whichever computed it. In bf16 they round at other places. The
        # packed ones for CPUs and for GPUs bear one name: same weights, same places but for the
        # attention's and the norms' own, as two processors' bf16 products differ, too.
        return {"engine": "packed"} if self._precision == "bf16" and self.name == "packed" else {}

    @cached_property
    def backbone(self) -> TransformerBackbone:
        """The network as transformers has it, on the GPU if there is one."""
        return self._read().to(self.device)

    @property
    def shape(self) -> Network | TransformerBackbone:
        """What knows ``width`` and ``positions``, of the network that is read anyway."""
        return self._network if self.name == "packed" and not self.gpus else self.backbone

    @cached_property
    def _network(self) -> Network:
        """For a CPU; the one that transformers has is not kept."""
        return prepack(self._read(), self._precision)

    @cached_property
    def _on_gpus(self) -> PackedCuda:
        return PackedCuda(
            self._read,
            self.gpus,
            layer=self._layer,
            first_only=self._first_only,
            precision=self._precision,
        )

    def encode(
        self, pieces: Pieces, pool: Pool, *, pad_id: int, advance: Advance = lambda done: None
    ) -> NDArray[np.float32]:
        """Embed tokenised sentences.

        Args:
            pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
            pool: ``(states [n, T, D], mask [n, T]) -> [n, D]``, as training has it, and what
                follows.
            pad_id: Word piece to pad with.
            advance: Told how many sentences are done.

        Returns:
            NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.

        Raises:
            UserError: If the GPU fails after the trial went well.
        """
        if self.name == "reference":
            return reference.encode(
                pieces,
                lambda tokens: pool(self._states(tokens), tokens.mask),
                pad_id=pad_id,
                device=self.device,
                advance=advance,
            )
        if self.gpus:
            return self._encode_on_gpus(pieces, pool, advance)
        return packed_cpu.encode(
            pieces,
            self._network,
            pool,
            layer=self._layer,
            first_only=self._first_only,
            advance=advance,
        )

    def _encode_on_gpus(self, pieces: Pieces, pool: Pool, advance: Advance) -> NDArray[np.float32]:
        try:
            return self._on_gpus.encode(pieces, pool, advance=advance)
        except RuntimeError as error:  # PyTorch's kind for the driver, a kernel, memory
            # Too late for the other engine: these vectors are called the packed engine's already.
            said = str(error).strip().partition("\n")[0]
            raise UserError(
                f"engine=packed: {self._folder}: the GPU failed ({type(error).__name__}: {said}); "
                "run the same command with engine=reference"
            ) from error

    def _states(self, tokens: Tokens) -> Tensor:
        half = self._precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            states: Tensor = self.backbone(tokens)
        return states

    def _disagreement(self) -> str | None:
        def pool(states: Tensor, mask: Tensor) -> Tensor:
            vectors: Tensor = self._pooling(states.float(), mask)
            return vectors

        return disagreement(self._on_gpus, self.backbone, pool, load_tokenizer(self._folder))

    def _read(self) -> TransformerBackbone:
        return load(self._folder, self._layer)
