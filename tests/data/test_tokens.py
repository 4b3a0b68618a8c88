"""The cache of word pieces: the same rows, made once, whoever else is making them."""

from __future__ import annotations

import logging
import multiprocessing
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sbert_repro.data import tokens
from sbert_repro.data.read import Split
from sbert_repro.data.tokens import cache_key, tokenise
from sbert_repro.data.word_pieces import WordPieces
from sbert_repro.errors import UserError

# Forked, because importing the libraries once more would take longer than the tests.
FORK = multiprocessing.get_context("fork")
TEXTS = {
    "premise": ["a dog runs", "", "two men play guitar outside in the park"],
    "hypothesis": ["a cat runs", "a man sings", "nobody eats"],
}


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture
def split() -> Split:
    return Split("train", TEXTS, np.array([0, 1, 2]), None, [], "f" * 64, 3, 3)


def test_rows_are_the_word_pieces(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    columns = tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    assert list(columns) == list(TEXTS)
    for name, texts in TEXTS.items():
        assert len(columns[name]) == 3
        expected = WordPieces(tokenizer, 5)(texts)
        for i, row in enumerate(expected):
            assert columns[name].row(i).tolist() == row.tolist()
    assert isinstance(columns["premise"].ids, np.memmap)
    assert columns["premise"].ids.dtype == np.int32
    assert (columns["premise"].truncated, columns["premise"].empty) == (1, 1)
    assert (columns["hypothesis"].truncated, columns["hypothesis"].empty) == (0, 0)


def test_chunks_do_not_show(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenise(TEXTS, tokenizer, 5, tmp_path, "whole")
    monkeypatch.setattr(tokens, "_CHUNK", 2)
    parts = tokenise(TEXTS, tokenizer, 5, tmp_path, "parts")
    for name in TEXTS:
        assert parts[name].ids.tolist() == whole[name].ids.tolist()
        assert parts[name].offsets.tolist() == whole[name].offsets.tolist()


def test_what_was_cut_is_said_in_every_run(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
        assert caplog.messages == ["1 texts cut to 5 word pieces, 1 empty"]


def test_it_is_made_once(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    monkeypatch.setattr(tokens, "WordPieces", None)
    second = tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    assert first["premise"].ids.tolist() == second["premise"].ids.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_key_is_of_everything_that_changes_the_rows(
    tokenizer: PreTrainedTokenizerBase, split: Split, tiny_roberta: Path
) -> None:
    keys = [
        cache_key(split, None, tokenizer, 128),
        cache_key(split, 3, tokenizer, 128),
        cache_key(split, None, tokenizer, 64),
        cache_key(replace(split, sha256="e" * 64), None, tokenizer, 128),
        cache_key(replace(split, name="dev"), None, tokenizer, 128),
        cache_key(replace(split, texts={k: v[:2] for k, v in TEXTS.items()}), None, tokenizer, 128),
        cache_key(split, None, AutoTokenizer.from_pretrained(tiny_roberta), 128),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key(replace(split, target=None), None, tokenizer, 128) == keys[0]


def test_a_failed_attempt_leaves_nothing(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens.AppendedArray, "append", full)
    with pytest.raises(UserError, match="no space left"):
        tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_throws_its_own_away(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = tokens._write

    def overtaken(folder: Path, *rest: object) -> None:
        write(folder, *rest)
        if not (tmp_path / "key").exists():
            monkeypatch.setattr(tokens, "_write", write)
            tokenise(TEXTS, tokenizer, 5, tmp_path, "key")

    monkeypatch.setattr(tokens, "_write", overtaken)
    columns = tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    assert len(columns["hypothesis"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_two_processes_at_once(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    texts = {"a": ["a dog runs " + "quickly " * (i % 9) for i in range(5_000)]}
    together, answers = FORK.Barrier(2), FORK.SimpleQueue()

    def race() -> None:
        together.wait()
        column = tokenise(texts, tokenizer, 6, tmp_path, "key")["a"]
        answers.put((len(column), int(column.ids.sum())))

    racers = [FORK.Process(target=race) for _ in range(2)]
    for racer in racers:
        racer.start()
    found = [answers.get() for _ in racers]
    assert found[0][0] == 5_000
    assert found[0] == found[1]
    for racer in racers:
        racer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("name", ["premise.ids.npy", "premise.offsets.npy", "premise.json"])
def test_a_damaged_cache_is_named(
    name: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    file = tmp_path / "key" / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"key: delete it|key are not those of 3 texts"):
        tokenise(TEXTS, tokenizer, 5, tmp_path, "key")


def test_other_texts_under_the_same_key(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenise(TEXTS, tokenizer, 5, tmp_path, "key")
    with pytest.raises(UserError, match="are not those of 2 texts"):
        tokenise({"premise": ["a", "b"]}, tokenizer, 5, tmp_path, "key")


class Asked(Sequence[str]):
    """Texts that exist only while they are asked for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, part):
        return ["nobody eats outside . " * 16 for _ in range(*part.indices(self.rows))]


def test_memory_does_not_grow_with_the_rows(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_CHUNK", 256)
    peaks = FORK.SimpleQueue()

    def measure() -> None:
        for rows in (1_024, 13_312):
            tokenise({"a": Asked(rows)}, tokenizer, 64, tmp_path, f"{rows}")
            peaks.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    child = FORK.Process(target=measure)
    child.start()
    few, many = peaks.get(), peaks.get()
    child.join()
    # 12,288 more rows of 66 word pieces are 3.2 MB on disk, and more in any form in memory.
    assert many - few < 2, f"{many - few:.1f} MiB more"
