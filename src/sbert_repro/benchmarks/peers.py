"""The encoders that ours are timed beside: the library, ONNX Runtime, and the paper's own way.

* ``encoder=sentence_transformers``: the sentence-transformers library at its defaults;
* ``encoder=onnx_runtime``: that library with its network in ONNX Runtime, fp32 or int8;
* ``encoder=openvino``: that library with its network in OpenVINO, fp32, bf16 or int8;
* ``encoder=padded``: transformers' network on padded batches, as the paper's authors ran SBERT.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import importlib
import importlib.metadata
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from sbert_repro import json_files
from sbert_repro.backbone.find_model import find_model, model_name, model_sha256, weights_folder
from sbert_repro.backbone.transformer import (
    load_config,
    load_network,
    load_tokenizer,
    loading,
)
from sbert_repro.backbone.weights import AGAIN
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.encoders.base import Vectors, pooling_named
from sbert_repro.encoders.transformer import Module, describe
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.signals import same_signal_stack
from sbert_repro.storage import make_folder, replacing, sha256_of, write_file

EXTRA = "make setup EXTRAS=peers"
ORDERS = ("given", "characters")
_GRAPH_VERSION = 1
"""Raised when the same model would give another ONNX graph."""
_CALIBRATION = 300
"""Training sentences that OpenVINO's quantisation looks at: its own default."""
_EXAMPLE = ["one two three four", "one"]
"""What the network is traced on; sizes of 1 would be taken for constants."""
_log = logging.getLogger(__name__)


def load_library_model(library: Any, folder: Path, **options: Any) -> Any:
    """Load a model folder as ``sentence_transformers.SentenceTransformer``, without its code.

    Args:
        library: The module ``sentence_transformers``.
        folder: A model folder.
        **options: For the library.

    Returns:
        Its model.

    Raises:
        UserError: If the folder is damaged, or names modules that are not the library's: those
            would be imported, from the folder or from anywhere on this machine.
    """
    load_config(folder)
    file = folder / "modules.json"
    listed = json_files.read(file, list[Module], AGAIN) if file.is_file() else []
    foreign = [m["type"] for m in listed if not m["type"].startswith("sentence_transformers.")]
    if foreign:
        raise UserError(
            f"names {foreign[0]}, which is no module of sentence-transformers and is never run",
            where=file,
            mend="use encoder=transformer",
        )
    with loading("model", folder):
        return library.SentenceTransformer(
            str(folder), local_files_only=True, trust_remote_code=False, **options
        )


class SentenceTransformersEncoder:
    """``SentenceTransformer(folder).encode`` at its defaults.

    Attributes:
        label: The name that a table prints.
        facts: The version of the library.
    """

    name: ClassVar[str] = "sentence_transformers"
    VERSION: ClassVar[int] = 1
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16")

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 32,
        precision: str = "fp32",
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find the model and the library.

        Args:
            path: A folder or a Hub id; see `find_model`.
            batch_size: Sentences in a batch; 32 is the library's default.
            precision: ``fp32`` or ``bf16``: the format that the weights are loaded in.
            label: ``None``: the model's name, by `model_name`.
            models_root: Folder of models.

        Raises:
            UserError: If the library or the model is not there, or as in `describe`.
        """
        if precision not in self.precisions:
            raise UserError(
                f"encoder={self.name} computes in {' or '.join(self.precisions)}",
                where=f"precision={precision}",
            )
        self.library = library("sentence_transformers", ".venv/bin/pip install")
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        # Refuses modules that the library would import from the folder: foreign code.
        describe(self.folder)
        self.batch_size, self.precision = batch_size, precision
        self.label = label or model_name(Path(path))
        version = self.library.__version__
        self.facts: list[Fact] = [fact("library", library="sentence-transformers", version=version)]

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return {
            "encoder": self.name,
            "version": [self.VERSION, self.library.__version__],
            "model": model_sha256(self.folder),
            "backend": "torch",
            "precision": self.precision,
        }

    @cached_property
    def model(self) -> Any:
        """The library's own model."""
        kind = "bfloat16" if self.precision == "bf16" else "float32"
        return load_library_model(
            self.library, self.folder, model_kwargs={"dtype": kind, "use_safetensors": True}
        )

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences; equal ones are embedded each time.

        Args:
            sentences: ``N`` texts.

        Returns:
            ``[N, D]``, float32.
        """
        vectors = self.model.encode(
            list(sentences), batch_size=self.batch_size, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


class _OtherNetwork(SentenceTransformersEncoder, abc.ABC):
    """``SentenceTransformer(folder).encode`` with its network in another runtime, on a CPU.

    Tokenisation, order by length, batches, padding, pooling and normalisation are the library's
    own code; only the network is replaced, as the library's own backends replace it. Those need
    optimum, which has no release for transformers 5.

    Attributes:
        label: The name that a table prints.
        facts: The versions of the libraries.
    """

    runtimes: ClassVar[tuple[str, ...]]
    """Modules that are needed, the runtime first."""

    def __init__(
        self,
        path: str,
        *,
        cache: str | Path,
        batch_size: int = 32,
        precision: str = "fp32",
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find the model and the libraries; the graph is exported at the first sentence.

        Args:
            path: A folder or a Hub id; see `find_model`.
            cache: Where exported graphs are kept.
            batch_size: Sentences in a batch; 32 is the library's default.
            precision: One of ``precisions``.
            label: ``None``: the model's name, by `model_name`.
            models_root: Folder of models.

        Raises:
            UserError: If the model or a library is not there, if there is no such precision, or if
                the other rows of a table would run on a GPU.
        """
        if torch.cuda.is_available():
            # The extra installs the builds for CPUs, whose time would stand under "GPU".
            raise UserError("runs on a CPU only, and this machine has a GPU", where=self._option)
        super().__init__(
            path, batch_size=batch_size, precision=precision, label=label, models_root=models_root
        )
        # Nothing is sent to anybody: NNCF reports who uses it otherwise.
        os.environ.setdefault("NNCF_CI", "1")
        self.runtime, *_ = (library(needed, EXTRA) for needed in self.runtimes)
        self.cache = Path(cache)
        runtime = importlib.metadata.version(self.runtimes[0])
        self.facts = [
            fact(
                self.name,
                library=self.library.__version__,
                runtime=runtime,
                precision=precision,
            ),
            fact(
                "exported_graph",
                by="torch.onnx",
                instead_of="optimum, which sentence-transformers exports with,",
                lacks="transformers 5",
            ),
        ]

    @property
    def _option(self) -> str:
        return f"encoder={self.name}"

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        libraries = [self.library.__version__, importlib.metadata.version(self.runtimes[0])]
        return {
            "encoder": self.name,
            "version": [self.VERSION, _GRAPH_VERSION, *libraries],
            "model": model_sha256(self.folder),
            # Came later than fp32, whose records stay.
            **({} if self.precision == "fp32" else {"precision": self.precision}),
        }

    @cached_property
    def model(self) -> Any:
        """The library's own model with its network replaced."""
        model = load_library_model(
            self.library, self.folder, device="cpu", model_kwargs={"use_safetensors": True}
        )
        # Assigned where the library does not look, the runtime would never run.
        if not isinstance(getattr(model[0], "model", None), nn.Module):
            raise UserError(
                f"sentence-transformers {self.library.__version__} keeps its network elsewhere",
                where=self._option,
                mend="install the version of requirements.lock",
            )
        model[0].model = self._network(model[0].model.config)
        return model

    @abc.abstractmethod
    def _network(self, config: Any) -> nn.Module:
        """Return the network in the other runtime, called as one of transformers is."""


class OnnxRuntimeEncoder(_OtherNetwork):
    """The network in ONNX Runtime; int8 is its dynamic quantisation, a scale for each output."""

    name: ClassVar[str] = "onnx_runtime"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "int8")
    runtimes: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "onnxscript")

    def _network(self, config: Any) -> nn.Module:
        graph = onnx_graph(self.folder, self.cache)
        if self.precision == "int8":
            graph = self._quantized(graph)
        # All graph optimisations, which is ONNX Runtime's default and that of the library's
        # backend; as many threads as PyTorch's rows have, whose number it does not know.
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = self.runtime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        return _OnnxNetwork(session, config)

    def _quantized(self, graph: Path) -> Path:
        version = importlib.metadata.version("onnxruntime")
        path = graph.with_name(f"{graph.stem}-int8-{version}.onnx")
        if not path.is_file():
            tools = importlib.import_module("onnxruntime.quantization")
            with replacing(path) as temporary, _silent_exporter():
                tools.quantize_dynamic(
                    graph, temporary, per_channel=True, weight_type=tools.QuantType.QInt8
                )
        return path


class _OnnxNetwork(nn.Module):
    """An ONNX Runtime session that is called as a network of transformers is."""

    def __init__(self, session: Any, config: Any) -> None:
        super().__init__()
        self.session, self.config = session, config  # the library reads the configuration
        self.names = [one.name for one in session.get_inputs()]

    def forward(self, **inputs: Any) -> dict[str, Tensor]:
        """Return states ``[N, T, D]`` of what the tokenizer returned, each ``[N, T]``."""
        (states,) = self.session.run(None, {name: inputs[name].numpy() for name in self.names})
        return {"last_hidden_state": torch.from_numpy(states)}


class OpenVinoEncoder(_OtherNetwork):
    """The network in OpenVINO; int8 is NNCF's quantisation after training, for transformers.

    It is calibrated on training sentences of NLI, and what is not 8 bits wide runs in bf16 where
    the processor has it, as OpenVINO chooses by itself.
    """

    name: ClassVar[str] = "openvino"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "bf16", "int8")
    runtimes: ClassVar[tuple[str, ...]] = ("openvino", "nncf", "onnx", "onnxscript")

    def __init__(
        self,
        path: str,
        *,
        cache: str | Path,
        data_root: str | Path | None = None,
        batch_size: int = 32,
        precision: str = "fp32",
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find the model and the libraries.

        Args:
            path: A folder or a Hub id; see `find_model`.
            cache: Where exported graphs are kept.
            data_root: The data root, for the sentences of int8.
            batch_size: Sentences in a batch; 32 is the library's default.
            precision: ``fp32``, ``bf16`` or ``int8``.
            label: ``None``: the model's name, by `model_name`.
            models_root: Folder of models.

        Raises:
            UserError: As ONNX Runtime's encoder, or if int8 has no data root.
        """
        super().__init__(
            path,
            cache=cache,
            batch_size=batch_size,
            precision=precision,
            label=label,
            models_root=models_root,
        )
        if precision == "int8" and data_root is None:
            raise UserError("int8 is calibrated on training sentences", where="encoder.data_root")
        self.data_root = data_root

    @same_signal_stack()
    def _network(self, config: Any) -> nn.Module:
        graph = onnx_graph(self.folder, self.cache)
        if self.precision == "int8":
            graph = self._quantized(graph)
        # As many threads as PyTorch's rows have; one stream, since one batch is computed at a time.
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        if self.precision != "int8":
            options["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[self.precision]
        core = self.runtime.Core()
        return _OpenVinoNetwork(core.compile_model(core.read_model(graph), "CPU", options), config)

    def _quantized(self, graph: Path) -> Path:
        nncf = library("nncf", EXTRA)
        versions = [importlib.metadata.version(name) for name in ("openvino", "nncf")]
        folder = self.cache / "openvino" / "-".join([graph.stem, "int8", *versions])

        def fill(empty: Path) -> list[dict[str, Any]]:
            tokenizer = load_tokenizer(self.folder)
            split = read(
                dataset("nli"), Path(cast(str, self.data_root)), "train", limit=_CALIBRATION,
                allow_partial=True,
            )  # fmt: skip
            texts = [str(text) for text in next(iter(split.texts.values()))]

            def inputs(text: str) -> dict[str, Any]:
                return dict(tokenizer([text], truncation=True, max_length=128, return_tensors="np"))

            with contextlib.redirect_stdout(io.StringIO()), _silent_exporter():
                model = nncf.quantize(
                    self.runtime.Core().read_model(graph),
                    nncf.Dataset(texts, inputs),
                    model_type=nncf.ModelType.TRANSFORMER,
                    subset_size=len(texts),
                )
            self.runtime.save_model(model, empty / "model.xml")
            return [{"file": f.name, "sha256": sha256_of(f)} for f in sorted(empty.iterdir())]

        _log.info("%s: quantising for OpenVINO; this may take minutes", model_name(self.folder))
        make_folder(folder, {"generator": "nncf", "graph": graph.stem, "versions": versions}, fill)
        return folder / "model.xml"


class _OpenVinoNetwork(nn.Module):
    """A compiled OpenVINO model that is called as a network of transformers is."""

    def __init__(self, compiled: Any, config: Any) -> None:
        super().__init__()
        self.request, self.config = compiled.create_infer_request(), config
        self.names = [one.get_any_name() for one in compiled.inputs]

    def forward(self, **inputs: Any) -> dict[str, Tensor]:
        """Return states ``[N, T, D]`` of what the tokenizer returned, each ``[N, T]``."""
        found = self.request.infer({name: inputs[name].numpy() for name in self.names})
        # A copy: the request writes its next result to the same place.
        return {"last_hidden_state": torch.from_numpy(found[0].copy())}


def onnx_graph(folder: Path, cache: Path) -> Path:
    """Find a model's network as an ONNX graph, or export it from the very weights.

    Args:
        folder: A model folder.
        cache: Where graphs are kept, by what they were made from.

    Returns:
        A file that takes what the tokenizer returns, each ``[N, T]``, and returns
        ``last_hidden_state [N, T, D]``; ``N`` and ``T`` are free.

    Raises:
        UserError: If the file cannot be written.
    """
    libraries = ("torch", "transformers", "onnx", "onnxscript")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    source = {"version": _GRAPH_VERSION, "model": model_sha256(folder), **versions}
    key = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
    path = cache / "onnx" / f"{key[:16]}.onnx"
    if not path.is_file():
        _log.info(
            "%s: exporting its graph for ONNX Runtime; this may take minutes", model_name(folder)
        )
        write_file(path, _exported(folder))
    return path


def _exported(folder: Path) -> bytes:
    """Export a network in fp32; up to 2 GB, which is more than BERT-large has."""
    # Attention written out: PyTorch's fused form is exported with guards against rows without
    # any word piece, which stay in the graph and cost time.
    network = load_network(folder, attn_implementation="eager")
    example = load_tokenizer(folder)(_EXAMPLE, padding=True, return_tensors="pt")
    names, free = list(example), torch.export.Dim.DYNAMIC
    with _silent_exporter():
        program: Any = torch.onnx.export(
            _LastStates(network, names).eval(),
            tuple(example[name] for name in names),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_shapes=(tuple({0: free, 1: free} for _ in names),),
            dynamo=True,
            verbose=False,
        )
    content: bytes = program.model_proto.SerializeToString()
    return content


class _LastStates(nn.Module):
    """A network that takes its inputs by position and returns only the last layer's states."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return states ``[N, T, D]`` of inputs ``[N, T]``."""
        named = dict(zip(self.names, inputs, strict=True))
        states: Tensor = self.network(**named).last_hidden_state
        return states


@contextlib.contextmanager
def _silent_exporter() -> Iterator[None]:
    """Keep exporters from listing what is not installed, found twice, or left as it is."""
    before = logging.root.manager.disable  # ONNX Runtime logs to the root
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class PaddedEncoder:
    """Batches of a fixed number of sentences, padded to the longest of them (section 7).

    # paper: "smart batching: sentences with similar lengths are grouped together and are only
    #   padded to the longest element in a mini-batch"; without it nothing is said of the padding
    # here: ``characters`` sorts by length in characters, as the authors' code does; ``given`` takes
    #   the sentences as they come; both pad to the longest of the batch
    # effect: table 7; no vector changes

    Attributes:
        label: The name that a table prints.
        facts: None.
    """

    name: ClassVar[str] = "padded"
    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        pooling: nn.Module | None = None,
        *,
        order: str = "characters",
        batch_size: int = 32,
        max_length: int = 128,
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find the model.

        Args:
            path: A folder or a Hub id; see `find_model`.
            pooling: ``(states, mask) -> [N, D]``; ``None``: MEAN.
            order: ``given`` or ``characters``.
            batch_size: Sentences in a batch.
            max_length: Most word pieces of a sentence, [CLS] and [SEP] included.
            label: ``None``: the model's name, by `model_name`.
            models_root: Folder of models.

        Raises:
            UserError: If there is no such model or order, or a number is not positive.
        """
        if order not in ORDERS:
            raise UserError(f"expected one of {', '.join(ORDERS)}", where=f"encoder.order={order}")
        for option, number in (("batch_size", batch_size), ("max_length", max_length)):
            if number < 1:
                raise UserError("expected 1 or more", where=f"encoder.{option}={number}")
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        self.pooling = pooling_named("mean") if pooling is None else pooling
        self.order, self.batch_size, self.max_length = order, batch_size, max_length
        self.label = label or model_name(Path(path))
        self.facts: list[Fact] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on; order and batch size only change their rounding."""
        return {
            "encoder": self.name,
            "version": self.VERSION,
            "model": model_sha256(self.folder),
            "pooling": [self.pooling.name, self.pooling.VERSION],
            "max_length": self.max_length,
        }

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def network(self) -> Any:
        """The network of the transformers library."""
        return load_network(self.folder).to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        return load_tokenizer(self.folder)

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences; equal ones are embedded each time.

        Args:
            sentences: ``N`` texts; longer ones are cut to ``max_length``.

        Returns:
            ``[N, D]``, float32.
        """
        rows = np.arange(len(sentences))
        if self.order == "characters":
            rows = np.argsort([len(text) for text in sentences], kind="stable")
        vectors = np.empty((len(sentences), self.network.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                vectors[batch] = self._embed([sentences[row] for row in batch]).cpu().numpy()
        return vectors

    def _embed(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        ).to(self.device)
        states = self.network(**tokens).last_hidden_state
        pooled: Tensor = self.pooling(states, tokens["attention_mask"].bool())
        return pooled


def library(module: str, install: str) -> Any:
    """Import a library that only a peer needs, without the messages it prints on import.

    Args:
        module: Its name in Python.
        install: The command that installs it; the name is added to one that ends in ``install``.

    Returns:
        The module.

    Raises:
        UserError: If it is not installed.
    """
    # transformers prints among the results that W&B is offline; datasets logs what else it has
    # found, sentence-transformers which folder it reads.
    for name in ("datasets", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(module)
    except ImportError:
        package = module.replace("_", "-")
        command = f"{install} {package}" if install.endswith(" install") else install
        raise UserError(
            f"{package} is not installed",
            mend=f"run {command}, or leave this encoder out",
            code="missing",
        ) from None
