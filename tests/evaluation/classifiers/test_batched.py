"""All classifiers at once are the classifiers that a loop trains one by one."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from sbert_repro.evaluation.benchmarks.plain_loop import PlainClassifier
from sbert_repro.evaluation.classifiers.batched import BatchedClassifier
from sbert_repro.evaluation.classifiers.fold import Fold
from sbert_repro.evaluation.classifiers.protocols import run
from sbert_repro.evaluation.tasks import TASKS
from sbert_repro.evaluation.transfer import PROTOCOLS, load

OPTIONS = BatchedClassifier(kfold=3, max_epoch=60)


def blobs(rows=330, width=12, classes=3, seed=0):
    """Classes that overlap, so that accuracies differ from look to look.

    In double precision: in single, rounding can put a text on the other side of the border, and
    then another look is the best.
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
    np.testing.assert_array_equal(ours.watched, theirs.watched)
    # Problems that stop early and late were among them.
    assert len(np.unique(ours.watched)) > 6


@pytest.mark.parametrize(
    ("protocol", "cuts"), [("nested", []), ("cross", [250]), ("fixed", [200, 260])]
)
def test_a_protocol_comes_to_the_same_end(protocol, cuts):
    features, labels = blobs()
    parts = np.split(np.arange(len(labels)), cuts)
    ours = run(protocol, OPTIONS, features, labels, parts)
    theirs = run(protocol, loop(OPTIONS), features, labels, parts)
    assert ours == theirs
    assert ours == run(protocol, OPTIONS, features, labels, parts)
    assert ours != run(protocol, replace(OPTIONS, seed=2), features, labels, parts)


@pytest.fixture(scope="module")
def averaged(data_root, tmp_path_factory):
    """Vectors that cost nothing: averaged words."""
    from sbert_repro.encoders.word_average import WordAverageEncoder

    path = data_root / "word_vectors" / "glove10k.100d.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    cache = tmp_path_factory.mktemp("cache")
    return WordAverageEncoder(str(path), tokenisation="senteval", cache=str(cache), progress=False)


@pytest.mark.parametrize("name", ["cr", "trec"])
def test_real_tasks_come_to_the_same_accuracy(name, data_root, averaged):
    task = TASKS[name]
    if not (data_root / name).is_dir():
        pytest.skip(f"no {name} in {data_root}")
    data = load(task, data_root)
    features = data.features(averaged.encode(data.sentences))
    options = BatchedClassifier(kfold=3, max_epoch=8, tenacity=2)
    ours, theirs = (
        run(PROTOCOLS[task.splits], kind, features, data.labels, data.parts)
        for kind in (options, loop(options))
    )
    # Rounding differs, so a text on the border may; a choice between equal strengths too.
    assert abs(100 * ours.accuracy - 100 * theirs.accuracy) < 0.5
    assert abs(100 * ours.dev - 100 * theirs.dev) < 0.1
    assert ours.accuracy > {"cr": 0.65, "trec": 0.60}[name]


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
    assert (len(fold.watch), fold.drawn) == (13, 260)
    assert sorted([*fold.train, *fold.watch]) == rows.tolist()
    assert len(OPTIONS.on(features, labels).whole(np.arange(7)).watch) == 1


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
        run("nested", replace(OPTIONS, device=device), features, labels, parts)
        for device in ("cpu", "cuda")
    )
    assert abs(cpu.accuracy - gpu.accuracy) < 0.01


def test_the_device_is_no_part_of_the_number():
    assert replace(OPTIONS, device="cpu").identity == OPTIONS.identity
    assert replace(OPTIONS, tenacity=1).identity != OPTIONS.identity
