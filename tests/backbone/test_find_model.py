"""Where a model is looked for, what is said if it is not there, and whether it is the real one."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from sbert_repro.backbone import find_model as lookup
from sbert_repro.backbone.find_model import (
    find_model,
    model_name,
    model_sha256,
    weights_facts,
    weights_folder,
)
from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.storage import sha256_of

BERT = "google-bert/bert-base-uncased"


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "models" / "bert-base-uncased").mkdir(parents=True)
    return tmp_path / "models"


def model_folder(path, weights="model.safetensors"):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (path / weights).write_bytes(b"weights")
    return path


def test_a_path_comes_first_then_the_models_root(root):
    here = str(root / "bert-base-uncased")
    assert str(find_model(here)) == here
    for name in ("bert-base-uncased", BERT):
        assert str(find_model(name, root)) == here


def test_a_full_name_below_the_root_wins_over_its_last_part(root):
    (root / BERT).mkdir(parents=True)
    assert find_model(BERT, root) == root / BERT


@pytest.mark.parametrize("name", ["someone/nothing", "no such model", "./not/a/folder"])
def test_a_model_that_is_nowhere_is_one_line_without_a_path_in_what_is_found(
    root, name, monkeypatch, tmp_path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError) as refused:
        find_model(name, root)
    missing = refused.value
    known = name if name == "someone/nothing" else name.rpartition("/")[2]
    assert (missing.code, missing.found) == ("missing", f"no model {known} on this machine")
    assert "SBERT_MODELS" in missing.mend and "encoder.path" in missing.mend
    assert ("hf download" in missing.mend) == (name == "someone/nothing"), "a path is no Hub id"
    assert "\n" not in str(missing) and name in str(missing)


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The archive of an installed package, as `PACKAGED` describes it."""
    tokenizer = {"model": {"vocab": {"[PAD]": 0, "cat": 2, "##s": 1}}}
    archive = tmp_path / "site" / "model.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("config.json", json.dumps({"model_type": "bert"}))
        made.writestr("model.safetensors", b"weights")
        made.writestr("tokenizer.json", json.dumps(tokenizer))
    package = SimpleNamespace(files=lambda: [archive])
    monkeypatch.setattr(lookup, "PACKAGED", {MINILM: package})
    return package


def test_a_package_holds_the_hubs_model_and_is_unpacked_once(packaged, root, tmp_path):
    found = find_model(MINILM, root, None, tmp_path / "cache")
    assert found.name == "all-MiniLM-L6-v2" and found.is_relative_to(tmp_path / "cache")
    # The Hub's folder has the vocabulary a second time, and that file is part of the model's key.
    assert (found / "vocab.txt").read_text() == "[PAD]\n##s\ncat\n"
    written = (found / "model.safetensors").stat().st_mtime_ns
    assert find_model(MINILM, root, lookup.REVISIONS[MINILM], tmp_path / "cache") == found
    assert (found / "model.safetensors").stat().st_mtime_ns == written
    (root / "all-MiniLM-L6-v2").mkdir()
    assert find_model(MINILM, root, None, tmp_path / "cache") == root / "all-MiniLM-L6-v2"


def test_another_commit_and_another_model_are_not_in_the_package(packaged, root, tmp_path):
    assert lookup.at_hand(MINILM, root, "main", tmp_path) is None
    assert lookup.at_hand("someone/model", root, None, tmp_path) is None


def test_a_package_that_is_missing_is_offered_and_a_damaged_one_is_refused(
    packaged, root, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def files(code):
        raise UserError("not so", code=code)

    packaged.files = lambda: files("missing")
    with pytest.raises(UserError, match=r"no model .*: make setup EXTRAS=lite .* SBERT_MODELS"):
        find_model(MINILM, root, None, tmp_path / "cache")
    packaged.files = lambda: files("refused")
    with pytest.raises(UserError, match=r"^not so$"):
        find_model(MINILM, root, None, tmp_path / "cache")


def test_the_packages_minilm_is_the_hubs_to_the_last_byte(minilm, tmp_path):
    try:
        lookup.MINILM.files()
    except UserError as missing:
        pytest.skip(str(missing))
    found = find_model(MINILM, None, None, tmp_path)
    assert model_sha256(found) == model_sha256(minilm)


def test_a_cached_snapshot_is_found_without_a_network(monkeypatch, tmp_path):
    cached = model_folder(tmp_path / "snapshot")
    asked = []

    def snapshot_download(**options):
        asked.append(options)
        return str(cached)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert find_model("someone/model", tmp_path, revision="abc") == cached
    assert [(o["local_files_only"], o["revision"]) for o in asked] == [(True, "abc")]


def test_a_model_of_the_tables_is_the_pinned_one_though_nobody_names_its_commit(monkeypatch):
    configs = [
        OmegaConf.load(CONFIG_DIR / "encoder" / f"{name}.yaml")
        for name in ("bert_base", "bert_large", "roberta_base", "roberta_large", "minilm_l6")
    ]
    assert {config.path: config.revision for config in configs} == lookup.REVISIONS
    monkeypatch.setattr(lookup, "_from_hub", lambda name, revision: Path(f"{name}/{revision}"))
    assert str(find_model(BERT)) == f"{BERT}/{lookup.REVISIONS[BERT]}"
    assert str(find_model(BERT, None, "main")) == f"{BERT}/main"


def test_a_cached_folder_without_weights_is_downloaded(monkeypatch, tmp_path):
    (tmp_path / "half").mkdir()
    whole = model_folder(tmp_path / "whole")

    def snapshot_download(*, local_files_only, **_):
        return str(tmp_path / "half" if local_files_only else whole)

    class Here:
        def head(self, url, timeout):
            assert url.startswith("https://") and timeout > 0

    monkeypatch.setattr("huggingface_hub.get_session", Here)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert find_model("someone/model") == whole


def test_without_a_network_the_hub_is_asked_three_times_and_no_file_is(root, monkeypatch):
    import huggingface_hub

    asked = []

    class Away:
        def head(self, url, timeout):
            asked.append(url)
            raise ConnectionError("no such host")

    def files(*_, local_files_only, **__):
        assert local_files_only, "a file was asked for, with the client's own minutes of patience"
        raise FileNotFoundError

    monkeypatch.setattr(huggingface_hub, "get_session", Away)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", files)
    monkeypatch.setattr("sbert_repro.data.download._PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("sbert_repro.data.download._found_away", {})
    with pytest.raises(UserError, match=r"hf download some/model .*ConnectionError"):
        find_model("some/model", root)
    assert len(asked) == 3


def test_a_hub_that_comes_back_is_asked_again_and_one_that_says_no_is_not(monkeypatch, tmp_path):
    class Refused(Exception):
        response = SimpleNamespace(status_code=404)

    whole = model_folder(tmp_path / "whole")
    asked, answers = [], [ConnectionError("away"), str(whole), Refused("no such model")]

    def snapshot_download(*, local_files_only, **_):
        if local_files_only:
            raise FileNotFoundError("not cached")
        asked.append(answers.pop(0))
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return asked[-1]

    class Here:
        head = staticmethod(lambda url, timeout: None)

    monkeypatch.setattr("huggingface_hub.get_session", Here)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("sbert_repro.data.download._PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("sbert_repro.data.download._found_away", {})
    assert find_model("some/model") == whole
    assert len(asked) == 2
    with pytest.raises(UserError, match="no model some/model"):
        find_model("some/model")
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("models/minilm", "minilm"),
        ("hub/models--org--a-model/snapshots/8b3219a92973", "a-model"),
        ("hub/models--gpt2/snapshots/8b3219a92973", "gpt2"),
        ("runs/snapshots/epoch3", "epoch3"),
        ("snapshots/epoch3", "epoch3"),
    ],
)
def test_a_snapshot_of_the_hub_is_called_by_its_models_name(folder, name):
    assert model_name(Path(folder)) == name


@pytest.mark.parametrize("inside", [".", "0_Transformer"])
def test_both_layouts_of_sentence_transformers(tmp_path, inside):
    place = model_folder(tmp_path / "model" / inside if inside != "." else tmp_path / "model")
    assert weights_folder(tmp_path / "model") == place


@pytest.mark.parametrize("config", [None, "", "[]", "{}", "\ufffd{"])
def test_a_folder_that_is_no_model_says_what_was_expected(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match=rf"{tmp_path}: not a model folder; expected config\.json"):
        weights_folder(tmp_path)


def test_pickled_weights_are_not_read(tmp_path):
    folder = model_folder(tmp_path / "old", weights="pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        weights_folder(folder)


def test_a_model_is_its_content_not_its_place(tmp_path):
    one, two = model_folder(tmp_path / "one"), model_folder(tmp_path / "x" / "0_Transformer").parent
    assert model_sha256(one) == model_sha256(two)
    (two / "README.md").write_text("a card")
    assert model_sha256(one) == model_sha256(two)
    (two / "0_Transformer" / "vocab.txt").write_text("a\nb")
    assert model_sha256(one) != model_sha256(two)


def test_other_weights_under_a_models_name_are_a_fact(tiny_bert, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_bert, tmp_path / "bert-base-uncased")
    found = sha256_of(folder / "model.safetensors")
    (known,) = weights_facts(BERT, "86b5e0", folder)
    assert known == {
        "code": "unknown_weights",
        "model": BERT,
        "sha256": found,
        "expected": lookup.SHA256[BERT],
    }
    unknown = weights_facts("google-bert/bert-large-uncased", "6da4b6", folder)
    assert sentences(unknown)[0].endswith(", not compared with the Hub's")
    assert weights_facts(BERT, None, folder) == [], "no revision was asked for"
    snapshot = shutil.copytree(folder, tmp_path / "86b5e0")
    assert weights_facts(BERT, "86b5e0", snapshot) == [], "a snapshot of the Hub at this revision"
    monkeypatch.setitem(lookup.SHA256, BERT, found)
    assert weights_facts(BERT, "86b5e0", folder) == []


def test_the_real_encoder_of_lite_is_what_it_is_called(minilm):
    assert weights_facts("sentence-transformers/all-MiniLM-L6-v2", "8b3219", minilm) == []
