"""The sentence-transformers library over ONNX Runtime: the peer that its onnx backend would be."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.encoders.onnx_graph import VERSION as GRAPH_VERSION
from sbert_repro.encoders.onnx_graph import onnx_graph
from sbert_repro.encoders.peer import PeerEncoder, library
from sbert_repro.errors import UserError
from sbert_repro.facts import fact

INSTALL = "make setup EXTRAS=peers"


class OnnxRuntimeEncoder(PeerEncoder):
    """``SentenceTransformer(folder).encode`` with its network in ONNX Runtime, in fp32.

    Tokenisation, order by length, batches, padding, pooling and normalisation are the library's
    own code; only the network is replaced, as its onnx backend replaces it. That backend itself
    needs optimum, no release of which can be installed beside transformers 5.

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        *,
        cache: str | Path,
        batch_size: int = 32,
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find model and libraries; the graph is exported when the first sentence comes.

        Args:
            path: A folder or a Hub id; see `find_model`.
            cache: Where exported graphs are kept.
            batch_size: Sentences in a batch; 32 is the library's default.
            label: ``None``: the last part of ``path``.
            models_root: Folder of models.

        Raises:
            UserError: As for the peer, or if a library is not there, or the network would not run
                where the others of a table do.
        """
        if torch.cuda.is_available():
            # The extra brings the build for CPUs, whose time would stand under "GPU".
            raise UserError("encoder=onnx_runtime: runs on a CPU only, and here is a GPU")
        super().__init__(path, batch_size=batch_size, label=label, models_root=models_root)
        self.runtime = library("onnxruntime", INSTALL)
        for needed in ("onnx", "onnxscript"):
            library(needed, INSTALL)
        self.cache = Path(cache)
        self.facts.append(fact("library", library="onnxruntime", version=self.runtime.__version__))

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        versions = [self.library.__version__, self.runtime.__version__]
        return {
            "encoder": "onnx_runtime",
            "version": [self.VERSION, GRAPH_VERSION, *versions],
            "model": model_sha256(self.folder),
        }

    @cached_property
    def model(self) -> Any:
        """The library's own model, its network replaced."""
        found = self.library.SentenceTransformer(
            str(self.folder),
            local_files_only=True,
            device="cpu",
            model_kwargs={"use_safetensors": True},
        )
        # Assigned where the library does not look, the session would never run.
        if not isinstance(getattr(found[0], "model", None), nn.Module):
            raise UserError(
                f"sentence-transformers {self.library.__version__}: its network is not where it is "
                "expected; install the version of requirements.lock"
            )
        found[0].model = _Network(self._session(), found[0].model.config)
        return found

    def _session(self) -> Any:
        # All graph optimisations, as is ONNX Runtime's default and the backend's; as many threads
        # as PyTorch's rows have.
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        return self.runtime.InferenceSession(
            str(onnx_graph(self.folder, self.cache)), options, providers=["CPUExecutionProvider"]
        )


class _Network(nn.Module):
    """A session in the place of a network of transformers.

    Args:
        session: Of ONNX Runtime.
        config: The network's, which the library reads.
    """

    def __init__(self, session: Any, config: Any) -> None:
        super().__init__()
        self.session, self.config = session, config
        self.names = [one.name for one in session.get_inputs()]

    def forward(self, **given: Any) -> dict[str, Tensor]:
        """Give states ``[N, T, D]`` of what the tokenizer gave, each ``[N, T]``."""
        (states,) = self.session.run(None, {name: given[name].numpy() for name in self.names})
        return {"last_hidden_state": torch.from_numpy(states)}
