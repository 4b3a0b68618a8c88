"""A model's network as an ONNX graph, exported once from the very weights and kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from sbert_repro.backbone.find_model import model_sha256, weights_folder
from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.storage import write_file

VERSION = 1
"""Raised by hand when the same model would give another graph."""
_EXAMPLE = ["one two three four", "one"]
"""What the network is traced on: sizes of 1 would be taken for constants."""
_log = logging.getLogger(__name__)


class _States(nn.Module):
    """A network that takes its inputs in order and gives nothing but the states of the last layer.

    Args:
        network: As transformers has it.
        names: Of its inputs.
    """

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *given: Tensor) -> Tensor:
        """Give states ``[N, T, D]`` of inputs ``[N, T]``."""
        states: Tensor = self.network(**dict(zip(self.names, given, strict=True))).last_hidden_state
        return states


def onnx_graph(folder: Path, cache: Path) -> Path:
    """Find the graph of a model, or export it.

    Args:
        folder: A model folder.
        cache: Where graphs are kept, by what they were made from.

    Returns:
        Path: A file that takes what the tokenizer gives, each ``[N, T]``, and gives
        ``last_hidden_state [N, T, D]``; ``N`` and ``T`` are free.

    Raises:
        UserError: If the file cannot be written.
    """
    libraries = ("torch", "transformers", "onnx", "onnxscript")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    made_from = {"version": VERSION, "model": model_sha256(folder), **versions}
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    path = cache / "onnx" / f"{key[:16]}.onnx"
    if not path.is_file():
        _log.info("%s: exporting its graph for ONNX Runtime, once; it may take minutes", folder)
        write_file(path, _exported(folder))
    return path


def _exported(folder: Path) -> bytes:
    """Export a network in fp32; up to 2 GB, which is more than BERT-large has."""
    # Attention written out: the fused form of PyTorch is exported with guards against rows without
    # any word piece, which stay in the graph and cost time.
    network = transformers.AutoModel.from_pretrained(
        weights_folder(folder), local_files_only=True, attn_implementation="eager"
    )
    read = load_tokenizer(folder)(_EXAMPLE, padding=True, return_tensors="pt")
    names, free = list(read), torch.export.Dim.DYNAMIC
    with _silent():
        program: Any = torch.onnx.export(
            _States(network.float(), names).eval(),
            tuple(read[name] for name in names),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_shapes=(tuple({0: free, 1: free} for _ in names),),
            dynamo=True,
            verbose=False,
        )
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter from naming what is not installed, found twice, or to go one day."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
