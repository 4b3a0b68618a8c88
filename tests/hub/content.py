"""What the miniature Hub serves: small files in the formats, names and folders of the real sites.

The sentences are the demo's, so that training on them teaches something; the rest is upstream's:
SNLI with pairs that have no gold label, MultiNLI with all its columns, STSb as compressed JSON
lines, ``senteval.tar`` with its members, Wikipedia triplets with a blank text, AFS in ISO-8859-1
with stray quotes, word vectors in zip files with and without a header line, InferSent's pickle of
tensors, and a SavedModel.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data.schema import KOR_NLU

SNLI_LABELS = ("entailment", "neutral", "contradiction")
STS_PARTS = {
    12: ("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"),
    13: ("FNWN", "headlines", "OnWN"),
    14: ("deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"),
    15: ("answers-forums", "answers-students", "belief", "headlines", "images"),
    16: ("answer-answer", "headlines", "plagiarism", "postediting", "question-question"),
}
CLASS_FILES = {
    "MR": ("mr", "rt-polarity.pos", "rt-polarity.neg"),
    "CR": ("cr", "custrev.pos", "custrev.neg"),
    "SUBJ": ("subj", "subj.objective", "subj.subjective"),
    "MPQA": ("mpqa", "mpqa.pos", "mpqa.neg"),
}
MULTI_NLI = (
    "promptID pairID premise premise_binary_parse premise_parse hypothesis "
    "hypothesis_binary_parse hypothesis_parse genre label"
).split()
TOPICS = {"DP": "death penalty", "GC": "gun control", "GM": "gay marriage"}


class Demo:
    """The demo's data root, read column by column.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def rows(self, dataset: str, split: str = "all") -> list[dict[str, Any]]:
        """Return all rows of a split."""
        return pq.read_table(self.root / dataset / f"{split}.parquet").to_pylist()


def write(hub: Path, demo: Path, *, pairs: int = 600) -> None:
    """Write everything that the paper profile downloads.

    Args:
        hub: The folder that the server serves.
        demo: The demo's data root, whose sentences are used.
        pairs: Rows of each of SNLI's and MultiNLI's training splits.
    """
    found = Demo(demo)
    _snli(hub / "datasets" / "stanfordnlp" / "snli", found, pairs)
    _multi_nli(hub / "datasets" / "nyu-mll" / "multi_nli", found, pairs)
    _stsb(hub / "datasets" / "mteb" / "stsbenchmark-sts", found)
    _wikipedia(hub / "datasets" / "sentence-transformers" / "wikipedia-sections", found)
    _senteval(hub / "datasets" / "princeton-nlp" / "datasets-for-simcse", found)
    _word_vectors(hub / "sites", demo)
    _korean(hub / "sites" / "raw.githubusercontent.com", found)
    _infersent(hub / "sites" / "dl.fbaipublicfiles.com" / "infersent" / "infersent1.pkl")


def _card(folder: Path, config: str | None, files: dict[str, str], label: bool) -> None:
    """Write the YAML head of a data set's page, from which `datasets` knows files and classes."""
    names = "".join(f"          '{i}': {name}\n" for i, name in enumerate(SNLI_LABELS))
    features = (
        "  - name: premise\n    dtype: string\n  - name: hypothesis\n    dtype: string\n"
        f"  - name: label\n    dtype:\n      class_label:\n        names:\n{names}"
    )
    splits = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in files.items())
    info = f"dataset_info:\n  config_name: {config}\n  features:\n{features}" if label else ""
    head = (
        f"---\n{info}configs:\n- config_name: {config or 'default'}\n  data_files:\n{splits}---\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(head)


def _nli(found: Demo, split: str, part: slice) -> list[dict[str, Any]]:
    ids = {label: number for number, label in enumerate(SNLI_LABELS)}
    rows = found.rows("nli", split)[part]
    return [{**row, "label": ids[row["label"]]} for row in rows]


def _snli(folder: Path, found: Demo, pairs: int) -> None:
    splits = {"train": "train", "validation": "dev", "test": "test"}
    files = {split: f"plain_text/{split}-*" for split in splits}
    _card(folder, "plain_text", files, label=True)
    (folder / "plain_text").mkdir()
    for split, ours in splits.items():
        rows = _nli(found, ours, slice(0, pairs if split == "train" else 100))
        # Annotators who did not agree: no gold label.
        rows[::50] = [{**row, "label": -1} for row in rows[::50]]
        table = pa.table({n: [row[n] for row in rows] for n in ("premise", "hypothesis", "label")})
        pq.write_table(table, folder / "plain_text" / f"{split}-00000-of-00001.parquet")


def _multi_nli(folder: Path, found: Demo, pairs: int) -> None:
    splits = {"train": "train", "validation_matched": "dev", "validation_mismatched": "test"}
    _card(folder, None, {split: f"data/{split}-*" for split in splits}, label=False)
    (folder / "data").mkdir()
    for split, ours in splits.items():
        first = slice(pairs, 2 * pairs) if split == "train" else slice(100, 200)
        rows = _nli(found, ours, first)
        columns = {name: [f"{name} {n}" for n in range(len(rows))] for name in MULTI_NLI}
        columns |= {
            name: [row[name] for row in rows] for name in ("premise", "hypothesis", "label")
        }
        columns["promptID"] = list(range(len(rows)))
        table = pa.table({name: columns[name] for name in MULTI_NLI})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")


def _stsb(folder: Path, found: Demo) -> None:
    files = {
        "train": "train.jsonl.gz",
        "validation": "validation.jsonl.gz",
        "test": "test.jsonl.gz",
    }
    _card(folder, None, files, label=False)
    for split, name in files.items():
        rows = found.rows("stsb", {"validation": "dev"}.get(split, split))
        lines = [
            json.dumps(
                {
                    "split": split,
                    "genre": "main-captions",
                    "dataset": "MSRvid",
                    "year": "2012test",
                    "sid": str(number),
                    "score": row["score"],
                    "sentence1": row["sentence1"],
                    "sentence2": row["sentence2"],
                }
            )
            for number, row in enumerate(rows)
        ]
        (folder / name).write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))


def _wikipedia(folder: Path, found: Demo) -> None:
    splits = {"train": "train", "validation": "dev", "test": "test"}
    _card(folder, "triplet", {split: f"triplet/{split}-*" for split in splits}, label=False)
    (folder / "triplet").mkdir()
    for split, ours in splits.items():
        rows = found.rows("wikisections", ours)
        if split == "train":
            rows[7] = {**rows[7], "negative": " "}  # upstream has one among 6.7 million texts
        table = pa.table({n: [row[n] for row in rows] for n in ("anchor", "positive", "negative")})
        pq.write_table(table, folder / "triplet" / f"{split}-00000-of-00001.parquet")


def _senteval(folder: Path, found: Demo) -> None:
    members: dict[str, bytes] = {}
    for year, parts in STS_PARTS.items():
        rows = found.rows(f"sts{year}", "test")
        for number, part in enumerate(parts):
            mine = rows[number :: len(parts)]
            start = f"STS/STS{year}-en-test/STS"
            lines = [f"{row['sentence1']}\t{row['sentence2']}" for row in mine]
            gold = [str(row["score"]) for row in mine]
            if year >= 15:
                lines.append("Not scored\tby anybody")
                gold.append("")
            members[f"{start}.input.{part}.txt"] = _lines(lines)
            members[f"{start}.gs.{part}.txt"] = _lines(gold)
    sick = {"train": "SICK_train", "dev": "SICK_trial", "test": "SICK_test_annotated"}
    head = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"
    for split, name in sick.items():
        rows = found.rows("sickr", split)
        lines = [
            f"{n}\t{r['sentence1']}\t{r['sentence2']}\t{r['score']}\t{r['label'].upper()}"
            for n, r in enumerate(rows, start=1)
        ]
        members[f"SICK/{name}.txt"] = _lines([head, *lines])
    for folder_name, (dataset, ones, zeros) in CLASS_FILES.items():
        rows = found.rows(dataset)
        for name, label in ((ones, 1), (zeros, 0)):
            texts = [row["text"] for row in rows if int(row["label"]) == label]
            members[f"{folder_name}/{name}"] = _lines(texts, "latin-1")
    for split in ("train", "dev", "test"):
        lines = [f"{row['text']}\t{row['label']}" for row in found.rows("sst2", split)]
        members[f"SST/binary/sentiment-{split}"] = _lines(lines)
    head = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    for split in ("train", "test"):
        rows = found.rows("mrpc", split)
        lines = [
            f"{r['label']}\t{n}\t{n}\t{r['sentence1']}\t{r['sentence2']}"
            for n, r in enumerate(rows)
        ]
        members[f"MRPC/msr_paraphrase_{split}.txt"] = _lines([head, *lines])
        name = {"train": "TREC/train_5500.label", "test": "TREC/TREC_10.label"}[split]
        lines = [f"{row['fine_label']} {row['text']}" for row in found.rows("trec", split)]
        members[name] = _lines(lines, "latin-1")
    folder.mkdir(parents=True)
    with tarfile.open(folder / "senteval.tar", "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"SentEval/data/downstream/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _lines(lines: Sequence[str], encoding: str = "utf-8") -> bytes:
    return ("\n".join(lines) + "\n").encode(encoding)


def write_afs(folder: Path, demo: Path) -> None:
    """Write the files that a person fetches by hand, as their page has them.

    Args:
        folder: ``<data root>/afs``.
        demo: The demo's data root.
    """
    rows = Demo(demo).rows("bws")
    folder.mkdir(parents=True, exist_ok=True)
    for number, (short, topic) in enumerate(TOPICS.items()):
        head = ",".join(["regression_label", *(f"column {n}" for n in range(8)), "a", "b"])
        lines = [head]
        for row in rows[number::3]:
            cells = [f"{5 * row['score']:.4f}", short, topic, *("x" for _ in range(6))]
            texts = (f"he said d\xe9j\xe0 vu, {row['sentence1']}", row["sentence2"])
            cells += ['"' + text.replace('"', '""') + '"' for text in texts]
            lines.append(",".join(cells))
        lines[3] = lines[3].removesuffix('"') + ' "sic" here"'  # a stray quote, as theirs have
        (folder / f"ArgPairs_{short}.csv").write_bytes(_lines(lines, "iso-8859-1"))


def _word_vectors(sites: Path, demo: Path) -> None:
    """GloVe has no header line and 300 numbers a word, fastText a line with both counts first."""
    texts = {
        row[name]
        for dataset, split, names in (
            ("nli", "train", ("premise", "hypothesis")),
            ("stsb", "train", ("sentence1", "sentence2")),
            ("trec", "train", ("text",)),
        )
        for row in Demo(demo).rows(dataset, split)
        for name in names
    }
    words = sorted({word for text in texts for word in [*text.split(), *text.lower().split()]})
    files = {
        "nlp.stanford.edu/data/glove.6B.zip": ("glove.6B.300d.txt", False, str.lower),
        "nlp.stanford.edu/data/glove.840B.300d.zip": ("glove.840B.300d.txt", False, str),
        "dl.fbaipublicfiles.com/fasttext/vectors-english/crawl-300d-2M.vec.zip": (
            "crawl-300d-2M.vec",
            True,
            str,
        ),
    }
    for seed, (place, (name, header, form)) in enumerate(files.items()):
        mine = list(dict.fromkeys([*map(form, words), "<s>", "</s>", ".", ","]))
        values = np.random.default_rng(seed).normal(size=(len(mine), 300)).round(3)
        lines = [" ".join([w, *map(str, row)]) for w, row in zip(mine, values, strict=True)]
        if header:
            lines.insert(0, f"{len(mine)} 300")
        path = sites / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, _lines(lines))
    copies = sites.parent / "models" / "stanfordnlp" / "glove"
    copies.mkdir(parents=True)
    for file in (sites / "nlp.stanford.edu" / "data").iterdir():
        shutil.copy(file, copies)


def _korean(site: Path, found: Demo) -> None:
    """KorNLI's and KorSTS's columns around the demo's English."""
    folder = site / "kakaobrain" / "kor-nlu-datasets" / KOR_NLU
    for name in ("KorNLI", "KorSTS"):
        (folder / name).mkdir(parents=True)
    for split in ("dev", "test"):
        lines = [
            f"{row['premise']}\t{row['hypothesis']}\t{row['label']}"
            for row in found.rows("nli", split)[:50]
        ]
        head = "sentence1\tsentence2\tgold_label"
        (folder / "KorNLI" / f"xnli.{split}.ko.tsv").write_bytes(_lines([head, *lines]))
    for split in ("train", "dev", "test"):
        lines = [
            f"main\tx\t2012\t{n:04}\t{row['score']}\t{row['sentence1']}\t{row['sentence2']}"
            for n, row in enumerate(found.rows("stsb", split)[:50])
        ]
        head = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2"
        (folder / "KorSTS" / f"sts-{split}.tsv").write_bytes(_lines([head, *lines]))


def _infersent(path: Path, hidden: int = 16) -> None:
    import torch
    from torch import nn

    torch.manual_seed(5)
    lstm = nn.LSTM(300, hidden, 1, bidirectional=True)
    weights = {f"enc_lstm.{name}": value for name, value in lstm.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # The published file is older than torch's zip format.
    torch.save(weights, path, _use_new_zipfile_serialization=False, pickle_module=pickle)


MODELS = {
    "google-bert/bert-base-uncased": (4, 64, 0),
    "google-bert/bert-large-uncased": (8, 64, 1),
    "FacebookAI/roberta-base": (4, 64, 2),
    "FacebookAI/roberta-large": (8, 64, 3),
}
"""Repository → heads, width and seed of its two random layers."""


def write_models(hub: Path, texts: Iterable[str], vocabulary: Iterable[str]) -> None:
    """Write the repositories of the four encoders: real names, two layers of random weights.

    Args:
        hub: The folder that the server serves.
        texts: Sentences from which RoBERTa's byte pairs are learnt.
        vocabulary: BERT's words.
    """
    from sbert_repro.backbone.random_bert import Size, write_random_bert, write_random_roberta

    texts, vocabulary = list(texts), list(vocabulary)
    for name, (heads, width, seed) in MODELS.items():
        folder, size = hub / "models" / name, Size(heads=heads, width=width, seed=seed)
        if "roberta" in name:
            write_random_roberta(folder, texts, size)
        else:
            write_random_bert(folder, vocabulary, size)


def write_universal_sentence_encoder(hub: Path, width: int = 512) -> None:
    """Write a module for TensorFlow 1, packed: the mean of a random row for each word.

    Args:
        hub: The folder that the server serves.
        width: Numbers of a vector.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    tensorflow.get_logger().setLevel("ERROR")
    path = hub / "sites" / "tfhub.dev" / "google" / "universal-sentence-encoder-large" / "3"
    old = tensorflow.compat.v1
    rows = np.random.default_rng(5).standard_normal((500, width)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        builder = old.saved_model.builder.SavedModelBuilder(str(folder))
        with tensorflow.Graph().as_default(), old.Session() as session:
            texts = old.placeholder("string", [None], name="text")
            words = tensorflow.strings.split(texts)
            chosen = tensorflow.strings.to_hash_bucket_fast(words.values, len(rows))
            stored = old.get_variable("weights", initializer=rows)
            sums = tensorflow.math.unsorted_segment_sum(
                tensorflow.gather(stored, chosen), words.value_rowids(), words.nrows()
            )
            lengths = tensorflow.cast(tensorflow.maximum(words.row_lengths(), 1), "float32")
            session.run(old.global_variables_initializer())
            signature = old.saved_model.predict_signature_def(
                {"text": texts}, {"default": sums / lengths[:, None]}
            )
            builder.add_meta_graph_and_variables(
                session, [], signature_def_map={"default": signature}
            )
        builder.save()
        (folder / "assets").mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            for file in sorted(folder.rglob("*")):
                archive.add(file, file.relative_to(folder), recursive=False)
