"""SentEval's bundle becomes our data sets; no bundle is ever asked for here."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from sbert_repro.data.download import download
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset

# File in the bundle → its lines.
BUNDLE = {
    "MR/rt-polarity.pos": b"a gem .\nclich M-CM-) , but good\n",
    "MR/rt-polarity.neg": b"a bore .\n",
    "CR/custrev.pos": b"love it\n\n",
    "CR/custrev.neg": b"hate it\n\n",
    "SUBJ/subj.objective": b"he leaves .\n",
    "SUBJ/subj.subjective": b"it is dull .\n",
    "MPQA/mpqa.pos": b"complaining\n",
    "MPQA/mpqa.neg": b"failing to support\nagainst\n",
    "SST/binary/sentiment-train": b"a gem\t1\nwell-worn clich\xc3\xa9s\t0\n",
    "SST/binary/sentiment-dev": b"fine\t1\n",
    "SST/binary/sentiment-test": b"poor\t0\n",
    "TREC/train_5500.label": b"HUM:ind Who is he ?\nLOC:city Which sister\xf0city ?\n",
    "TREC/TREC_10.label": b"NUM:dist How far  is it ?\n",
    "MRPC/msr_paraphrase_train.txt": (
        b"\xef\xbb\xbfQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        b'1\t7\t8\tHe said "yes .\tHe agreed .\n0\t9\t10\tA .\tB "C" .\n'
    ),
    "MRPC/msr_paraphrase_test.txt": b"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tA\tA\n",
}
# Data set → split → first text column and class ids, in order.
EXPECTED = {
    "mr": {"all": (["a gem .", "clich M-CM-) , but good", "a bore ."], [1, 1, 0])},
    "cr": {"all": (["love it", "", "hate it", ""], [1, 1, 0, 0])},
    "subj": {"all": (["he leaves .", "it is dull ."], [1, 0])},
    "mpqa": {"all": (["complaining", "failing to support", "against"], [1, 0, 0])},
    "sst2": {
        "train": (["a gem", "well-worn clichés"], [1, 0]),
        "dev": (["fine"], [1]),
        "test": (["poor"], [0]),
    },
    "trec": {
        "train": (["Who is he ?", "Which sisterðcity ?"], [3, 4]),
        "test": (["How far  is it ?"], [5]),
    },
    "mrpc": {"train": (['He said "yes .', "A ."], [1, 0]), "test": (["A"], [1])},
}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "senteval.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in BUNDLE.items():
            info = tarfile.TarInfo(f"senteval/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *_, **__: path.as_uri())


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("name", list(EXPECTED))
def test_every_task_comes_out_of_the_bundle_in_its_order(name: str, tmp_path: Path) -> None:
    sizes = {split: len(labels) for split, (_, labels) in EXPECTED[name].items()}
    record = replace(dataset(name), splits=sizes)
    list(download(record, tmp_path / "root"))
    for split, (texts, labels) in EXPECTED[name].items():
        examples = read(record, tmp_path / "root", split)
        assert list(examples.texts[record.text_columns[0]]) == texts
        assert examples.target is not None
        assert examples.target.tolist() == labels
