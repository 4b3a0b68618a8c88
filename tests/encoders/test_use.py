"""USE's two forms, built here with TensorFlow at 512 numbers a sentence, and what is neither."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.compose import build, compose
from sbert_repro.encoders import use
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.use import UseEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="TensorFlow is not installed: make setup EXTRAS=use",
)
SENTENCES = ["a man plays", "no", "", "a man plays", "Ünïcode 漢字 \x00", "half \ud83d a pair"]
WIDTH = 512


def bag(tensorflow, texts, weights):
    """Mean of a row of `weights` for each word, which is [n, 512] as USE gives it."""
    words = tensorflow.strings.split(texts)
    numbers = tensorflow.strings.to_hash_bucket_fast(words.values, 50)
    rows = tensorflow.gather(weights, numbers)
    sums = tensorflow.math.unsorted_segment_sum(rows, words.value_rowids(), words.nrows())
    return sums / tensorflow.cast(tensorflow.maximum(words.row_lengths(), 1), "float32")[:, None]


def weights():
    return np.random.default_rng(5).standard_normal((50, WIDTH)).astype(np.float32)


def save_for_two(folder, outputs=bag, dtype="string", signature=True, call=True):
    """TensorFlow 2: an object that is called with strings, and its signature."""
    import tensorflow

    class Model(tensorflow.Module):
        def __init__(self):
            self.weights = tensorflow.Variable(weights())

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None], dtype)])
        def __call__(self, inputs):
            return outputs(tensorflow, inputs, self.weights)

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None], "float32")])
        def train(self, inputs):
            return inputs

    model = Model()
    chosen = model.__call__ if signature else {"train": model.train}
    if not call:
        model.__call__ = None
    tensorflow.saved_model.save(model, str(folder), signatures=chosen)
    return folder


def save_for_one(folder):
    """TensorFlow 1's hub.Module: no tags, signature and output "default", a graph to train."""
    import tensorflow

    old = tensorflow.compat.v1
    builder = old.saved_model.builder.SavedModelBuilder(str(folder))
    for tags in ([], ["train"]):
        with tensorflow.Graph().as_default(), old.Session() as session:
            texts = old.placeholder("string", [None], name="text")
            stored = old.get_variable("weights", initializer=weights())
            session.run(old.global_variables_initializer())
            signature = old.saved_model.predict_signature_def(
                {"text": texts}, {"default": bag(tensorflow, texts, stored)}
            )
            options = {"signature_def_map": {"default": signature}}
            if tags:
                builder.add_meta_graph(tags, **options)
            else:
                builder.add_meta_graph_and_variables(session, tags, **options)
    builder.save()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"1": save_for_one(root / "one"), "2": save_for_two(root / "two")}


@pytest.fixture(params=["1", "2"])
def model(request, models):
    return models[request.param]


@needs_tensorflow
def test_vectors_of_both_forms_are_those_of_the_graph(model):
    encoder = UseEncoder(str(model))
    vectors = encoder.encode(SENTENCES)
    assert isinstance(encoder, SentenceEncoder) and encoder.label == model.name
    assert vectors.shape == (6, WIDTH) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[3])
    import tensorflow

    texts = [text.encode("utf-8", "replace") for text in SENTENCES]
    expected = bag(tensorflow, tensorflow.constant(texts), weights()).numpy()
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-7)
    assert encoder.encode([]).shape == (0, WIDTH)


@needs_tensorflow
def test_an_object_without_a_signature_of_its_own_is_called(models, tmp_path):
    called = UseEncoder(str(save_for_two(tmp_path / "called", signature=False)))
    expected = UseEncoder(str(models["2"])).encode(SENTENCES)
    np.testing.assert_array_equal(called.encode(SENTENCES), expected)


@needs_tensorflow
def test_batches_are_bounded_and_change_no_vector(model, monkeypatch):
    sentences = [f"{'a man ' * n}{n}" for n in range(40)]
    whole = UseEncoder(str(model)).encode(sentences)
    sizes = []
    monkeypatch.setattr(use, "BUDGET", 300)
    encoder = UseEncoder(str(model))
    run = encoder.model
    vars(encoder)["model"] = lambda texts: sizes.append(sum(map(len, texts))) or run(texts)
    np.testing.assert_allclose(encoder.encode(sentences), whole, rtol=1e-6, atol=1e-7)
    assert len(sizes) > 5 and max(sizes) <= 300


@needs_tensorflow
def test_identity_is_content_not_place(models, tmp_path):
    here = UseEncoder(str(models["2"])).identity
    copy = shutil.copytree(models["2"], tmp_path / "copy")
    there = UseEncoder("copy", label="x", models_root=tmp_path)
    assert there.identity == here and there.label == "x"
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "vocabulary").write_text("word")
    assert there.identity != here != UseEncoder(str(models["1"])).identity


@needs_tensorflow
def test_the_option_runs_through_the_one_path_of_evaluation(model, data_root, tmp_path):
    words = ["encoder=use", f"encoder.path={model.name}", f"paths.models={model.parent}"]
    config = compose(words, "evaluate")
    encoder = build(config.encoder, pooling=None, models_root=config.paths.models, progress=False)
    scores = evaluate(encoder, ["stsb"], data_root, cache=tmp_path)
    assert encoder.label == "Universal Sentence Encoder"
    # A bag of random word vectors still sees which words two sentences share.
    assert scores["stsb"]["n"] == 1_379 and scores["stsb"]["spearman"] > 30


@needs_tensorflow
def test_a_graph_that_gives_something_else_is_refused(tmp_path):
    refused = {
        "has no signature default or serving_default .there: train": {
            "signature": False,
            "call": False,
        },
        "takes inputs: float32 in signature serving_default": {
            "dtype": "float32",
            "outputs": lambda tensorflow, inputs, _: inputs,
        },
        r"gives \[2\] for two strings": {
            "outputs": lambda tensorflow, inputs, _: tensorflow.strings.length(inputs)
        },
        "fails on two strings": {
            "outputs": lambda tensorflow, inputs, _: tensorflow.strings.to_number(inputs)
        },
    }
    for number, (says, options) in enumerate(refused.items()):
        folder = save_for_two(tmp_path / str(number), **options)
        with pytest.raises(UserError, match=f"{folder}.*{says}") as mistake:
            UseEncoder(str(folder)).encode(["a"])
        assert "\n" not in str(mistake.value)


@needs_tensorflow
@pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_model_is_refused(model, tmp_path, damaged):
    folder = shutil.copytree(model, tmp_path / "damaged")
    (folder / damaged).write_bytes(b"no protocol buffer")
    with pytest.raises(UserError, match=f"{folder}: not loadable by TensorFlow.*again") as mistake:
        UseEncoder(str(folder)).encode(["a"])
    assert "\n" not in str(mistake.value)


def test_a_missing_folder_says_where_from_and_where_to(tmp_path):
    config = compose(["encoder=use", f"paths.models={tmp_path}"], "evaluate")
    with pytest.raises(UserError) as mistake:
        build(config.encoder, models_root=config.paths.models)
    error = mistake.value
    assert error.found == "universal-sentence-encoder-large is not on this machine"
    assert error.code == "missing" and str(tmp_path) in error.where
    assert use.SOURCE in error.mend and "make setup EXTRAS=use" in error.mend


def test_a_folder_that_is_no_saved_model(tmp_path):
    with pytest.raises(UserError, match=r"no SavedModel, expected saved_model\.pb"):
        UseEncoder(str(tmp_path))


def test_missing_packages_are_said_with_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"TensorFlow.* not installed: make setup EXTRAS=use"):
        UseEncoder(str(tmp_path))
    with pytest.raises(UserError, match=r"needs the package tensorflow_hub, .*: unpack https"):
        UseEncoder(use.SOURCE)


def test_an_address_goes_through_tensorflow_hubs_own_client(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    asked = []

    class Hub:
        @staticmethod
        def resolve(address):
            asked.append(address)
            if "nowhere" in address:
                raise OSError("no network")
            return str(tmp_path)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "tensorflow_hub", Hub)
    assert UseEncoder(use.SOURCE).folder == tmp_path and asked == [use.SOURCE]
    with pytest.raises(
        UserError, match=r"not available from TensorFlow Hub \(OSError: no network\)"
    ):
        UseEncoder("https://nowhere")


def test_importing_the_encoder_does_not_import_tensorflow():
    tree = ast.parse(Path(use.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node for node in imports if "tensorflow" in ast.unparse(node)]
