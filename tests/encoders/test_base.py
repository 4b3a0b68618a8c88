"""Models that are found or not, and what their folders say about their training."""

import pytest

from sbert_repro.aliases import name_of
from sbert_repro.encoders.base import find, pooling_named, reads_pairs, trained_with
from sbert_repro.errors import UserError

# As training wrote it before names were keys, and as it writes it now.
OLD = """{"layer": "last", "loss": {"_target_": "sbert_repro.losses.cross_regression.\
CrossRegressionLoss", "error": "squared"}, "max_length": 20, "pooling": {"_target_": \
"sbert_repro.pooling.mean.MeanPooling"}, "reads": "pairs"}"""
NEW = """{"layer": "last", "loss": {"name": "cross_regression", "error": "squared"}, \
"max_length": 20, "pooling": {"name": "mean"}, "reads": "pairs"}"""


@pytest.mark.parametrize("text", [OLD, NEW], ids=["before", "now"])
def test_a_model_folder_of_any_version_names_its_components(tmp_path, text):
    (tmp_path / "sbert_repro.json").write_text(text)
    trained = trained_with(tmp_path)
    assert (name_of(trained["loss"]), trained["loss"]["error"]) == ("cross_regression", "squared")
    assert pooling_named(name_of(trained["pooling"])).name == "mean"
    assert reads_pairs(trained)


def test_a_model_of_others_says_nothing_and_a_damaged_file_is_named(tmp_path):
    assert trained_with(tmp_path) == {}
    (tmp_path / "sbert_repro.json").write_text('{"reads": "pa')
    with pytest.raises(UserError, match=r"sbert_repro\.json: damaged"):
        trained_with(tmp_path)


@pytest.mark.parametrize("name", ["mean", "max", "cls"])
def test_poolings_are_found_by_name(name):
    assert pooling_named(name).name == name


@pytest.mark.parametrize("name", ["cls+mean", "weightedmean", "__init__"])
def test_an_unknown_pooling_lists_what_exists(name):
    with pytest.raises(UserError, match="known are: cls, max, mean"):
        pooling_named(name)


def test_a_missing_model_has_a_name_without_a_path(tmp_path):
    (tmp_path / "here").mkdir()
    assert find("some-one/here", tmp_path, folder=True, mend="") == tmp_path / "here"
    with pytest.raises(UserError) as missing:
        find("some-one/here", tmp_path, folder=False, mend="download it")
    error = missing.value
    assert (error.code, error.mend) == ("missing", "download it")
    assert error.found == "here is not on this machine" and str(tmp_path) in error.where
