"""BERT, RoBERTa and their relatives: token states from a model of transformers."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import transformers
from torch import Tensor, nn

from sbert_repro import json_files
from sbert_repro.backbone.find_model import weights_folder
from sbert_repro.backbone.fused import FusedNetwork, covers
from sbert_repro.backbone.packed import (
    ATTENTION,
    FAMILIES,
    first_position,
    pack,
    positions,
    unpack,
)
from sbert_repro.backbone.weights import AGAIN, check_finite, check_formats
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError

LAYERS: dict[str, tuple[int, ...]] = {
    "last": (-1,),
    "second_to_last": (-2,),
    "first_last": (1, -1),
    "embedding_last": (0, -1),
}
"""Which states are averaged; 0 is the embedding layer, 1 the first transformer layer.

The paper says "output layer"; its "avg. BERT" row came from bert-as-service, whose default is the
second-to-last layer. First-last means layer 1 and the last; taking the embedding layer for the
first is a known mistake of others, kept under its own name to compare with their numbers.
"""

_log = logging.getLogger(__name__)
_POOLER = ("pooler.", "embeddings.position_ids")
_SAFELY: dict[str, Any] = {
    "local_files_only": True,
    "trust_remote_code": False,
    "use_safetensors": True,
}
_OWN_CODE = "it names code of its own in auto_map, which is never run"


def check_layer(layer: str) -> None:
    """Refuse a layer that has no name.

    Args:
        layer: The word after ``encoder.layer=``.

    Raises:
        UserError: It is none of ``LAYERS``.
    """
    if layer not in LAYERS:
        raise UserError(
            f"there is no such layer; there are {', '.join(LAYERS)}",
            where=f"encoder.layer={layer}",
        )


class TransformerBackbone(nn.Module):
    """The state of each word piece, ``[N, T, D]`` (Figure 1, "BERT").

    Attributes:
        VERSION: Raised by hand when the same weights would give other states.
        packs: Whether it computes a packed row on a CPU.
        width: Width ``D`` of the states.
    """

    VERSION: ClassVar[int] = 2
    packs: ClassVar[bool] = True
    width: int

    def __init__(self, model: nn.Module, layer: str = "last") -> None:
        """Wrap a model.

        Args:
            model: A transformers encoder.
            layer: A name from ``LAYERS``.

        Raises:
            UserError: If the layer's name is unknown.
        """
        super().__init__()
        check_layer(layer)
        self.model, self.layer = model, layer
        self.width = int(self._config.hidden_size)
        self._fused: FusedNetwork | Literal[False] | None = None

    @property
    def _config(self) -> Any:
        return self.model.config

    @property
    def positions(self) -> int:
        """Word pieces a sentence may have, [CLS] and [SEP] included."""
        return positions(self._config)

    def forward(self, tokens: Tokens) -> Tensor:
        """Run the network once over all sentences.

        Args:
            tokens: ``N`` sentences of up to ``T`` word pieces.

        Returns:
            States ``[N, T, D]``; what stands on padding means nothing.
        """
        if tokens.ids.device.type != "cpu":
            return self._padded(tokens.ids, tokens.mask, tokens.types)
        # An attention call for each group pays on a CPU; a GPU would wait for their launches.
        packing = pack(tokens)
        if self._is_fused():
            assert isinstance(self._fused, FusedNetwork)
            return unpack(self._fused.states(packing, LAYERS[self.layer]), packing, tokens)
        states = self._run(
            input_ids=packing.ids.unsqueeze(0),
            token_type_ids=None if packing.types is None else packing.types.unsqueeze(0),
            position_ids=(packing.positions + first_position(self._config)).unsqueeze(0),
            packing=packing,
        )
        return unpack(states[0], packing, tokens)

    def save(self, folder: Path) -> None:
        """Write weights and configuration as transformers does.

        Args:
            folder: The model's folder; made when it is not there.
        """
        self.model.save_pretrained(folder)  # type: ignore[operator]

    def _is_fused(self) -> bool:
        """Tell whether this is a bf16 training step of a network that has a faster way."""
        half = (
            torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )
        if not half or not torch.is_grad_enabled():
            return False
        if self._fused is None:
            self._fused = FusedNetwork(self.model) if covers(self.model) else False
            if self._fused is False:
                _log.info("%s trains in bf16 by autocast", type(self.model).__name__)
        return self._fused is not False

    def _padded(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        # transformers looks into a mask [N, T] to leave it out where nothing is padded, for which
        # a GPU would have to finish all that it was given. It takes a mask [N, 1, 1, T] as it is.
        if mask.is_cuda and self._config.model_type in FAMILIES:
            mask = mask[:, None, None, :]
        return self._run(input_ids=ids, attention_mask=mask, token_type_ids=types)

    def _run(self, **inputs: Any) -> Tensor:
        """Run transformers' network, and average the states of the layers asked for."""
        only_last = self.layer == "last"
        # A family that knows no token types is never asked about them.
        given = {name: value for name, value in inputs.items() if value is not None}
        output = self.model(output_hidden_states=not only_last, **given)
        if only_last:
            states: Tensor = output.last_hidden_state
            return states
        return torch.stack([output.hidden_states[i] for i in LAYERS[self.layer]]).mean(0)


@contextmanager
def loading(what: str, file: Path) -> Iterator[None]:
    """Keep load reports and bars off the screen, and turn any failure inside into one line.

    Args:
        what: What is loaded, for the message.
        file: The file, or folder, that it is loaded from.

    Yields:
        Nothing.

    Raises:
        UserError: If the block fails for any reason; names folder, file and reason.
    """
    reports = logging.getLogger("transformers")
    level = reports.level
    transformers.logging.disable_progress_bar()
    reports.setLevel(logging.ERROR)
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers, safetensors and torch each have their own kinds
        # The libraries would advise to let the code of the folder run.
        reason = _OWN_CODE if "auto_map" in _json(file) else str(error) or "no reason was given"
        raise UserError(
            f"the {what} cannot be loaded ({type(error).__name__})",
            where=file,
            mend=f"{reason}; {AGAIN}",
        ) from error
    finally:
        reports.setLevel(level)


def _json(file: Path) -> dict[str, Any]:
    try:
        return json_files.read(file, dict[str, Any])
    except UserError:
        return {}


def load(folder: Path, layer: str = "last") -> TransformerBackbone:
    """Load the backbone of a model folder, in float32 and in evaluation mode.

    Args:
        folder: A model folder of transformers or sentence-transformers.
        layer: A name from ``LAYERS``.

    Returns:
        The backbone, on the CPU.

    Raises:
        UserError: If the folder is no model, or its weights are damaged or incomplete.
    """
    place, config = weights_folder(folder), load_config(folder)
    with loading("model", place):
        kind: Any = transformers.MODEL_MAPPING[type(config)]
        model, report = kind.from_pretrained(
            place,
            config=config,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
            **without_pooler(config),
            **_SAFELY,
        )
    check_weights(place, model, report)
    backbone = TransformerBackbone(model, layer).eval()
    with loading("model", place), torch.no_grad():
        # What does not fit together shows in a first pass, if nowhere else.
        ids = torch.zeros((1, 3), dtype=torch.long)
        states = backbone(Tokens(ids, torch.ones_like(ids, dtype=torch.bool)))
        if states.shape != (1, 3, backbone.width) or not bool(states.isfinite().all()):
            raise ValueError(f"it gives no finite states of width {backbone.width}")
    return backbone


def without_pooler(config: Any) -> dict[str, bool]:
    """Return how a network is made without the layer over [CLS] that only pre-training uses.

    Args:
        config: Of transformers.

    Returns:
        An option of its class, or nothing where the architecture has no such layer.
    """
    kind: Any = transformers.MODEL_MAPPING[type(config)]
    known = "add_pooling_layer" in inspect.signature(kind).parameters
    return {"add_pooling_layer": False} if known else {}


def check_weights(place: Path, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Refuse a network that is not what its file holds.

    Args:
        place: The folder of the weights.
        model: As it was loaded.
        report: What transformers says about it: keys that were missing or not expected.

    Raises:
        UserError: If a weight is missing, is left over although the network has a place of its
            kind (as a layer that the configuration does not count), is no floating-point number in
            the file, or is not finite.
    """
    missing = sorted(k for k in report["missing_keys"] if not k.startswith(_POOLER))
    if missing:
        raise UserError(
            f"{len(missing)} weights are not in the file, {missing[0]} among them; it is truncated "
            "or of another architecture",
            where=place,
            mend=AGAIN,
        )
    # Heads of pre-training and poolers are left over in many models, parts of the network in none.
    parts = {name for name, _ in model.named_children()}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    bare = sorted(str(key).removeprefix(prefix) for key in report["unexpected_keys"])
    if left := [k for k in bare if k.partition(".")[0] in parts and not k.startswith(_POOLER)]:
        raise UserError(
            f"{len(left)} weights of the file have no place in the network that config.json "
            f"describes, {left[0]} among them",
            where=place,
            mend=AGAIN,
        )
    for file in sorted(place.glob("model*.safetensors")):
        check_formats(file)
    for name, weight in model.named_parameters():
        check_finite(name, weight, place)


def load_network(folder: Path, **options: Any) -> nn.Module:
    """Load the network of a model folder with the defaults of transformers, in evaluation mode.

    Args:
        folder: A model folder of transformers or sentence-transformers.
        **options: For transformers, such as ``attn_implementation``.

    Returns:
        The network, on the CPU, in float32.

    Raises:
        UserError: If the folder is no model, or its weights are damaged.
    """
    place, config = weights_folder(folder), load_config(folder)
    with loading("model", place):
        network, report = transformers.AutoModel.from_pretrained(
            place, config=config, output_loading_info=True, **options, **_SAFELY
        )
    check_weights(place, network, report)
    loaded: nn.Module = network.float().eval()
    return loaded


def load_config(folder: Path) -> Any:
    """Load the transformers configuration of a model folder, without reading a weight.

    Args:
        folder: A model folder of transformers or sentence-transformers.

    Returns:
        A ``PreTrainedConfig`` of a class that transformers itself has.

    Raises:
        UserError: If there is none, or it is of an architecture that transformers does not have:
            the code that a folder brings along is never run.
    """
    place = weights_folder(folder)
    file = place / "config.json"
    kind = _json(file).get("model_type")
    if kind not in list(transformers.CONFIG_MAPPING.keys()):
        own = f": {_OWN_CODE}" if "auto_map" in _json(file) else ""
        raise UserError(
            f"transformers has no architecture {str(kind)!r}{own}",
            where=file,
            mend="use a model of an architecture that it has, such as bert or roberta",
        )
    with loading("configuration", file):
        return transformers.AutoConfig.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )


def load_tokenizer(folder: Path) -> Any:
    """Load the fast tokenizer of a model folder.

    Args:
        folder: A model folder of transformers or sentence-transformers.

    Returns:
        A ``PreTrainedTokenizerFast``.

    Raises:
        UserError: If the folder holds none, or it is damaged.
    """
    place = weights_folder(folder)
    config = load_config(place)  # or transformers would look there for code
    files = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
    found = [file for name in files for file in sorted(place.glob(name))]
    if not found:
        raise UserError(
            "no tokenizer; expected tokenizer.json, vocab.txt or vocab.json",
            where=place,
            mend="copy the tokenizer's files beside the weights",
        )
    settings = place / "tokenizer_config.json"
    file = settings if "auto_map" in _json(settings) else found[0]
    with loading("tokenizer", file):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
        if not tokenizer.is_fast:
            raise ValueError("it is no fast tokenizer, expected one with a tokenizer.json")
        if tokenizer.pad_token_id is None:
            raise ValueError("it has no padding token")
        if (last := max(tokenizer.get_vocab().values())) >= config.vocab_size:
            raise ValueError(f"it has the word piece {last}, the model only {config.vocab_size}")
    return tokenizer
