"""The packed engine gives the reference's vectors, whatever the network, the layer, the pooling."""

import inspect
import json
import logging
import re
import shutil
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention

from sbert_repro.backbone import packed
from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.data.batches import pad
from sbert_repro.encoders.infersent import BiLstmEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.facts import sentences
from sbert_repro.inference import engine as engines
from sbert_repro.inference.engine import (
    BUDGET,
    LEAST_COSINE,
    LEAST_COSINE_INT8,
    Engine,
    encode_padded,
    plan_packed,
    plan_padded,
)
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

POOLINGS = [MeanPooling(), MaxPooling(), ClsPooling()]
FAMILIES = ["tiny_bert", "tiny_roberta"]
SENTENCES = ["a man plays guitar", "no", "the dog sleeps", "", "Ünïcode 漢字 \x00 🙂", "dog " * 80]
WORDS = st.sampled_from("a man plays the guitar no dog sleeps in park zebra ! 12".split())
TEXTS = st.lists(st.lists(WORDS, max_size=30).map(" ".join), min_size=1, max_size=12)


def pair(folder, pooling, **options):
    """The same encoder with either engine."""
    both = [
        TransformerEncoder(str(folder), pooling, engine=engine, **options)
        for engine in ("packed", "reference")
    ]
    assert [one.engine for one in both] == ["packed", "reference"]
    return both


@pytest.fixture(scope="module")
def three_pairs(tiny_bert):
    return [pair(tiny_bert, pooling) for pooling in POOLINGS]


def cosines(u, v):
    return (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_the_references(request, family, layer, pooling):
    fast, reference = pair(request.getfixturevalue(family), pooling, layer=layer)
    np.testing.assert_allclose(
        fast.encode(SENTENCES), reference.encode(SENTENCES), atol=1e-5, rtol=0
    )


@settings(max_examples=30)
@given(TEXTS, st.integers(1, 200), st.sampled_from(range(len(POOLINGS))))
def test_any_lengths_at_any_budget(three_pairs, texts, budget, number):
    fast, reference = three_pairs[number]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGET, "packed", budget)
        found = fast.encode(texts)
    np.testing.assert_allclose(found, reference.encode(texts), atol=1e-5, rtol=0)


def test_halves_of_characters_and_a_million_equal_sentences(tiny_bert):
    encoder = TransformerEncoder(str(tiny_bert), MeanPooling())
    vectors = encoder.encode(["no \ud83d dog", "no \ufffd dog", "\ud83d\ude42", "🙂"])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[::2], vectors[1::2], atol=1e-6)
    many = encoder.encode(["a dog"] * 1_000_000)
    assert many.shape == (1_000_000, 32) and (many == many[0]).all()


@pytest.mark.parametrize("engine", ["packed", "reference"])
def test_a_weight_that_is_no_number_is_named(tiny_bert, tmp_path, engine):
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    weights[name][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"the weight {name} holds NaN"):
        TransformerEncoder(str(folder), MeanPooling(), engine=engine).encode(["a dog"])


def test_what_cannot_be_packed_is_computed_by_the_reference_and_said_once(
    tiny_bert, tmp_path, caplog
):
    folder = shutil.copytree(tiny_bert, tmp_path / "relu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    encoder = TransformerEncoder(str(folder), MeanPooling())
    with caplog.at_level(logging.INFO):
        first = encoder.encode(SENTENCES)
        encoder.encode(SENTENCES)
    assert [m for m in caplog.messages if "reference engine" in m] == [
        "relu: the reference engine computes, not the packed one: its activation is relu, not gelu"
    ]
    wanted = TransformerEncoder(str(folder), MeanPooling(), engine="reference").encode(SENTENCES)
    np.testing.assert_array_equal(first, wanted)
    with pytest.raises(UserError, match=r"engine=packed: .*relu, not gelu: use engine=auto"):
        TransformerEncoder(str(folder), MeanPooling(), engine="packed").encode(["a dog"])


def test_an_engine_that_does_not_exist_is_refused(tiny_bert):
    with pytest.raises(UserError, match=r"engine=fast: .* auto, packed, reference"):
        TransformerEncoder(str(tiny_bert), engine="fast")


def test_a_layer_that_does_not_exist_is_refused(tiny_bert):
    with pytest.raises(
        UserError, match=r"encoder\.layer=what: there is no such layer; there are l"
    ):
        TransformerEncoder(str(tiny_bert), layer="what").encode(["a dog"])


needs_bf16 = pytest.mark.skipif(
    packed.why_not_prepacked(torch.bfloat16) is not None,
    reason=str(packed.why_not_prepacked(torch.bfloat16)),
)


@needs_bf16
def test_the_engine_is_part_of_what_a_bf16_vector_is_and_of_no_fp32_vector(tiny_bert):
    same, other = pair(tiny_bert, MeanPooling())
    assert same.identity == other.identity
    auto = TransformerEncoder(str(tiny_bert), MeanPooling())
    assert auto.engine == "packed" and auto.identity == same.identity
    fast, reference = pair(tiny_bert, MeanPooling(), precision="bf16")
    assert fast.identity != reference.identity


@needs_bf16
@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_stays_close(request, family, pooling):
    folder = request.getfixturevalue(family)
    half = TransformerEncoder(str(folder), pooling, precision="bf16", engine="packed")
    exact = TransformerEncoder(str(folder), pooling, engine="reference")
    assert cosines(half.encode(SENTENCES), exact.encode(SENTENCES)).min() >= LEAST_COSINE


@pytest.fixture(scope="module")
def stsb_texts(data_root):
    table = pd.read_parquet(data_root / "stsb" / "test.parquet")
    return [*table.sentence1[:75], *table.sentence2[:75]]


def test_minilm_in_fp32(minilm, stsb_texts):
    fast, reference = pair(minilm, None)
    exact = reference.encode(stsb_texts)
    np.testing.assert_allclose(fast.encode(stsb_texts), exact, atol=1e-5, rtol=0)


@needs_bf16
def test_minilm_in_bf16(minilm, stsb_texts):
    exact = TransformerEncoder(str(minilm), engine="reference").encode(stsb_texts)
    half = TransformerEncoder(str(minilm), precision="bf16", engine="packed").encode(stsb_texts)
    assert cosines(half, exact).min() >= LEAST_COSINE


@pytest.mark.slow
def test_minilms_stsb_in_bf16_is_its_stsb(minilm, data_root):
    scores = [
        evaluate(TransformerEncoder(str(minilm), precision=p), "stsb", data_root)["stsb"][
            "spearman"
        ]
        for p in ("fp32", "bf16")
    ]
    assert abs(scores[0] - scores[1]) <= 0.05


# --- 8-bit products

needs_int8 = pytest.mark.skipif(
    packed.why_not_quantized() is not None, reason=str(packed.why_not_quantized())
)


@needs_int8
def test_minilm_in_8_bits(minilm, stsb_texts):
    exact = TransformerEncoder(str(minilm))
    narrow = TransformerEncoder(str(minilm), precision="int8", engine="packed")
    assert cosines(narrow.encode(stsb_texts), exact.encode(stsb_texts)).min() >= LEAST_COSINE_INT8
    assert narrow.identity["precision"] == "int8" and narrow.identity["engine"] == "packed"
    assert [one["code"] for one in narrow.facts] == ["added_in_16_bits"] * packed.adds_in_16_bits()
    assert narrow.identity.get("sum_bits", 32) == (16 if packed.adds_in_16_bits() else 32)


@pytest.mark.parametrize(
    ("width", "in_16_bits", "narrow", "name", "said"),
    [
        (256, False, "bf16", {}, []),
        (256, False, "fp32", {}, []),
        (256, True, "fp32", {"sum_bits": 16}, ["int8 weights rounded more coarsely: "]),
        (128, True, "bf16", {}, ["computed in bf16, not in int8: 8 bits gain nothing in "]),
        (128, True, "fp32", {"narrow": "fp32"}, ["computed in fp32, not in int8: "]),
    ],
)
def test_what_int8_is_computed_in_is_in_a_vectors_name_and_said(
    tmp_path, monkeypatch, width, in_16_bits, narrow, name, said
):
    (tmp_path / "bert").mkdir()
    write_random_bert(tmp_path / "bert", ["a", "dog"], Size(1, width, 4, 256, 64))
    monkeypatch.setattr(packed, "adds_in_16_bits", lambda: in_16_bits)
    monkeypatch.setattr(packed, "narrow_precision", lambda: narrow)
    monkeypatch.setattr(Engine, "_why_not_packed", None)
    encoder = TransformerEncoder(str(tmp_path / "bert"), precision="int8")
    rounding = {"engine": "packed", "rounding": Engine.ROUNDING}
    assert encoder._engine.rounding == rounding | name
    for found, begins in zip(sentences(encoder.facts), said, strict=True):
        assert found.startswith(begins)


@pytest.mark.slow
@needs_int8
def test_minilms_stsb_in_8_bits_is_near_its_stsb(minilm, data_root):
    scores = [
        evaluate(TransformerEncoder(str(minilm), precision=p), "stsb", data_root)["stsb"][
            "spearman"
        ]
        for p in ("fp32", "int8")
    ]
    assert abs(scores[0] - scores[1]) <= 0.2


@needs_int8
@pytest.mark.parametrize("family", FAMILIES)
def test_models_too_narrow_for_8_bits_keep_more_bits(request, family):
    folder = str(request.getfixturevalue(family))
    narrow = TransformerEncoder(folder, precision="int8", engine="packed").encode(SENTENCES)
    exact = TransformerEncoder(folder).encode(SENTENCES)
    assert cosines(narrow, exact).min() >= LEAST_COSINE


@needs_int8
def test_8_bits_that_do_not_agree_leave_the_work_to_the_reference(tiny_bert, caplog, monkeypatch):
    class Wrong(packed.Product):
        def __call__(self, x):
            return -super().__call__(x)

    monkeypatch.setattr(packed, "narrow_product", Wrong.of)
    encoder = TransformerEncoder(str(tiny_bert), precision="int8")
    with caplog.at_level(logging.INFO):
        found = [encoder.encode(SENTENCES) for _ in range(2)]
    (said,) = [message for message in caplog.messages if "reference engine" in message]
    assert re.search(r"has a cosine of -?0\.\d+ with the reference's, not 0.99$", said)
    exact = TransformerEncoder(str(tiny_bert), engine="reference").encode(SENTENCES)
    np.testing.assert_array_equal(found[0], exact)
    assert "engine" not in encoder.identity
    with pytest.raises(UserError, match=r"not 0.99: use engine=auto"):
        TransformerEncoder(str(tiny_bert), precision="int8", engine="packed").encode(["a dog"])


def test_8_bits_that_this_processor_has_not_are_said_to_be_fp32(tiny_bert, caplog, monkeypatch):
    monkeypatch.setattr(packed, "why_not_quantized", lambda: "this processor has none")
    encoder = TransformerEncoder(str(tiny_bert), precision="int8")
    with caplog.at_level(logging.INFO):
        found = encoder.encode(SENTENCES)
    np.testing.assert_array_equal(
        found, TransformerEncoder(str(tiny_bert), engine="reference").encode(SENTENCES)
    )
    assert "computes in fp32, not the packed one: this processor has none" in caplog.text
    said = "computed in fp32, not in int8: this processor has none"
    assert sentences(encoder.facts) == [said]
    assert sentences(TransformerEncoder(str(tiny_bert)).facts) == []


def test_8_bits_are_refused_where_there_are_none(tiny_bert, as_gpu):
    with pytest.raises(UserError, match="engine=reference precision=int8: only the packed engine"):
        TransformerEncoder(str(tiny_bert), precision="int8", engine="reference")
    with pytest.raises(UserError, match="precision=int8: a BiLSTM has no 8-bit products"):
        BiLstmEncoder("words.txt", precision="int8")
    as_gpu(fails)
    assert TransformerEncoder(str(tiny_bert), precision="int8").engine == "reference"


# --- Batches

LENGTHS = st.lists(st.integers(1, 200), max_size=60)


@pytest.mark.parametrize("plan", [plan_padded, plan_packed])
@given(lengths=LENGTHS, budget=st.integers(1, 500))
def test_batches_hold_each_sentence_once_longest_first_and_keep_to_the_budget(
    plan, lengths, budget
):
    batches = plan(np.array(lengths, np.int64), budget)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    in_order = [[lengths[row] for row in rows] for rows in batches]
    assert [*chain(*in_order)] == sorted(lengths, reverse=True)
    for number, some in enumerate(in_order):

        def size(some):
            return sum(some) if plan is plan_packed else len(some) * some[0]

        assert len(some) == 1 or size(some) <= budget
        if number + 1 < len(in_order):
            assert size([*some, in_order[number + 1][0]]) > budget, "one more would have fitted"


def test_equal_lengths_keep_their_order():
    batches = plan_padded(np.array([3, 3, 3, 5]), 6)
    assert [rows.tolist() for rows in batches] == [[3], [0, 1], [2]]


PIECES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=12), min_size=1, max_size=20)


@given(PIECES, st.integers(1, 40))
def test_padded_rows_come_back_in_their_order_at_any_budget(pieces, budget):
    def embed(tokens):
        """Sum and count of the real word pieces: wrong as soon as padding is looked at."""
        ids = torch.where(tokens.mask, tokens.ids, 0)
        return torch.stack([ids.sum(1), tokens.mask.sum(1)], dim=1).float()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGET, "reference", budget)
        vectors = encode_padded([np.array(p, np.int32) for p in pieces], embed, pad_id=7)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[sum(p), len(p)] for p in pieces])


@given(PIECES)
def test_padding_is_on_the_right_and_masked(pieces):
    tokens = pad([np.array(p, np.int32) for p in pieces], pad_id=7)
    assert tokens.ids.dtype == torch.int64 and tokens.mask.dtype == torch.bool
    for ids, mask, piece in zip(tokens.ids, tokens.mask, pieces, strict=True):
        assert ids[mask].tolist() == piece
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)
        assert set(ids[~mask].tolist()) <= {7}


# --- The packed engine on a GPU, as far as a CPU shows it: a plain attention in the kernel's place


def one_by_one(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, *, scale):
    """What `varlen_attn` promises, sentence after sentence; refuses what the kernel would."""
    for bounds in (cu_seq_q, cu_seq_k):
        assert bounds.dtype == torch.int32 and bounds[0] == 0
    assert (len(q), len(k)) == (cu_seq_q[-1], cu_seq_k[-1])
    assert (max_q, max_k) == (cu_seq_q.diff().max(), cu_seq_k.diff().max())
    mixed = torch.empty_like(q)
    for number in range(len(cu_seq_q) - 1):
        a, b = (slice(int(c[number]), int(c[number + 1])) for c in (cu_seq_q, cu_seq_k))
        parts = (x.transpose(0, 1) for x in (q[a], k[b], v[b]))
        mixed[a] = scaled_dot_product_attention(*parts, scale=scale).transpose(0, 1)
    return mixed


def fails(*args, **options):
    raise RuntimeError("CUDA error: no kernel image\nCompile with TORCH_USE_CUDA_DSA")


def mixes_up_values(q, k, v, *others, **options):
    return one_by_one(q, k, v.flip(0), *others, **options)


def gives_nan(q, *others, **options):
    return torch.full_like(q, float("nan"))


def test_the_installed_kernel_takes_what_is_passed():
    """PyTorch 2.11, the lowest that the GPU path supports, has these parameters."""
    names = ("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k")
    known = inspect.signature(varlen.varlen_attn).parameters
    assert tuple(known)[: len(names)] == names and "scale" in known
    inspect.signature(varlen.varlen_attn).bind(*names, scale=1.0)


@pytest.fixture
def as_gpu(monkeypatch):
    """Makes the CPU a GPU with a given kernel."""

    def use(kernel):
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        monkeypatch.setattr(Engine, "_on_gpu", True)

    return use


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda p: p.name)
@pytest.mark.parametrize("layer", ["last", "first_last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gpu_arithmetic_in_fp32_is_the_references(
    request, as_gpu, monkeypatch, family, layer, pooling
):
    as_gpu(one_by_one)
    # In fp32 both must give equal vectors; there is no such kernel, so it is refused otherwise.
    monkeypatch.setattr(Engine, "_why_not_packed", None)
    monkeypatch.setitem(BUDGET, "packed on a GPU", 30)
    fast, reference = pair(request.getfixturevalue(family), pooling, layer=layer)
    np.testing.assert_allclose(
        fast.encode(SENTENCES), reference.encode(SENTENCES), atol=1e-5, rtol=0
    )


def test_a_gpu_computes_in_bf16_once_it_agrees_with_the_reference(as_gpu, tiny_bert):
    as_gpu(one_by_one)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    assert encoder.identity["engine"] == "packed"
    exact = TransformerEncoder(str(tiny_bert), engine="reference").encode(SENTENCES)
    assert cosines(encoder.encode(SENTENCES), exact).min() >= LEAST_COSINE
    layers = encoder._engine._network.layers
    # CUDA's LayerNorm wants weights of the type of its input.
    assert {layer.down.norm.weight.dtype for layer in layers} == {torch.bfloat16}
    assert {type(layer.down.product) for layer in layers} == {packed.Product}


@pytest.mark.parametrize(
    "kernel, reason",
    [
        (fails, r"failed on a few sentences \(RuntimeError: CUDA error: no kernel image\)$"),
        (mixes_up_values, r"has a cosine of -?0\.\d+ with the reference's, not 0.9995$"),
        (gives_nan, "has a cosine of nan with the reference's, not 0.9995$"),
    ],
)
def test_a_gpu_that_does_not_agree_leaves_the_work_to_the_reference_and_says_so_once(
    as_gpu, tiny_bert, caplog, kernel, reason
):
    as_gpu(kernel)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    with caplog.at_level(logging.INFO):
        found = [encoder.encode(SENTENCES) for _ in range(2)]
    (said,) = [message for message in caplog.messages if "reference engine" in message]
    assert re.search(reason, said)
    plain = TransformerEncoder(str(tiny_bert), precision="bf16", engine="reference")
    np.testing.assert_array_equal(found[0], plain.encode(SENTENCES))
    assert encoder.identity == plain.identity
    asked = TransformerEncoder(str(tiny_bert), precision="bf16", engine="packed")
    with pytest.raises(UserError, match=rf"engine=packed: .*{reason[:-1]}: use engine=auto"):
        asked.encode(SENTENCES)


def test_a_gpu_that_fails_later_is_one_line(as_gpu, tiny_bert, monkeypatch):
    as_gpu(one_by_one)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    assert encoder.engine == "packed"
    monkeypatch.setattr(varlen, "varlen_attn", fails)
    with pytest.raises(UserError, match=r"no kernel image\): run .* engine=reference$"):
        encoder.encode(SENTENCES)


def test_in_fp32_on_a_gpu_the_reference_computes_and_no_weight_is_read_to_know_it(
    as_gpu, tiny_bert, monkeypatch
):
    as_gpu(fails)
    monkeypatch.setattr(engines, "load", fails)
    assert TransformerEncoder(str(tiny_bert)).engine == "reference"
    with pytest.raises(UserError, match="on a GPU it computes in bf16, and this is fp32"):
        _ = TransformerEncoder(str(tiny_bert), engine="packed").engine
