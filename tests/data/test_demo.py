"""The demo's data root: laid out like a real one, always the same, labelled by meaning."""

import hashlib
import json
from itertools import islice
from multiprocessing import get_context

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from sbert_repro.data import demo
from sbert_repro.data.demo_language.grammar import Scene, contradicts, entails, relation, similarity
from sbert_repro.data.demo_language.pairs import LABELS, Author, nli
from sbert_repro.data.demo_language.scenes import deny, draw, general, omit, oppose, other
from sbert_repro.data.demo_language.speech import Dice, say
from sbert_repro.data.demo_language.words import ACTIONS, CONCEPTS, KINDS, inflected, vocabulary
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset, names
from sbert_repro.errors import UserError

PINNED = "6f6f2e9c566b7aff96622b7d507fb84bbc8c7d6b2ea3550f937a527b33868037"
DOG = Scene("dog", "push", "ball", "big", "street")


@pytest.fixture(scope="module")
def tables():
    return {name: (columns, rows) for name, columns, rows in demo.tables()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data"
    assert demo.write_demo(folder)
    return folder


def columns_of(table, *wanted):
    columns, rows = table
    return [[row[columns.index(name)] for row in rows] for name in wanted]


def test_texts_are_the_same_on_every_machine(tables):
    lines = (json.dumps([name, *row]) for name, (_, rows) in tables.items() for row in rows)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == PINNED, "other sentences: raise demo.VERSION, then pin this"


def test_files_have_the_columns_and_types_of_real_ones(root, data_root):
    made = {str(p.relative_to(root)) for p in root.rglob("*.parquet")}
    shared = {f for f in made if (data_root / f).exists()}
    assert made - shared == {f"wikisections/{s}.parquet" for s in ("train", "dev", "test")}
    for file in shared:
        ours, theirs = pq.read_schema(root / file), pq.read_schema(data_root / file)
        assert (ours.names, ours.types) == (theirs.names, theirs.types), file


@pytest.mark.parametrize("name", ["nli", "stsb", "sickr", *(f"sts1{n}" for n in range(2, 7))])
def test_readers_take_them_for_real_ones(root, name):
    record = dataset(name)
    for split in record.splits:
        found = read(record, root, split, allow_partial=True)
        assert 100 <= len(found) < record.splits[split] and found.target is not None


def test_every_data_set_of_the_tables_is_there(root):
    wanted = {"nli", "stsb", "sickr", *(f"sts1{n}" for n in range(2, 7)), "mr", "cr", "subj"}
    wanted |= {"mpqa", "sst2", "trec", "mrpc", "bws", "wikisections", "word_vectors"}
    assert {p.name for p in root.iterdir() if p.is_dir()} == wanted
    assert not set(names()) & {"demo", "made"}


def test_manifest_says_that_it_is_synthetic(root):
    manifest = json.loads((root / "MANIFEST.json").read_text())
    assert manifest["synthetic"] is True and manifest["version"] == demo.VERSION
    for entry in manifest["files"]:
        file = root / entry["file"]
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        if file.suffix == ".parquet":
            assert entry["rows"] == pq.read_metadata(file).num_rows
            assert entry["columns"] == pq.read_schema(file).names
    assert len(manifest["files"]) == sum(p.is_file() for p in root.rglob("*")) - 1


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
        one, other_one, scores = columns_of(tables[name], "sentence1", "sentence2", "score")
        low, high = (1, 5) if name.startswith("sickr") else (0, 5)
        assert low <= min(scores) < low + 0.5 and max(scores) == high
        words = [[set(text.lower().split()) for text in texts] for texts in (one, other_one)]
        overlap = [len(a & b) / len(a | b) for a, b in zip(*words, strict=True)]
        assert spearmanr(overlap, scores).statistic < 0.5


def test_labels_are_balanced_and_not_given_away_by_length(tables):
    labels, hypotheses = columns_of(tables["nli/train"], "label", "hypothesis")
    assert min(labels.count(label) for label in LABELS) > 0.3 * len(labels)
    length = np.array([len(hypothesis.split()) for hypothesis in hypotheses])
    means = [length[np.array(labels) == label].mean() for label in LABELS]
    assert max(means) - min(means) < 1.0


def test_a_root_that_is_there_is_left_alone(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert not demo.write_demo(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_another_version_or_a_lost_file_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "tables", lambda: [("sts12/test", ("score",), [(1.0,)])])
    folder = tmp_path / "data"
    assert demo.write_demo(folder)
    (folder / "sts12" / "test.parquet").unlink()
    assert demo.write_demo(folder) and (folder / "sts12" / "test.parquet").exists()
    monkeypatch.setattr(demo, "VERSION", demo.VERSION + 1)
    assert demo.write_demo(folder)
    assert json.loads((folder / "MANIFEST.json").read_text())["version"] == demo.VERSION


def test_an_interrupted_write_leaves_nothing_and_the_next_one_succeeds(tmp_path, monkeypatch):
    whole = demo.tables

    def broken():
        yield next(iter(whole()))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "tables", broken)
    with pytest.raises(KeyboardInterrupt):
        demo.write_demo(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(demo, "tables", lambda: islice(whole(), 2))
    assert demo.write_demo(tmp_path / "data")
    assert {p.name for p in tmp_path.iterdir()} == {"data", ".data.lock"}


@pytest.mark.parametrize("content", ["real.parquet", "MANIFEST.json"])
def test_files_of_somebody_else_are_never_touched(tmp_path, content):
    (tmp_path / content).write_text("[]")
    with pytest.raises(UserError, match=r"did not make.*paths.data") as caught:
        demo.write_demo(tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / content).read_text() == "[]"


def test_two_processes_at_once_write_one_root(tmp_path):
    with get_context("spawn").Pool(2) as pool:
        made = pool.map(demo.write_demo, [tmp_path / "data"] * 2)
    assert sorted(made) == [False, True]
    for entry in json.loads((tmp_path / "data" / "MANIFEST.json").read_text())["files"]:
        file = tmp_path / "data" / entry["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]


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
    assert {w for c in ACTIONS for w in inflected(c.name)} >= {
        "pushes",
        "pushing",
        "loves",
        "loved",
    }


def test_vocabulary_is_enough_for_every_pair(tables):
    known = set(vocabulary())
    verbs = {form for c in ACTIONS for verb in c.words for form in (verb, *inflected(verb))}
    for columns, rows in tables.values():
        if columns[-1] in ("score", "source", "negative"):
            texts = [t for row in rows for t in row if isinstance(t, str) and " " in t]
            spoken = {word for text in texts for word in text.lower().split()}
            assert not spoken - known - verbs - {"care", "trade"}


def test_an_author_never_repeats_a_sentence():
    said: set[str] = set()
    rows = list(islice(nli(Author(Dice(3, "test"), said)), 50))
    assert len(said) == 100 == len({text for row in rows for text in row[:2]})
    scene = draw(Dice(4, "test"))
    again = Author(Dice(5, "test"), {say(scene, Dice(5, "test"))})
    assert again.say(scene) is None
