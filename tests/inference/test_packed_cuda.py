"""The packed engine for GPUs, as far as a CPU shows it: a plain attention in the kernel's place."""

import logging
import re
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.inference import engine as engines
from sbert_repro.inference import packed_cuda, trial
from sbert_repro.inference.layers import row_of
from sbert_repro.inference.plan import plan_packed
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

SENTENCES = ["a man plays guitar", "no", "the dog sleeps", "", "a cat is not here", "dog " * 80]
CPU = torch.device("cpu")


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


@pytest.fixture
def as_gpus(monkeypatch):
    """Two GPUs that are the CPU; to be given what stands for the kernel."""

    def use(kernel):
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        monkeypatch.setattr(packed_cuda, "devices", lambda: (CPU, CPU))

    return use


@pytest.fixture
def fp32(monkeypatch, as_gpus):
    """Both engines in fp32, where they must give equal vectors; no kernel could."""
    as_gpus(one_by_one)
    monkeypatch.setattr(packed_cuda, "why_not", lambda config, precision: None)


@pytest.mark.parametrize(
    "pooling", [MeanPooling(), MaxPooling(), ClsPooling()], ids=lambda p: p.name
)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_vectors_are_the_references(request, fp32, monkeypatch, family, layer, pooling):
    monkeypatch.setattr(packed_cuda, "BUDGET", 30)
    folder = str(request.getfixturevalue(family))
    packed = TransformerEncoder(folder, pooling, layer=layer, engine="packed")
    reference = TransformerEncoder(folder, pooling, layer=layer, engine="reference")
    assert packed.engine == "packed"
    np.testing.assert_allclose(
        packed.encode(SENTENCES), reference.encode(SENTENCES), atol=1e-5, rtol=0
    )


@given(st.lists(st.integers(2, 70), min_size=1, max_size=40))
def test_bounds_are_where_sentences_begin(lengths):
    lengths = sorted(lengths, reverse=True)
    row = row_of([np.full(length, number) for number, length in enumerate(lengths)])
    assert row.bounds.dtype == torch.int32 and row.bounds.tolist() == [0, *np.cumsum(lengths)]
    assert row.ids[row.bounds[:-1].long()].tolist() == list(range(len(lengths)))
    assert (row.places[row.bounds[:-1].long()] == 0).all()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=60), st.integers(1, 200), st.integers(1, 9)
)
def test_each_sentence_goes_to_one_gpu(lengths, budget, count):
    dealt = packed_cuda.shards(plan_packed(np.array(lengths), budget), count)
    assert len(dealt) == count
    rows = [row for some in dealt for batch in some for row in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))


def test_each_gpu_computes_in_a_thread_of_its_own_and_the_bar_moves(fp32, tiny_bert, monkeypatch):
    monkeypatch.setattr(packed_cuda, "BUDGET", 8)
    seen, meeting = set(), threading.Barrier(2, timeout=60)
    moved = packed_cuda._moved

    def watched(row, place):
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            meeting.wait()
        return moved(row, place)

    encoder, done = TransformerEncoder(str(tiny_bert), engine="packed"), []
    assert encoder.engine == "packed"
    monkeypatch.setattr(packed_cuda, "_moved", watched)
    list(encoder.encode_blocks([SENTENCES], done.append))
    assert len(seen) == 2 and sum(done) == len(SENTENCES)


def fails(*args, **options):
    raise RuntimeError("CUDA error: no kernel image\nCompile with TORCH_USE_CUDA_DSA")


def mixes_up_values(q, k, v, *others, **options):
    return one_by_one(q, k, v.flip(0), *others, **options)


def gives_nan(q, *others, **options):
    return torch.full_like(q, float("nan"))


@pytest.mark.parametrize(
    "kernel, reason",
    [
        (fails, r"failed on a few sentences \(RuntimeError: CUDA error: no kernel image\)$"),
        (mixes_up_values, r"has a cosine of -?0\.\d+ with the reference's, not 0.9995$"),
        (gives_nan, "has a cosine of nan with the reference's, not 0.9995$"),
    ],
)
def test_what_fails_the_trial_is_computed_by_the_reference_and_said_once(
    as_gpus, tiny_bert, caplog, kernel, reason
):
    as_gpus(kernel)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    with caplog.at_level(logging.INFO):
        found = [encoder.encode(SENTENCES) for _ in range(2)]
    (said,) = [message for message in caplog.messages if "reference engine" in message]
    assert re.search(reason, said)
    plain = TransformerEncoder(str(tiny_bert), precision="bf16", engine="reference")
    np.testing.assert_array_equal(found[0], plain.encode(SENTENCES))
    assert encoder.identity == plain.identity
    asked = TransformerEncoder(str(tiny_bert), precision="bf16", engine="packed")
    with pytest.raises(UserError, match=rf"engine=packed: .*{reason[:-1]}; use engine=auto"):
        asked.encode(SENTENCES)


def test_in_bf16_it_passes_its_trial_and_is_part_of_the_identity(as_gpus, tiny_bert):
    as_gpus(one_by_one)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    assert encoder.identity["engine"] == "packed"
    exact = TransformerEncoder(str(tiny_bert), engine="reference").encode(SENTENCES)
    found = encoder.encode(SENTENCES)
    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() >= trial.LEAST_COSINE


def test_every_gpu_is_tried(as_gpus, tiny_bert, monkeypatch):
    as_gpus(one_by_one)
    dealt, shards = [], packed_cuda.shards

    def watched(batches, count):
        dealt.append(shards(batches, count))
        return dealt[-1]

    monkeypatch.setattr(packed_cuda, "shards", watched)
    assert TransformerEncoder(str(tiny_bert), precision="bf16").engine == "packed"
    (of_trial,) = dealt
    assert len(of_trial) == 2 and all(of_trial)


def test_a_gpu_that_fails_later_is_one_line(as_gpus, tiny_bert, monkeypatch):
    as_gpus(one_by_one)
    encoder = TransformerEncoder(str(tiny_bert), precision="bf16")
    assert encoder.engine == "packed"
    monkeypatch.setattr(varlen, "varlen_attn", fails)
    with pytest.raises(UserError, match=r"no kernel image\); run .* engine=reference$"):
        encoder.encode(SENTENCES)


def test_in_fp32_the_reference_computes_and_no_weight_is_read_to_know_it(
    as_gpus, tiny_bert, monkeypatch
):
    as_gpus(fails)
    monkeypatch.setattr(engines, "load", fails)
    assert TransformerEncoder(str(tiny_bert)).engine == "reference"
    with pytest.raises(UserError, match="on a GPU it computes in bf16, and this is fp32"):
        _ = TransformerEncoder(str(tiny_bert), engine="packed").engine


def test_norms_have_one_type_with_the_states_as_cuda_wants_it(tiny_bert):
    read = engines.load(tiny_bert)
    network = packed_cuda.PackedCuda(lambda: read, [CPU])._networks[0]
    norms = [norm for layer in network.layers for norm in (layer.out_norm, layer.down_norm)]
    assert norms and {norm.weight.dtype for norm in norms} == {torch.bfloat16}
    assert network.embeddings.norm.weight.dtype == torch.float32
