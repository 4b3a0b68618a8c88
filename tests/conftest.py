"""What every test may ask for: real data and models where they are at hand, two tiny models."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Set before torch and the Hub's client are imported: they read them once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
# Ignored where a shell runs the tests in the background, and what they start would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# NNCF and TensorFlow import absl, which remembers what standard error was then. When a command sets
# up logging, absl closes that stream, even pytest's; only the process's own is spared.
with contextlib.redirect_stderr(sys.__stderr__), contextlib.suppress(ImportError):
    importlib.import_module("absl.logging")

# A busy machine is no error: how long an example takes says nothing about what it shows.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")

REPOSITORY = Path(__file__).resolve().parents[1]
WORDS = (
    "a the one two three man woman child dog cat bird is are was not plays runs eats sings "
    "sleeps reads rides guitar piano ball book horse bike park street house kitchen in on at "
    "with and happy big small red green blue quickly slowly no nobody outside inside"
)


def _folder(variable: str, beside: str) -> Path:
    """The folder `variable` names, or shared/<beside> beside the repository, or a skipped test."""
    chosen = os.environ.get(variable)
    folder = Path(chosen) if chosen else REPOSITORY.parent / "shared" / beside
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set {variable}")
    return folder.resolve()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real data sets, in the project's own layout."""
    return _folder("SBERT_DATA", "data")


@pytest.fixture(scope="session")
def models_root() -> Path:
    """The folder of real pre-trained models."""
    return _folder("SBERT_MODELS", "models")


@pytest.fixture(scope="session")
def minilm(models_root: Path) -> Path:
    """all-MiniLM-L6-v2, the oracle of the evaluation."""
    folder = models_root / "all-MiniLM-L6-v2"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT, 2 layers, width 32, 64 positions; word pieces that fall back on letters."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = dict.fromkeys([*special, *WORDS.split(), *letters, *(f"##{c}" for c in letters)])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    _save(BertModel(BertConfig(vocab_size=len(vocabulary), **_shape(positions=64))), folder)
    BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random RoBERTa, 2 layers, width 32, 64 usable positions, pad id 1; byte-level BPE."""
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-roberta"
    vocabulary, merges = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    # RoBERTa counts positions from pad id + 1, so two of them are never used.
    config = RobertaConfig(vocab_size=len(vocabulary), pad_token_id=1, **_shape(positions=66))
    _save(RobertaModel(config), folder)
    RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=64).save_pretrained(folder)
    return folder


class RayCluster:
    """Two nodes of a Ray cluster on this machine, with one core each.

    Attributes:
        environment: What a command needs to use it.
    """

    def __init__(self, *words: str) -> None:
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
        local = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        for _ in range(5):  # Ray gives up after 30 seconds, which a busy machine may need
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("ray_cluster.py")), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **secret},
            )
            if address := self._answer():
                break
            self.process.wait()
        assert address, "the cluster did not start"
        self.environment = {**secret, **local, "RAY_ADDRESS": address}

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill_second_node(self) -> None:
        """Take it away, as when its machine is switched off."""
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self._answer() == "killed"

    def tasks(self) -> set[int]:
        """Processes of its nodes that do a task of a table; Ray names them after it."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().startswith(b"ray::table ") and self._began(path.parent):
                    found.add(int(path.parent.name))
        return found

    def _began(self, process: Path) -> bool:
        """Whether a process descends from this cluster's."""
        while process.name not in ("0", "1"):
            if process.name == str(self.process.pid):
                return True
            after_name = (process / "stat").read_text().rpartition(")")[2].split()
            process = process.parent / after_name[1]
        return False

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self.process.communicate()


@pytest.fixture
def ray_cluster() -> Iterator[Callable[..., RayCluster]]:
    """Start a Ray cluster of two nodes; "dashboard" starts that too."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: make setup EXTRAS=ray")
    started: list[RayCluster] = []

    def start(*words: str) -> RayCluster:
        started.append(RayCluster(*words))
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


@pytest.fixture(autouse=True)
def _log_handlers_do_not_outlive_a_test() -> Iterator[None]:
    """A command run by a test gives the log a handler on a stream that ends with the test.

    A timed one also quietens the encoders.
    """
    loggers = [logging.getLogger(f"sbert_repro{name}") for name in ("", ".encoders", ".data")]
    root, levels = logging.getLogger(), [logger.level for logger in loggers]
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, before in zip(loggers, levels, strict=True):
        logger.setLevel(before)
    logging.captureWarnings(False)


def _shape(*, positions: int) -> dict[str, int]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
    }


def _save(model, folder: Path) -> None:
    """Saves with weights that are the same each time, so that a failing test fails again."""
    import torch

    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "LayerNorm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    model.save_pretrained(folder, safe_serialization=True)


def _byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE vocabulary and its merges, learnt from WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
