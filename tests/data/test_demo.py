"""The demo's data root: laid out like a real one, always the same, labelled by meaning."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from sbert_repro.data import demo
from sbert_repro.data.demo import LABELS, Author, nli
from sbert_repro.data.demo_language import (
    ACTIONS,
    CONCEPTS,
    KINDS,
    Dice,
    Scene,
    contradicts,
    deny,
    draw,
    entails,
    general,
    inflected,
    omit,
    oppose,
    other,
    relation,
    say,
    similarity,
    vocabulary,
    word_vector_lines,
    word_vectors,
)
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.data.word_vectors import find, load
from sbert_repro.encoders.word_average import WordAverageEncoder
from sbert_repro.evaluation.evaluate import evaluate

TEXTS_SHA256 = "6f6f2e9c566b7aff96622b7d507fb84bbc8c7d6b2ea3550f937a527b33868037"
VECTORS_SHA256 = "9c148bba710ae6b21bb78d6f2be4ba463b77c24ac54d7b32569f3b4944bbc051"
DOG = Scene("dog", "push", "ball", "big", "street")


@pytest.fixture(scope="module")
def tables():
    return {name: (columns, rows) for name, columns, rows in demo.tables()}


@pytest.fixture(scope="module")
def root(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("demo") / "data"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo, "tables", lambda: [(n, c, r) for n, (c, r) in tables.items()])
        assert demo.write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def vectors():
    return word_vectors(24, 1)


def columns_of(table, *wanted):
    columns, rows = table
    return [[row[columns.index(name)] for row in rows] for name in wanted]


def test_texts_and_vectors_are_the_same_on_every_machine(tables, vectors):
    lines = (json.dumps([name, *row]) for name, (_, rows) in tables.items() for row in rows)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == TEXTS_SHA256, "other sentences: raise demo.VERSION, then change this"
    text = "\n".join(word_vector_lines(vectors, header=True))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == VECTORS_SHA256, "other vectors: raise demo.VERSION, then change this"


def test_files_have_the_columns_and_types_of_real_ones(root, data_root):
    written = {str(p.relative_to(root)) for p in root.rglob("*.parquet")}
    shared = {file for file in written if (data_root / file).exists()}
    assert written - shared == {f"wikisections/{s}.parquet" for s in ("train", "dev", "test")}
    for file in shared:
        ours, theirs = pq.read_schema(root / file), pq.read_schema(data_root / file)
        assert (ours.names, ours.types) == (theirs.names, theirs.types), file


def test_every_data_set_of_the_tables_is_there_and_its_reader_takes_it(root):
    wanted = {"nli", "stsb", "sickr", *(f"sts1{n}" for n in range(2, 7)), "mr", "cr", "subj"}
    wanted |= {"mpqa", "sst2", "trec", "mrpc", "bws", "wikisections"}
    assert {p.name for p in root.iterdir() if p.is_dir()} == wanted | {"word_vectors"}
    for name in wanted:
        record = dataset(name)
        for split in record.splits:
            found = read(record, root, split, allow_partial=True)
            assert 100 <= len(found) < record.splits[split]


def test_manifest_says_that_it_is_synthetic_and_a_second_call_writes_nothing(root):
    manifest = json.loads((root / "MANIFEST.json").read_text())
    assert manifest["synthetic"] is True and manifest["version"] == demo.VERSION
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    for entry in manifest["files"]:
        file = root / entry["file"]
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        if file.suffix == ".parquet":
            assert entry["rows"] == pq.read_metadata(file).num_rows
            assert entry["columns"] == pq.read_schema(file).names
    assert len(manifest["files"]) == sum(p.is_file() for p in root.rglob("*")) - 1
    assert not demo.write_demo(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_another_version_is_written_anew_by_one_of_two_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "tables", lambda: [("sts12/test", ("score",), [(1.0,)])])
    for version in (1, 2):
        monkeypatch.setattr(demo, "VERSION", version)
        with ThreadPoolExecutor() as pool:
            written = list(pool.map(demo.write_demo, [tmp_path / "data"] * 2))
        assert sorted(written) == [False, True]
    assert json.loads((tmp_path / "data" / "MANIFEST.json").read_text())["version"] == 2
    assert {p.name for p in tmp_path.iterdir()} == {"data", ".data.lock"}


def test_no_sentence_of_a_pair_stands_in_two_places(tables):
    texts = ("premise", "hypothesis", "sentence1", "sentence2", "anchor", "positive", "negative")
    found = [
        text
        for columns, rows in tables.values()
        for name in set(columns) & set(texts)
        for text in (row[columns.index(name)] for row in rows)
    ]
    assert len(found) == len(set(found)) > 10_000


def test_scores_use_their_whole_range_and_shared_words_do_not_give_them(tables):
    for name in ("stsb/dev", "sts12/test", "sickr/test"):
        first, second, scores = columns_of(tables[name], "sentence1", "sentence2", "score")
        low, high = (1, 5) if name.startswith("sickr") else (0, 5)
        assert low <= min(scores) < low + 0.5 and max(scores) == high
        words = [[set(text.lower().split()) for text in texts] for texts in (first, second)]
        overlap = [len(a & b) / len(a | b) for a, b in zip(*words, strict=True)]
        assert spearmanr(overlap, scores).statistic < 0.5


def test_labels_are_balanced_and_not_given_away_by_length(tables):
    labels, hypotheses = columns_of(tables["nli/train"], "label", "hypothesis")
    assert min(labels.count(label) for label in LABELS) > 0.3 * len(labels)
    length = np.array([len(hypothesis.split()) for hypothesis in hypotheses])
    means = [length[np.array(labels) == label].mean() for label in LABELS]
    assert max(means) - min(means) < 1.0


def test_meaning_of_one_change():
    dice = Dice(1, "test")
    assert similarity(DOG, DOG) == 5.0 and relation(DOG, DOG) == "entailment"
    assert relation(DOG, general(DOG, dice)) == "entailment"
    assert relation(general(DOG, dice), DOG) == "neutral"
    assert relation(DOG, omit(DOG, dice)) == "entailment"
    assert relation(omit(DOG, dice), DOG) == "neutral"
    for change in (deny, oppose):
        assert relation(DOG, change(DOG, dice)) == "contradiction"
        assert similarity(DOG, change(DOG, dice)) < 2.0
    assert relation(DOG, other(DOG, dice)) == "neutral"
    assert 2.0 < similarity(DOG, other(DOG, dice)) < similarity(DOG, general(DOG, dice)) < 5.0


def test_denied_scenes():
    no = deny(DOG, Dice(1, "test"))
    assert entails(no, no) and not entails(no, DOG.put({"agent": "animal"}))
    # That no big dog pushes the ball does not deny that some dog does.
    assert not contradicts(no, DOG.put({"quality": ""}))
    assert contradicts(no, DOG) and contradicts(DOG.put({"agent": "dog"}), no)
    # An animal that does not push it says nothing on dogs; a dog that does denies it of animals.
    assert contradicts(DOG, Scene("animal", "push", "ball", negated=True))


def test_relation_and_similarity_agree_on_many_scenes():
    dice = Dice(2, "test")
    for _ in range(500):
        one, two = draw(dice), draw(dice)
        assert similarity(one, two) == similarity(two, one) <= 5.0
        assert (similarity(one, two) == 5.0) == (one == two)
        assert not (entails(one, two) and contradicts(one, two))


def test_words_are_unambiguous_and_opposites_mutual():
    words = [w for c in CONCEPTS.values() for w in c.words] + [w for k in KINDS.values() for w in k]
    assert len(words) == len(set(words))
    for concept in CONCEPTS.values():
        if concept.opposite:
            assert CONCEPTS[concept.opposite].opposite == concept.name
    assert inflected("push") == ("pushes", "pushing", "pushed")
    assert inflected("love") == ("loves", "loving", "loved")


def test_vocabulary_is_enough_for_every_pair(tables):
    known = set(vocabulary())
    verbs = {form for c in ACTIONS for verb in c.words for form in (verb, *inflected(verb))}
    for columns, rows in tables.values():
        if columns[-1] in ("score", "source", "negative"):
            texts = [t for row in rows for t in row if isinstance(t, str) and " " in t]
            spoken = {word for text in texts for word in text.lower().split()}
            assert not spoken - known - verbs - {"care", "trade"}


def test_an_author_never_repeats_a_sentence():
    rows = list(islice(nli(Author(Dice(3, "test"), set())), 50))
    assert len({text for row in rows for text in row[:2]}) == 100
    scene = draw(Dice(4, "test"))
    assert Author(Dice(5, "test"), {say(scene, Dice(5, "test"))}).say(scene) is None


def likeness(one, other) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_meaning_lies_in_word_vectors_as_in_real_ones(vectors):
    assert {"pushes", "loved", "mending", "##s"} & set(vectors) == {"pushes", "loved", "mending"}
    names = list(CONCEPTS)
    pairs = {
        "one concept": [c.words[:2] for c in CONCEPTS.values()],
        "opposites": [(c.name, c.opposite) for c in CONCEPTS.values() if c.opposite],
        "any two": [(a, b) for a in names for b in names if a < b],
    }
    found = {
        what: np.mean([likeness(vectors[a], vectors[b]) for a, b in some])
        for what, some in pairs.items()
    }
    assert found["one concept"] > 0.8 and found["opposites"] > 0.5 and found["any two"] < 0.3


def test_both_vector_files_are_read_and_averaging_them_says_something(root, tmp_path):
    for name, width in (("demo-glove.txt", 24), ("demo-fasttext.vec", 32)):
        found = load(find(name, [root / "word_vectors"]), tmp_path)
        assert found.values.shape[1] == width and found.facts == []
        whole = {word for word in vocabulary() if not word.startswith("##")}
        assert {w for w in whole - set(found.index) if f"{w}e" not in found.index} == set()
    encoder = WordAverageEncoder("demo-glove.txt", data_root=str(root), cache=str(tmp_path))
    scores = evaluate(encoder, "stsb,bws", root, allow_partial=True)
    assert scores["stsb"]["spearman"] > 30
