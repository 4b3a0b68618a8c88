"""Each text is embedded once, for all tasks and for all time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.errors import UserError
from sbert_repro.evaluation.vectors import encode_sets

SETS = {"one": ["a", "b", "c"], "two": ["c", "d"], "three": ["b"]}


def test_shared_texts_are_embedded_once_and_stand_in_every_set(hashes):
    encoder = hashes()
    found = encode_sets(encoder, SETS, None)
    assert encoder.asked == [["a", "b", "c", "d"]]
    for name, sentences in SETS.items():
        np.testing.assert_array_equal(found[name], hashes().encode(sentences))


def test_kept_vectors_serve_other_tasks_and_later_runs(hashes, tmp_path):
    encode_sets(hashes(), {"one": SETS["one"]}, tmp_path)
    later = hashes()
    found = encode_sets(later, {"again": SETS["one"], "two": SETS["two"]}, tmp_path)
    assert later.asked == [["d"]]
    np.testing.assert_array_equal(found["two"], hashes().encode(SETS["two"]))
    last = hashes()
    encode_sets(last, SETS | {"three": ["d", "c"]}, tmp_path)
    assert last.asked == []


def test_another_encoder_has_vectors_of_its_own(hashes, tmp_path):
    ours = encode_sets(hashes(), SETS, tmp_path)
    other = hashes(salt="x")
    found = encode_sets(other, SETS, tmp_path)
    assert len(other.texts) == 4 and not np.array_equal(ours["one"], found["one"])


def test_a_damaged_file_is_a_warning_and_a_second_run(hashes, tmp_path, caplog):
    expected = encode_sets(hashes(), SETS, tmp_path)
    files = sorted(tmp_path.rglob("*.safetensors"))[:2]
    whole = [file.read_bytes() for file in files]
    other = whole[0][:-1] + bytes([whole[0][-1] ^ 1])  # one bit of one number
    for damaged in ((whole[0][:-3], b""), (whole[1], whole[0]), (other, b"{}")):
        for file, content in zip(files, damaged, strict=True):
            file.write_bytes(content)
        caplog.clear()
        again = encode_sets(hashes(), SETS, tmp_path)
        assert sum("embedded again" in message for message in caplog.messages) == 2
        for name, vectors in expected.items():
            np.testing.assert_array_equal(again[name], vectors)
        assert [file.read_bytes() for file in files] == whole
    assert not list(tmp_path.rglob(".*"))


def test_what_is_no_vector_is_refused_and_not_kept(hashes, tmp_path):
    encoder = hashes()
    encoder.encode = lambda sentences: np.array([[1, np.inf]] * len(sentences), np.float32)
    with pytest.raises(UserError, match=f"{encoder.label}: 4 of 4 results are NaN or infinite"):
        encode_sets(encoder, SETS, tmp_path)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=10)
@given(st.lists(st.text(max_size=4), unique=True, max_size=5), st.data())
def test_the_same_letters_cut_otherwise_are_another_set(tmp_path_factory, texts, data):
    joined = "".join(texts)
    cut = data.draw(st.integers(0, len(joined)))
    other = [joined[:cut], joined[cut:]]
    cache = tmp_path_factory.mktemp("cache")

    class Lengths:
        label = "lengths"
        identity = {"encoder": "lengths"}  # noqa: RUF012

        def encode(self, sentences):
            return np.array([[len(text)] for text in sentences], np.float32)

    for sentences in (texts, list(dict.fromkeys(other))):
        if sentences:
            found = encode_sets(Lengths(), {"set": sentences}, cache)["set"]
            assert found[:, 0].tolist() == [len(text) for text in sentences]


def test_a_full_disk_is_one_line_and_leaves_nothing(hashes, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    encoder = hashes()
    encode_sets(encoder, SETS, tmp_path)
    (folder,) = (tmp_path / "vectors").iterdir()
    for kept in folder.iterdir():
        kept.unlink()
    with pytest.MonkeyPatch.context() as patch:
        # Every byte goes to a device that is full.
        patch.setattr(
            Path, "write_bytes", lambda path, data: Path("/dev/full").open("wb", 0).write(data)
        )
        with pytest.raises(UserError, match=r"\.safetensors: cannot be written: no space left"):
            encode_sets(encoder, SETS, tmp_path)
    assert list(folder.iterdir()) == []
