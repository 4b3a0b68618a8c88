"""Every reader given its file damaged in every way: as good as new, or one line that names it.

A case is a file, what reads it, and a damage. What a damage may end with depends on the file:

* ``again``: a file of this program's own, which it can make again. The result is that of the
  undamaged file, whatever the damage.
* ``refused``: a file of the user's. A damage that this file cannot survive is one line.
* ``survived``: a damage need not be noticed (a bit of a weight, an entry that nobody reads). There
  is a result or one line, but nothing else.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from sbert_repro.backbone import bilstm
from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.benchmarks.peers import load_library_model
from sbert_repro.benchmarks.training_speed import speeds
from sbert_repro.data.download import is_complete, member
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.data.tokens import tokenise
from sbert_repro.data.word_vectors import find
from sbert_repro.data.word_vectors import load as load_vectors
from sbert_repro.data.words import WordTokenizer
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.infersent import TrainedBiLstmEncoder, published_weights
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import _read as read_search_input
from sbert_repro.evaluation.search import top_pairs
from sbert_repro.evaluation.vectors import encode_sets
from sbert_repro.export import _options as options_in
from sbert_repro.facts import rows
from sbert_repro.inference.stream import read_lines, write_vectors
from sbert_repro.ledger import Ledger, Published
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.storage import make_folder, sha256_of
from sbert_repro.training.checkpoints import LAST, AtomicCheckpointIO, BestWeights, to_continue
from sbert_repro.training.run import add_scores, refuse_diverged
from sbert_repro.training.save import save_model

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]
TEXTS = ["a man plays guitar", "the dog sleeps in the park", ""]
KEY = "0123456789abcdef"
Damage = Callable[[Path], None]


# Damages of any file


def content(data: bytes) -> Damage:
    return lambda path: path.write_bytes(data) and None


def part(share: float) -> Damage:
    def damage(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return damage


def one_bit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


ANY: dict[str, Damage] = {
    "empty": content(b""),
    "one byte": content(b"\x01"),
    "cut in half": part(0.5),
    "last byte gone": lambda path: path.write_bytes(path.read_bytes()[:-1]) and None,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)) and None,
    "noise": lambda path: (
        path.write_bytes(np.random.default_rng(3).bytes(path.stat().st_size)) and None
    ),
    "a page of a web site": content(b"<!DOCTYPE html><html><body>404</body></html>\n"),
    "a folder": a_folder,
    "a link to itself": itself,
}
"""Of these none can be taken for the file."""
UNNOTICED: dict[str, Damage] = {"one bit": one_bit}


# Damages of JSON


OTHERS: tuple[Any, ...] = (None, [], {}, "text", -1, True, [[1]])
FILES = {
    "no object": b"[]",
    "null": b"null",
    "a number": b"3",
    "nested": b"[" * 5000,
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "latin-1": '{"é": 1}'.encode("latin-1"),
    "half a character": b'{"a": "\\ud800"}',
}


def json_damages(example: Any) -> dict[str, Damage]:
    """Each entry gone and each of another type, and what is no such file at all."""
    found = {name: content(data) for name, data in FILES.items()}
    first = example[0] if isinstance(example, list) else example
    for key, value in first.items():
        others = [other for other in OTHERS if type(other) is not type(value)][:4]
        for name, change in (
            (f"without {key}", lambda d, k=key: d.pop(k)),
            *(
                (f"{key} is {json.dumps(other)}", lambda d, k=key, o=other: d.update({k: o}))
                for other in others
            ),
        ):
            found[name] = edit(change)
    return found


def edit(change: Callable[[Any], object]) -> Damage:
    def damage(path: Path) -> None:
        whole = json.loads(path.read_bytes())
        change(whole[0] if isinstance(whole, list) else whole)
        path.write_bytes(json.dumps(whole).encode())

    return damage


# Damages of weights


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        found = load_file(path)
        change(found)
        save_file({name: w.contiguous() for name, w in found.items()}, path, {"format": "pt"})

    return damage


def first(found: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(found) if found[name].ndim > 1)


def each(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict], object]:
    return lambda found: found.update({name: change(w) for name, w in found.items()})


WEIGHTS = {
    "int8": weights(each(lambda w: (w * 20).to(torch.int8))),
    "one int8": weights(lambda d: d.update({first(d): d[first(d)].to(torch.int8)})),
    "float8": weights(each(lambda w: w.to(torch.float8_e4m3fn))),
    "a weight short": weights(lambda d: d.pop(first(d))),
    "none": weights(lambda d: d.clear()),
    "NaN": weights(lambda d: d[first(d)].flatten()[1:2].fill_(torch.nan)),
    "infinite": weights(lambda d: d[first(d)].flatten()[1:2].fill_(torch.inf)),
    "another width": weights(lambda d: d.update({first(d): d[first(d)][:, :-1]})),
    "a row short": weights(lambda d: d.update({first(d): d[first(d)][:-1]})),
    "flat": weights(lambda d: d.update({first(d): d[first(d)].flatten()})),
}


# Damages of tables


def table(change: Callable[[pa.Table], pa.Table]) -> Damage:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def column(name: str, values: Callable[[pa.Table], Any], kind: pa.DataType | None = None) -> Damage:
    return table(
        lambda t: t.set_column(t.column_names.index(name), name, pa.array(values(t), kind))
    )


def twice(name: str) -> Damage:
    return table(lambda t: t.append_column(name, t[name]))


def table_damages(text: str, target: str | None) -> dict[str, Damage]:
    found = {
        f"no {text}": table(lambda t: t.drop_columns([text])),
        f"{text} twice": twice(text),
        f"{text} of numbers": column(text, lambda t: range(len(t))),
        f"{text} missing": column(text, lambda t: [None, *t[text].to_pylist()[1:]], pa.string()),
        f"{text} of lists": column(text, lambda t: [["a"]] * len(t)),
        f"{text} of bytes": column(text, lambda t: [b"\xff"] * len(t), pa.binary()),
        "no rows": table(lambda t: t.slice(0, 0)),
        "no columns": table(lambda t: t.select([])),
    }
    if target is None:
        return found
    return {
        **found,
        f"no {target}": table(lambda t: t.drop_columns([target])),
        f"{target} twice": twice(target),
        f"{target} of lists": column(target, lambda t: [[1]] * len(t)),
        f"{target} missing": column(target, lambda t: [None] * len(t), t_type(target)),
        f"{target} unheard of": column(
            target, lambda t: [b"maybe"] * len(t) if target == "label" else [99.0] * len(t),
            pa.string() if target == "label" else None,
        ),
        f"{target} is no number or class": column(
            target, lambda t: [float("nan")] * len(t) if target == "score" else ["-"] * len(t)
        ),
    }  # fmt: skip


def t_type(target: str) -> pa.DataType:
    return pa.string() if target == "label" else pa.float64()


# What is read


@dataclass(frozen=True)
class Reader:
    """A file and what reads it.

    Attributes:
        name: For the case's name.
        make: Fills an empty folder; returns the file that is damaged.
        read: Reads it, given the folder.
        ends: ``again``, ``refused`` or ``survived``.
        damages: Name → damage.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    ends: str
    damages: dict[str, Damage]


_made: dict[str, Path] = {}


@pytest.fixture(scope="session", autouse=True)
def models(tiny_bert, tmp_path_factory) -> None:
    """Models that were trained here, each made once."""
    root = tmp_path_factory.mktemp("whole")
    backbone, tokenizer = load(tiny_bert), load_tokenizer(tiny_bert)
    settings = {"max_length": 20, "layer": "last"}
    kept = {"loss": {"name": "regression"}, "pooling": {"name": "max"}}
    save_model(root / "sbert", backbone, tokenizer, MaxPooling(), RegressionLoss(), settings | kept)
    kept = {
        "loss": {"name": "cross_regression", "error": "cross_entropy"},
        "pooling": {"name": "cls"},
    }
    head = CrossRegressionLoss(backbone.width)
    save_model(root / "cross", backbone, tokenizer, ClsPooling(), head, settings | kept)
    (root / "v.txt").write_text(VECTORS)
    vectors = load_vectors(find(str(root / "v.txt"), []), root / "cache", progress=False)
    kept = {"loss": {"name": "regression"}, "pooling": {"name": "max"}}
    words = WordTokenizer(vectors, str(root / "v.txt"))
    network = bilstm.random_bilstm(vectors, 3, 1)
    save_model(root / "bilstm", network, words, MaxPooling(), RegressionLoss(), settings | kept)
    _made["root"] = root


VECTORS = "".join(f"{word} {n}.5 -1 2e-1\n" for n, word in enumerate("a man dog plays in".split()))


def model(kind: str, file: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shutil.copytree(_made["root"] / kind, folder / "model")
        return folder / "model" / file

    return make


def example(kind: str, file: str) -> Any:
    """What a file of a model looks like, known before there is a model: for names of cases."""
    return EXAMPLES[kind, file]


EXAMPLES: dict[tuple[str, str], Any] = {
    ("sbert", "config.json"): dict.fromkeys(
        "add_cross_attention architectures attention_probs_dropout_prob dtype hidden_act "
        "hidden_dropout_prob hidden_size initializer_range intermediate_size is_decoder "
        "layer_norm_eps max_position_embeddings model_type num_attention_heads num_hidden_layers "
        "pad_token_id type_vocab_size vocab_size".split(),
        (),
    ),
    ("sbert", "tokenizer.json"): dict.fromkeys(
        "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder "
        "model".split(),
        (),
    ),
    ("sbert", "tokenizer_config.json"): dict.fromkeys(
        "do_lower_case model_max_length pad_token cls_token tokenizer_class".split(), ()
    ),
    ("sbert", "modules.json"): [{"idx": 0, "name": "0", "path": "", "type": "t"}],
    ("sbert", "1_Pooling/config.json"): {
        "word_embedding_dimension": 32,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": True,
        "pooling_mode_cls_token": False,
    },
    ("sbert", "sentence_bert_config.json"): {"max_seq_length": 22, "do_lower_case": False},
    ("sbert", "config_sentence_transformers.json"): {"similarity_fn_name": "cosine"},
    ("sbert", "sbert_repro.json"): {
        "max_length": 20, "layer": "last", "loss": {}, "pooling": {},
    },
    ("cross", "sbert_repro.json"): {
        "max_length": 20, "layer": "last", "loss": {}, "pooling": {}, "reads": "pairs",
    },
    ("bilstm", "sbert_repro.json"): {"max_length": 20, "pooling": {}},
    ("bilstm", "bilstm.json"): {"hidden": 3, "input": 3},
    ("bilstm", "words.json"): {"word_vectors": "", "sha256": "", "split": "", "markers": []},
}  # fmt: skip


def encode_sbert(folder: Path) -> Any:
    return TransformerEncoder(str(folder / "model")).encode(TEXTS)


def score_pairs(folder: Path) -> Any:
    return CrossEncoder(str(folder / "model")).score([("a man", "a dog")])


def encode_bilstm(folder: Path) -> Any:
    encoder = TrainedBiLstmEncoder(folder / "model", label="x", cache=folder / "cache")
    return encoder.encode(TEXTS)


def load_for_library(folder: Path) -> Any:
    import sentence_transformers

    return load_library_model(sentence_transformers, folder / "model", device="cpu").encode(TEXTS)


READS = {"sbert": encode_sbert, "cross": score_pairs, "bilstm": encode_bilstm}


def models_readers() -> Iterator[Reader]:
    for (kind, file), looks in EXAMPLES.items():
        make, read = model(kind, file), READS[kind]
        yield Reader(f"{kind} {file}", make, read, "survived", ANY | json_damages(looks))
    for kind, file in (
        ("sbert", "model.safetensors"),
        ("cross", "model.safetensors"),
        ("cross", "head.safetensors"),
        ("bilstm", "model.safetensors"),
    ):
        make, read = model(kind, file), READS[kind]
        yield Reader(f"{kind} {file}", make, read, "refused", ANY | WEIGHTS)
        yield Reader(f"{kind} {file}", make, read, "survived", UNNOTICED)
    make = model("sbert", "modules.json")
    looks = EXAMPLES["sbert", "modules.json"]
    yield Reader("library modules.json", make, load_for_library, "survived", json_damages(looks))
    make = model("sbert", "config.json")
    fewer = {
        "fewer layers": edit(lambda d: d.update(num_hidden_layers=1)),
        "more layers": edit(lambda d: d.update(num_hidden_layers=3)),
        "no layers": edit(lambda d: d.update(num_hidden_layers=0)),
        "another width": edit(lambda d: d.update(hidden_size=16)),
        "a huge vocabulary": edit(lambda d: d.update(vocab_size=10**9)),
        "a small vocabulary": edit(lambda d: d.update(vocab_size=7)),
        "few positions": edit(lambda d: d.update(max_position_embeddings=3)),
        "heads that do not fit": edit(lambda d: d.update(num_attention_heads=5)),
        "an encoder and a decoder": edit(lambda d: d.update(model_type="t5")),
        "a decoder": edit(lambda d: d.update(model_type="gpt2")),
        "pictures": edit(lambda d: d.update(model_type="vit")),
        "unknown": edit(lambda d: d.update(model_type="planted")),
        "an activation unheard of": edit(lambda d: d.update(hidden_act="what")),
        "padding beyond the vocabulary": edit(lambda d: d.update(pad_token_id=10**6)),
    }
    yield Reader("sbert config.json", make, encode_sbert, "refused", fewer)


def record(kind: str) -> dict[str, Any]:
    used = rows("stsb", "train", title="STSb", unit="pairs", used=5, expected=9)
    scores = {"spearman": 70.5, "n": 9, "ci_low": 60.0, "similarities": {"dot": 1.0}}
    settings = {"task": "stsb", "encoder": {"model": "x"}}
    return {
        "kind": kind,
        "settings": settings if kind == "evaluate" else {"data": {}},
        "scores": scores if kind == "evaluate" else {"dev_spearman": 70.5},
        "seed": 1,
        "facts": [used],
        "steps": 3,
    }


def a_record(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Ledger(folder).put(KEY, record(kind))
        return folder / KEY / "record.json"

    return make


def get_again(kind: str) -> Callable[[Path], Any]:
    def get(folder: Path) -> Any:
        ledger = Ledger(folder)
        found = ledger.get(KEY) or ledger.put(KEY, record(kind))
        return found["scores"], found["facts"], ledger.get(KEY) is not None

    return get


def committed(folder: Path) -> Path:
    ledger = Ledger(folder / "runs")
    records = {KEY: ledger.put(KEY, record("evaluate"))}
    path = folder / "table_1.json"
    path.write_text(json.dumps({"records": records}))
    return path


def made_demo(folder: Path) -> bool:
    def fill(own: Path) -> list[dict[str, Any]]:
        (own / "a.txt").write_text("demo")
        return [{"file": "a.txt", "sha256": sha256_of(own / "a.txt")}]

    return make_folder(folder / "demo", {"version": 1}, fill)


def demo_file(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        made_demo(folder)
        return folder / "demo" / name

    return make


def text_of(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        return folder / name

    return make


def diverged(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        refuse_diverged(folder)
    assert "is not trained again until" in str(refused.value)
    return "refused"


def scores_of(folder: Path) -> Any:
    add_scores(folder / "k", {"stsb": 71.0})
    return json.loads((folder / "k" / "metrics.json").read_text())["stsb"]


def encoded(name: str, finished: bool) -> Callable[[Path], Path]:
    """An output of encode.py, finished or stopped before its third block; its part or journal."""

    def make(folder: Path) -> Path:
        (folder / "s.txt").write_text("".join(f"{n}\n" for n in range(9)))
        try:
            _encode(folder, None if finished else 2)
        except KeyboardInterrupt:
            pass
        (found,) = folder.rglob(name)
        return found

    return make


def _encode(folder: Path, stop: int | None) -> bytes:
    def embed(blocks: Any) -> Iterator[np.ndarray]:
        for number, block in enumerate(blocks):
            if number == stop:
                raise KeyboardInterrupt
            yield np.array([[int(text)] * 3 for text in block], np.float32)

    lines, output = read_lines(folder / "s.txt", 2), folder / "e.npy"
    write_vectors(lines, output, embed, {"encoder": {}}, folder / "cache")
    return output.read_bytes()


def word_pieces(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        split_again(folder)
        return folder / "key" / name

    return make


def split_again(folder: Path) -> Any:
    tokenizer = load_tokenizer(_made["root"] / "sbert")
    found = tokenise({"a": TEXTS}, tokenizer, 5, folder, "key")["a"]
    return found.ids.tolist(), found.offsets.tolist(), found.truncated, found.empty


class Lengths:
    label, identity, facts = "lengths", {"encoder": "lengths"}, ()

    def encode(self, sentences: Any) -> np.ndarray:
        return np.array([[len(text), 1.5] for text in sentences], np.float32)


def embed_again(folder: Path) -> Any:
    return encode_sets(Lengths(), {"a": TEXTS}, folder)["a"].tolist()


def kept_vectors(folder: Path) -> Path:
    embed_again(folder)
    (found,) = folder.rglob("*.safetensors")
    return found


def words(folder: Path) -> Any:
    found = load_vectors(find(str(folder / "v.txt"), []), folder / "cache", progress=False)
    return found.index, found.values.tolist(), found.sha256, found.facts


def converted(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "v.txt").write_text(VECTORS)
        words(folder)
        (found,) = folder.rglob(name)
        return found

    return make


def packed_words(kind: str) -> tuple[Callable[[Path], Path], Callable[[Path], Any]]:
    def make(folder: Path) -> Path:
        path = folder / f"v.txt.{kind}" if kind == "gz" else folder / "v.zip"
        if kind == "gz":
            path.write_bytes(gzip.compress(VECTORS.encode() * 50))
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("v.txt", VECTORS)
        return path

    def read_it(folder: Path) -> Any:
        (path,) = (p for p in folder.iterdir() if p.name.startswith("v."))
        return load_vectors(find(str(path), []), folder / "cache", progress=False).index

    return make, read_it


def in_header(at: int, value: int) -> Damage:
    """Change a field of a zip's local header (at) and of its central one (two bytes further)."""

    def damage(path: Path) -> None:
        whole = bytearray(path.read_bytes())
        central = whole.index(b"PK\x01\x02")
        whole[at] = whole[central + at + 2] = value
        path.write_bytes(whole)

    return damage


ZIP = {"encrypted": in_header(6, 1), "an unknown method": in_header(8, 77)}


def checkpoint(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        network = linear()
        BestWeights(folder).save(network, 2)
        best = {"losses": torch.zeros(3, dtype=torch.float64), "best_step": 2}
        AtomicCheckpointIO().save_checkpoint(
            {
                "state_dict": network.state_dict(),
                "optimizer_states": [{"state": {0: {"step": torch.ones(())}}, "param_groups": []}],
                "callbacks": {"DevAndCheckpoint": best},
                "random_states": [{"cpu": torch.get_rng_state()}],
            },
            folder / LAST,
        )
        return folder / name

    return make


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def goes_on(folder: Path) -> str:
    return "starts over" if to_continue(folder, linear(), True) is None else "goes on"


def without(*names: Any) -> Damage:
    def damage(path: Path) -> None:
        whole = inner = torch.load(path, weights_only=True)
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        torch.save(whole, path)

    return damage


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("run",))


CHECKPOINT = {
    "no optimizer": without("optimizer_states"),
    "no moments": without("optimizer_states", 0, "state", 0),
    "a weight short": without("state_dict", "weight"),
    "no random state": without("random_states"),
    "no callbacks": without("callbacks"),
    "another network": lambda path: AtomicCheckpointIO().save_checkpoint(
        {"state_dict": nn.Linear(2, 2).state_dict(), "callbacks": {}}, path
    ),
    "a list": lambda path: torch.save([1], path),
    "a pickle": content(pickle.dumps(Evil())),
    "a pickle of torch": lambda path: torch.save({"a": Evil()}, path),
}


def parquet(name: str, split: str, columns: dict[str, list[Any]]) -> Reader:
    size = len(next(iter(columns.values())))
    known = dataset(name)
    small = replace(known, splits={**known.splits, split: size})

    def make(folder: Path) -> Path:
        (folder / name).mkdir()
        pq.write_table(pa.table(columns), folder / name / f"{split}.parquet")
        return folder / name / f"{split}.parquet"

    def read_it(folder: Path) -> Any:
        found = read(small, folder, split)
        texts = {name: list(column) for name, column in found.texts.items()}
        return texts, None if found.target is None else found.target.tolist()

    damages = ANY | table_damages(known.text_columns[0], known.target_column)
    return Reader(f"{name} {split}.parquet", make, read_it, "refused", damages)


def downloaded(folder: Path) -> Path:
    stsb = replace(dataset("stsb"), splits={"test": 2})
    (folder / "stsb").mkdir()
    path = folder / "stsb" / "test.parquet"
    pairs = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, 2.0]}
    pq.write_table(pa.table(pairs), path)
    said = {"splits": {"test": {"rows": 2, "sha256": sha256_of(path)}}}
    path.with_name("SOURCE.json").write_text(json.dumps(said))
    assert is_complete(stsb, folder, "test")
    return path.with_name("SOURCE.json")


def still_complete(folder: Path) -> bool:
    return is_complete(replace(dataset("stsb"), splits={"test": 2}), folder, "test")


def packed(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            info = tarfile.TarInfo("a/b.txt")
            info.size = 3000
            tar.addfile(info, io.BytesIO(np.random.default_rng(0).bytes(3000)))
        pack = {"tar": bytes, "gz": gzip.compress, "xz": lzma.compress}[kind]
        (folder / "x").write_bytes(pack(plain.getvalue()))
        return folder / "x"

    return make


def infersent(folder: Path) -> Path:
    shape = {"enc_lstm.weight_hh_l0": torch.zeros(8, 2), "enc_lstm.bias_hh_l0": torch.zeros(8)}
    torch.save(shape, folder / "infersent1.pkl")
    return folder / "infersent1.pkl"


def found_vectors(folder: Path) -> Any:
    vectors = read_search_input(folder / "e.npy")
    return top_pairs(vectors, 1, name=str(folder / "e.npy")).rows.tolist()


def array(data: np.ndarray, **options: Any) -> Damage:
    return lambda path: np.save(path, data, **options)


ARRAYS = {
    "whole numbers": array(np.ones((3, 2), np.int64)),
    "complex": array(np.ones((3, 2), np.complex64)),
    "a row": array(np.ones(3, np.float32)),
    "a cube": array(np.ones((3, 2, 2), np.float32)),
    "no rows": array(np.ones((0, 2), np.float32)),
    "no columns": array(np.ones((3, 0), np.float32)),
    "objects": array(np.array([{}, 1], object), allow_pickle=True),
    "NaN": array(np.array([[1, np.nan], [1, 2]], np.float32)),
    "infinite": array(np.array([[1, np.inf], [1, 2]], np.float64)),
}


def lines_of(folder: Path) -> Any:
    lines = read_lines(folder / "s.txt", 2)
    return [list(block) for block in lines.blocks()]


def options_of_run(folder: Path) -> Any:
    return options_in(folder)["encoder"]["path"]


def run_options(folder: Path) -> Path:
    OmegaConf.save({"encoder": {"path": "google-bert/x", "label": "x"}}, folder / "config.yaml")
    return folder / "config.yaml"


MEASURED = {
    "measured": {"hardware": {"cpu": "x", "cores": 2}, "threads": 2, "model": "m", "batch_size": 4},
    "rows": [{"precision": "fp32", "pairs/s": 3.5, "training": "ours"}],
}
PAIRS = {"sentence1": ["a", "b"], "sentence2": ["c", "d"]}


def own_readers() -> Iterator[Reader]:
    for kind in ("train", "evaluate"):
        looks = {"schema": 2, "key": KEY, "lock_sha256": "", **record(kind)}
        damages = ANY | json_damages(looks)
        damages.pop("a folder")  # refused, since nothing of ours is ever a folder there
        damages.pop("a link to itself")
        deeper = {
            "scores a list": edit(lambda d: d.update(scores=[1])),
            "a score of text": edit(
                lambda d: d["scores"].update(dict.fromkeys(d["scores"], "high"))
            ),
            "a fact without fields": edit(lambda d: d.update(facts=[{"code": "rows"}])),
            "a fact without code": edit(lambda d: d.update(facts=[{}])),
            "rows in words": edit(lambda d: d["facts"][0].update(used="all")),
            "cores in words": edit(lambda d: d.update(hardware={"cores": [2]})),
            "the key of another": edit(lambda d: d.update(key="f" * 16)),
        }
        for name in ("lock_sha256", "steps"):  # nobody needs to have them
            damages.pop(f"without {name}")
        harmless = {n: damages.pop(n) for n in list(damages) if n.startswith("lock_sha256 is")}
        harmless |= {n: damages.pop(n) for n in list(damages) if n == "steps is null"}
        harmless |= {n: damages.pop(n) for n in list(damages) if n == "seed is null"}
        harmless |= {n: damages.pop(n) for n in list(damages) if n == 'kind is "text"'}
        make, read_it = a_record(kind), get_again(kind)
        yield Reader(f"{kind} record.json", make, read_it, "again", damages | deeper)
        yield Reader(f"{kind} record.json", make, read_it, "survived", harmless)
    damages = ANY | json_damages({"records": {}})
    yield Reader(
        "committed records", committed, lambda f: Published(f).get(KEY), "survived", damages
    )
    damages = json_damages({"synthetic": True, "version": 1, "files": []})
    yield Reader("MANIFEST.json", demo_file("MANIFEST.json"), made_demo, "survived", ANY | damages)
    yield Reader("file of the demo", demo_file("a.txt"), made_demo, "survived", ANY)
    make = text_of("diverged.json", '{"seed": 1, "said": "NaN at step 3", "mend": ""}')
    damages = ANY | json_damages({"seed": 1, "said": "", "mend": ""})
    yield Reader("diverged.json", make, diverged, "again", damages)
    make = text_of("k/metrics.json", '{"key": "k", "stsb": 70.0}')
    damages = {n: d for n, d in ANY.items() if n not in ("a folder", "a link to itself")}
    damages |= json_damages({"key": "k", "stsb": 70.0})
    yield Reader("metrics.json", make, scores_of, "again", damages)
    files = {n: d for n, d in ANY.items() if n not in ("a folder", "a link to itself")}
    journal = json_damages({"made_from": {}, "done": 1, "width": 3, "size": 1})
    again = lambda folder: _encode(folder, None)  # noqa: E731
    yield Reader("journal", encoded("*.journal", False), again, "survived", files | journal)
    yield Reader("finished journal", encoded("*.json", True), again, "survived", files | journal)
    shorter = {n: files[n] for n in ("empty", "one byte", "cut in half", "last byte gone")}
    yield Reader("part", encoded("*.part", False), again, "again", shorter)
    for name in ("a.ids.npy", "a.offsets.npy", "a.json"):
        damages = files | (
            json_damages({"truncated": 1, "empty": 1}) if name.endswith("json") else ARRAYS
        )
        yield Reader(f"word pieces {name}", word_pieces(name), split_again, "again", damages)
    damages = files | UNNOTICED | {n: d for n, d in WEIGHTS.items() if n != "none"}
    yield Reader("kept vectors", kept_vectors, embed_again, "again", damages)
    for name in ("description.json", "words.txt", "vectors.npy"):
        damages = dict(files)
        if name == "description.json":
            damages |= json_damages({"sha256": "", "width": 3, "words_sha256": ""})
        if name == "vectors.npy":
            damages |= ARRAYS
        else:
            damages |= {} if name == "description.json" else UNNOTICED
        yield Reader(f"converted {name}", converted(name), words, "again", damages)
    damages = files | UNNOTICED | CHECKPOINT
    started_over = lambda folder: goes_on(folder) in ("starts over",)  # noqa: E731
    yield Reader(LAST, checkpoint(LAST), started_over, "noticed", damages)
    damages = files | UNNOTICED | {n: d for n, d in WEIGHTS.items() if n != "none"}
    name = "best-2.safetensors"
    yield Reader(name, checkpoint(name), started_over, "noticed", damages)
    damages = files | json_damages({"splits": {}})
    yield Reader("SOURCE.json", downloaded, still_complete, "again", damages)
    make = text_of("p/benchmark_train.json", json.dumps(MEASURED))
    damages = files | json_damages(MEASURED)
    yield Reader("benchmark_train.json", make, lambda f: len(speeds(f)), "survived", damages)
    yield Reader("config.yaml", run_options, options_of_run, "survived", ANY)


def users_readers() -> Iterator[Reader]:
    yield parquet("stsb", "test", PAIRS | {"score": [1.0, 2.0]})
    yield parquet("sts12", "test", {"subset": ["x", "y"], **PAIRS, "score": [1.0, 2.0]})
    labels = ["entailment", "neutral"]
    yield parquet(
        "nli", "train", {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": labels}
    )
    triplets = {"anchor": ["a"], "positive": ["b"], "negative": ["c"]}
    yield parquet("wikisections", "test", triplets)
    yield parquet("mr", "all", {"text": ["a", "b"], "label": ["0", "1"]})
    make = text_of("v.txt", VECTORS)
    texts = {
        "a number short": content(b"a 1 2 3\nb 1 2\n"),
        "a number more": content(b"a 1 2 3\nb 1 2 3 4\n"),
        "a word for a number": content(b"a 1 2 3\nb 1 x 3\n"),
        "NaN": content(b"a 1 2 3\nb 1 nan 3\n"),
        "too large": content(b"a 1 2 3\nb 1 1e99 3\n"),
        "fewer rows than promised": content(b"5 3\na 1 2 3\n"),
        "more rows than promised": content(b"1 3\na 1 2 3\nb 1 2 3\n"),
        "no words": content(b"5 3\n"),
    }
    damages = {n: d for n, d in ANY.items() if n not in ("last byte gone", "cut in half")}
    yield Reader("word vectors", make, words, "refused", damages | texts)
    mark = {"a byte order mark": lambda p: p.write_bytes(b"\xef\xbb\xbf" + p.read_bytes()) and None}
    first_word = lambda folder: next(iter(words(folder)[0]))  # noqa: E731
    yield Reader("word vectors", make, first_word, "again", mark)
    for kind in ("gz", "zip"):
        make, read_it = packed_words(kind)
        damages = ANY | UNNOTICED | (ZIP if kind == "zip" else {})
        yield Reader(f"word vectors in {kind}", make, read_it, "refused", damages)
    for kind in ("tar", "gz", "xz"):
        read_it = lambda folder: member(folder / "x", "a/b.txt")  # noqa: E731
        # What is behind the member is not read.
        behind = {"last byte gone", *({"cut in half"} if kind == "tar" else ())}
        harmless = {n: d for n, d in ANY.items() if n in behind}
        damages = {n: d for n, d in ANY.items() if n not in behind}
        yield Reader(f"archive {kind}", packed(kind), read_it, "refused", damages)
        yield Reader(f"archive {kind}", packed(kind), read_it, "again", harmless)
    damages = ANY | {"a pickle": content(pickle.dumps(Evil())), "a list": CHECKPOINT["a list"]}
    damages["other weights"] = lambda path: torch.save({"a": torch.ones(1)}, path)
    read_it = lambda folder: published_weights(folder / "infersent1.pkl")  # noqa: E731
    yield Reader("infersent1.pkl", infersent, read_it, "refused", damages)
    make = lambda folder: np.save(folder / "e.npy", np.eye(3)) or folder / "e.npy"  # noqa: E731
    yield Reader("e.npy", make, found_vectors, "refused", ANY | ARRAYS)
    make = text_of("s.txt", "one\ntwo\nthree\n")
    damages = {n: ANY[n] for n in ("empty", "noise", "a folder", "a link to itself")}
    damages |= {"latin-1": content(b"caf\xe9\n"), "UTF-16": content("one\n".encode("utf-16"))}
    yield Reader("s.txt", make, lines_of, "refused", damages)
    odd = {
        "no line end": content(b"one"),
        "NUL": content(b"a\0b\n\0\n"),
        "one long line": content(b"x" * 3_000_000),
        "empty lines": content(b"\n\n\n"),
        "a byte order mark": content(b"\xef\xbb\xbfone\n"),
    }
    yield Reader("s.txt", make, lines_of, "survived", odd)


CASES = {
    f"{reader.name}: {name}": (reader, damage)
    for readers in (models_readers, own_readers, users_readers)
    for reader in readers()
    for name, damage in reader.damages.items()
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_good_as_new_or_one_line(case, tmp_path, capsys, recwarn):
    reader, damage = CASES[case]
    (tmp_path / "whole").mkdir(), (tmp_path / "damaged").mkdir()
    reader.make(tmp_path / "whole")
    expected = reader.read(tmp_path / "whole")
    damage(reader.make(tmp_path / "damaged"))
    try:
        found = reader.read(tmp_path / "damaged")
    except UserError as problem:
        said = str(problem)
        assert reader.ends in ("refused", "survived"), said
        assert "\n" not in said and len(said) < 1500
        assert str(tmp_path) in said, "it names the file or its folder"
        assert problem.mend or "expected" in problem.found, f"it says what to do: {said}"
        return
    assert reader.ends != "refused", f"not noticed: {found}"
    if reader.ends == "again":
        assert found == expected
    if reader.ends == "noticed":
        assert found is True and expected is False
    assert "run" not in capsys.readouterr().out, "nothing in it was run"


def test_there_are_enough_of_them():
    assert len(CASES) >= 300
