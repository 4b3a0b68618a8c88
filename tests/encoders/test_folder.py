"""What is read from a sentence-transformers folder, in every spelling there has been."""

import json

import pytest

from sbert_repro.encoders.folder import Described, describe, pooling_named
from sbert_repro.errors import UserError

OLD = "sentence_transformers.models"
NEW = "sentence_transformers.sentence_transformer.modules"


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def modules(prefix, *names, at=""):
    paths = {"Transformer": at, "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    return [{"type": f"{prefix}.{name}", "path": paths.get(name, name)} for name in names]


def test_a_plain_folder_says_nothing(tmp_path):
    files = {"config.json": {}, "tokenizer_config.json": {"model_max_length": 512}}
    assert describe(write(tmp_path, files)) == Described()


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "word_embedding_dimension": 8}, "cls"),
        ({"pooling_mode": "max", "embedding_dimension": 8, "include_prompt": True}, "max"),
        ({"pooling_mode": ["cls", "mean"]}, "cls+mean"),
        ({}, "mean"),
    ],
)
def test_pooling_in_old_and_new_spelling(tmp_path, config, pooling):
    files = {
        "modules.json": modules(OLD, "Transformer", "Pooling"),
        "1_Pooling/config.json": config,
    }
    assert describe(write(tmp_path, files)).pooling == pooling


@pytest.mark.parametrize(
    ("files", "length"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 256}}, 254),
        ({"sentence_bert_config.json": {}, "tokenizer_config.json": {"model_max_length": 66}}, 64),
        ({"tokenizer_config.json": {"model_max_length": 10**30}}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("at", ["", "0_Transformer"])
def test_the_length_is_given_without_special_tokens(tmp_path, files, length, at):
    placed = {f"{at}/{name}" if at else name: content for name, content in files.items()}
    written = write(tmp_path, {"modules.json": modules(NEW, "Transformer", at=at), **placed})
    assert describe(written).max_length == length


def test_normalize_is_seen_and_an_unknown_module_refused(tmp_path):
    write(tmp_path, {"modules.json": modules(NEW, "Transformer", "Normalize")})
    assert describe(tmp_path).normalize
    write(tmp_path, {"modules.json": modules(OLD, "Transformer", "Dense")})
    with pytest.raises(UserError, match=r"module Dense is not known.*every vector"):
        describe(tmp_path)


def test_what_is_done_to_a_text_before_it_is_split_is_refused_not_left_out(tmp_path):
    write(tmp_path, {"modules.json": modules(NEW, "Transformer", "Normalize")})
    write(tmp_path, {"sentence_bert_config.json": {"do_lower_case": True}})
    with pytest.raises(UserError, match=r"sentence_bert_config\.json: do_lower_case for a"):
        describe(tmp_path)
    write(tmp_path, {"tokenizer_config.json": {"do_lower_case": True}})
    assert describe(tmp_path).normalize
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    write(tmp_path, {"config_sentence_transformers.json": prompts})
    assert describe(tmp_path).normalize
    prompts["default_prompt_name"] = "query"
    write(tmp_path, {"config_sentence_transformers.json": prompts})
    with pytest.raises(UserError, match="the prompt 'query' stands before each text"):
        describe(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path, {"modules.json": "[{"})
    with pytest.raises(UserError, match=r"modules\.json: not readable as JSON"):
        describe(tmp_path)
    write(tmp_path, {"modules.json": modules(OLD, "Transformer", "Pooling")})
    with pytest.raises(UserError, match=r"1_Pooling/config\.json: not readable"):
        describe(tmp_path)


@pytest.mark.parametrize("name", ["mean", "max", "cls"])
def test_poolings_are_found_by_name(name):
    assert pooling_named(name).name == name


@pytest.mark.parametrize("name", ["cls+mean", "weightedmean", "__init__"])
def test_an_unknown_pooling_lists_what_exists(name):
    with pytest.raises(UserError, match="known are: cls, max, mean"):
        pooling_named(name)
