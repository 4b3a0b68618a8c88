"""SentEval's classifiers and protocols: what trains, what chooses, what tests, and to what end."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from sbert_repro.benchmarks.senteval import PlainClassifier
from sbert_repro.errors import UserError
from sbert_repro.evaluation.logistic import (
    BatchedClassifier,
    Fold,
    SklearnClassifier,
    train_and_test,
)
from sbert_repro.evaluation.tasks import TASKS
from sbert_repro.evaluation.transfer import PROTOCOLS, load

FEATURES = np.zeros((200, 2), np.float32)
LABELS = np.array([1] * 120 + [0] * 80)


class Recorder:
    """A kind of classifier whose accuracies are made up; writes down what it is asked."""

    kfold, seed, identity = 10, 1111, {}

    def __init__(self, accuracy):
        self.accuracy_of = accuracy
        self.calls = []
        self.tested = []

    def strengths(self, protocol):
        return 0.1, 0.2, 0.3

    def on(self, features, labels):
        return self

    def whole(self, rows):
        return Fold(rows, rows[:0], drawn=len(rows))

    def fit(self, folds, strengths):
        self.calls.append((folds, strengths))
        self.dev_accuracy = np.array(
            [[self.accuracy_of(f, s) for s in row] for f, row in enumerate(strengths)]
        )
        return self

    def correct(self, rows):
        self.tested.append(rows)
        strengths = self.dev_accuracy.shape[1]
        tenths = [np.arange(10) < fold for fold in range(len(rows))]
        return [np.tile(right, (strengths, 1)) for right in tenths]


def test_nested_never_tests_what_it_learns_or_chooses_from():
    recorder = Recorder(lambda fold, strength: strength)
    tested = train_and_test("nested", recorder, FEATURES, LABELS, [np.arange(200)])
    (inner, grid), (final, chosen) = recorder.calls
    assert (len(inner), grid.shape) == (100, (100, 3))
    assert (len(final), chosen.shape) == (10, (10, 1))
    outer = list(StratifiedKFold(10, shuffle=True, random_state=1111).split(LABELS, LABELS))
    for number, (kept, out) in enumerate(outer):
        np.testing.assert_array_equal(final[number].train, kept)
        np.testing.assert_array_equal(recorder.tested[0][number], out)
        for fold in inner[10 * number : 10 * number + 10]:
            assert not set(out) & {*fold.train, *fold.dev}
            assert sorted([*fold.train, *fold.dev]) == kept.tolist()
            assert LABELS[fold.dev].mean() == pytest.approx(0.6, abs=0.05)
    assert tested.strengths == [0.3] * 10
    assert (tested.accuracy, tested.dev) == (pytest.approx(0.45), pytest.approx(0.3))


def test_nested_in_part():
    recorder = Recorder(lambda fold, strength: strength)
    tested = train_and_test("nested", recorder, FEATURES, LABELS, [np.arange(200)], first=2)
    assert (len(recorder.calls[0][0]), tested.accuracies) == (20, [0.0, 0.1])


def test_cross_chooses_on_the_training_set_and_tests_on_the_test_set():
    recorder = Recorder(lambda fold, strength: 0.5 + 0.001 * (fold % 2))
    tested = train_and_test(
        "cross", recorder, FEATURES, LABELS, [np.arange(150), np.arange(150, 200)]
    )
    (inner, _), (final, chosen) = recorder.calls
    assert len(inner) == 10 and all(fold.train.max() < 150 for fold in inner)
    np.testing.assert_array_equal(final[0].train, np.arange(150))
    np.testing.assert_array_equal(recorder.tested[0][0], np.arange(150, 200))
    # All equally good: the first.
    assert chosen.tolist() == [[0.1]] and tested.dev == pytest.approx(0.5005)


def test_fixed_chooses_on_dev_and_trains_nothing_again():
    recorder = Recorder(lambda fold, strength: {0.1: 0.8, 0.2: 0.9, 0.3: 0.90004}[strength])
    parts = [np.arange(100), np.arange(100, 150), np.arange(150, 200)]
    tested = train_and_test("fixed", recorder, FEATURES, LABELS, parts)
    ((folds, _),) = recorder.calls
    np.testing.assert_array_equal(folds[0].train, parts[0])
    np.testing.assert_array_equal(folds[0].dev, parts[1])
    np.testing.assert_array_equal(recorder.tested[0][0], parts[2])
    # 90.00 and 90.004 are equal to two digits, so the first of them.
    assert tested.strengths == [0.2]


def test_another_seed_cuts_other_folds():
    recorder, other = Recorder(lambda *_: 0.5), Recorder(lambda *_: 0.5)
    other.seed = 7
    for kind in (recorder, other):
        train_and_test("nested", kind, FEATURES, LABELS, [np.arange(200)])
    assert recorder.tested[0][0].tolist() != other.tested[0][0].tolist()


def test_fewer_rows_than_folds_are_refused_and_a_rare_class_is_not():
    parts = [np.arange(112, 128), np.arange(10)]
    with pytest.raises(UserError, match=r"kfold=10: needs .* the largest has 8 of 16"):
        train_and_test("cross", Recorder(lambda *_: 0.5), FEATURES, LABELS, parts)
    train_and_test(
        "cross", Recorder(lambda *_: 0.5), FEATURES, LABELS, [np.arange(122), np.arange(10)]
    )


OPTIONS = BatchedClassifier(kfold=3, max_epoch=60)


def blobs(rows=330, width=12, classes=3, seed=0):
    """Classes that overlap, so that accuracies differ from one evaluation to the next.

    In double precision: in single, rounding can put a text on the other side of the border, and
    then another evaluation is the best.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    centres = random.normal(size=(classes, width))
    return centres[labels] + 2.5 * random.normal(size=(rows, width)), labels


def loop(options):
    return PlainClassifier(**asdict(options))


def folds_of(count, rows, seed=1):
    """Folds of any sizes: around a multiple of the batch, and of another number of steps."""
    random = np.random.default_rng(seed)
    sizes = (129, 128, 127, 128, 65, 64)
    orders = [random.permutation(rows) for _ in range(count)]
    return [Fold(o[:n], o[n : n + 60 + n % 7]) for o, n in zip(orders, sizes, strict=False)]


@pytest.mark.parametrize("classes", [2, 3])
def test_each_classifier_is_that_of_a_loop(classes):
    features, labels = blobs(classes=classes)
    folds = folds_of(6, len(labels))
    strengths = np.random.default_rng(2).choice([0.0, 1e-5, 1e-2, 1e-1], (6, 3))
    ours = OPTIONS.on(features, labels).fit(folds, strengths)
    theirs = loop(OPTIONS).on(features, labels).fit(folds, strengths)
    torch.testing.assert_close(ours.weights, theirs.weights, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(ours.dev_accuracy, theirs.dev_accuracy)
    # Problems that stop early and late were among them.
    assert len(np.unique(ours.dev_accuracy)) > 6


@pytest.mark.parametrize(
    ("protocol", "cuts"), [("nested", []), ("cross", [250]), ("fixed", [200, 260])]
)
def test_a_protocol_comes_to_the_same_end(protocol, cuts):
    features, labels = blobs()
    parts = np.split(np.arange(len(labels)), cuts)
    ours = train_and_test(protocol, OPTIONS, features, labels, parts)
    theirs = train_and_test(protocol, loop(OPTIONS), features, labels, parts)
    assert ours == theirs
    assert ours == train_and_test(protocol, OPTIONS, features, labels, parts)
    assert ours != train_and_test(protocol, replace(OPTIONS, seed=2), features, labels, parts)


@pytest.fixture(scope="module")
def averaged(data_root, tmp_path_factory):
    """Vectors that cost nothing: averaged words."""
    from sbert_repro.encoders.word_average import WordAverageEncoder

    path = data_root / "word_vectors" / "glove10k.100d.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    cache = tmp_path_factory.mktemp("cache")
    return WordAverageEncoder(str(path), tokenisation="senteval", cache=str(cache), progress=False)


def test_a_real_task_comes_to_the_same_accuracy(data_root, averaged):
    name = "trec"
    task = TASKS[name]
    if not (data_root / name).is_dir():
        pytest.skip(f"no {name} in {data_root}: make data, or what it says to fetch by hand")
    data = load(task, data_root)
    features = data.features(averaged.encode(data.sentences))
    options = BatchedClassifier(kfold=3, max_epoch=8, tenacity=2)
    ours, theirs = (
        train_and_test(PROTOCOLS[task.splits], kind, features, data.labels, data.parts)
        for kind in (options, loop(options))
    )
    # Rounding differs, so a text on the border may; a choice between equal strengths too.
    assert abs(100 * ours.accuracy - 100 * theirs.accuracy) < 0.5
    assert abs(100 * ours.dev - 100 * theirs.dev) < 0.1
    assert ours.accuracy > 0.60


def test_a_problem_does_not_feel_its_neighbours():
    features, labels = blobs()
    folds = folds_of(4, len(labels))
    strengths = np.tile([1e-5, 1e-1], (4, 1))
    together = OPTIONS.on(features, labels).fit(folds, strengths)
    alone = OPTIONS.on(features, labels).fit(folds[2:3], strengths[2:3, 1:])
    torch.testing.assert_close(together.weights[2, 1], alone.weights[0, 0], rtol=1e-9, atol=1e-9)


def test_the_number_of_threads_changes_nothing_and_is_left_as_it_was():
    features, labels = blobs(width=900)
    folds, strengths = folds_of(6, len(labels)), np.tile([1e-5, 1e-1], (6, 1))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(OPTIONS.on(features, labels).fit(folds, strengths).weights)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_wide_features_go_in_groups_of_bounded_size():
    features, labels = blobs(rows=200, width=4096, classes=2)
    trainer = OPTIONS.on(features, labels)
    folds = [Fold(np.arange(100), np.arange(100, 200))] * 7
    groups = trainer._groups(folds, 4)
    assert sorted(np.concatenate(groups).tolist()) == list(range(7))
    # weights, best weights, gradient, two moments, a batch: 1.7 MB a fold
    assert max(map(len, groups)) == 1


def test_rows_held_out_are_five_percent_and_not_trained_on():
    features, labels = blobs()
    rows = np.arange(40, 300)
    fold = OPTIONS.on(features, labels).whole(rows)
    assert (len(fold.dev), fold.drawn) == (13, 260)
    assert sorted([*fold.train, *fold.dev]) == rows.tolist()
    assert len(OPTIONS.on(features, labels).whole(np.arange(7)).dev) == 1


def test_the_first_weights_are_those_of_a_linear_layer():
    features, labels = blobs()
    torch.manual_seed(OPTIONS.seed)
    layer = torch.nn.Linear(12, 3)
    start = OPTIONS.on(features, labels).start
    expected = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
    torch.testing.assert_close(start.float(), expected)


def test_the_end_is_the_look_after_tenacity_failures_in_all():
    # Labels by chance: the watched rows get better and worse, so failures do not come in a row.
    random = np.random.default_rng(5)
    features = random.normal(size=(200, 4))
    labels = random.integers(0, 2, 200)
    fold = Fold(np.arange(100), np.arange(100, 200))
    for tenacity in (0, 1, 5):
        options = replace(OPTIONS, tenacity=tenacity, max_epoch=200)
        ours, theirs = (
            kind.on(features, labels).fit([fold], np.array([[1e-4]]))
            for kind in (options, loop(options))
        )
        torch.testing.assert_close(ours.weights, theirs.weights, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    features, labels = blobs()
    parts = [np.arange(len(labels))]
    cpu, gpu = (
        train_and_test("nested", replace(OPTIONS, device=device), features, labels, parts)
        for device in ("cpu", "cuda")
    )
    assert abs(cpu.accuracy - gpu.accuracy) < 0.01


def test_the_device_is_no_part_of_the_number():
    assert replace(OPTIONS, device="cpu").identity == OPTIONS.identity
    assert replace(OPTIONS, tenacity=1).identity != OPTIONS.identity


RANDOM = np.random.default_rng(3)
CLASSES = RANDOM.integers(0, 3, 300)
CLOUDS = (np.eye(3)[CLASSES] @ RANDOM.normal(size=(3, 8)) * 0.7).astype(np.float32)
CLOUDS += RANDOM.normal(size=CLOUDS.shape).astype(np.float32)


def test_each_classifier_is_scikit_learns():
    trainer = SklearnClassifier().on(CLOUDS, CLASSES)
    folds = [Fold(np.arange(200), np.arange(200, 250)), trainer.whole(np.arange(250))]
    assert folds[1].train.tolist() == list(range(250)) and not len(folds[1].dev)
    models = trainer.fit(folds[:1], np.array([[0.25, 8.0]]))
    test = np.arange(250, 300)
    for place, strength in enumerate((0.25, 8.0)):
        alone = LogisticRegression(C=strength).fit(CLOUDS[:200], CLASSES[:200])
        assert models.dev_accuracy[0, place] == alone.score(CLOUDS[200:250], CLASSES[200:250])
        assert models.correct([test])[0][place].mean() == alone.score(CLOUDS[test], CLASSES[test])
    assert np.isnan(trainer.fit(folds[1:], np.array([[1.0]])).dev_accuracy).all()


def test_strengths_are_sentevals():
    kind = SklearnClassifier()
    assert kind.strengths("nested") == kind.strengths("fixed") == (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    assert kind.strengths("cross") == (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def test_both_kinds_agree_within_the_noise():
    parts = [np.arange(300)]
    ours, theirs = (
        train_and_test("nested", kind, CLOUDS, CLASSES, parts)
        for kind in (
            BatchedClassifier(kfold=5, tenacity=50, learning_rate=0.01),
            SklearnClassifier(kfold=5),
        )
    )
    # 300 texts: the standard error of an accuracy is about 3 points.
    assert abs(ours.accuracy - theirs.accuracy) < 0.06
    assert SklearnClassifier().identity != BatchedClassifier().identity
