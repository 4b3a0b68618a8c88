"""What task=… may name, and what is read for it."""

import numpy as np
import pandas as pd
import pytest

from sbert_repro.errors import UserError
from sbert_repro.evaluation.tasks import TASKS, load, resolve
from sbert_repro.facts import sentences

SEVEN = ["sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr"]


def names(text, root):
    return [task.name for task in resolve(text, root)]


def test_sts_is_the_seven_columns_of_table_1(tmp_path):
    assert names("sts", tmp_path) == SEVEN


@pytest.mark.parametrize(
    "text", ["stsb,sickr_all,stsb", " stsb , sickr_all", "[stsb,sickr_all]", ["stsb", "sickr_all"]]
)
def test_lists_in_every_spelling_name_each_task_once(text, tmp_path):
    assert names(text, tmp_path) == ["stsb", "sickr_all"]


@pytest.mark.parametrize("text", ["stsz", "", "stsb,,sickr", "STSB"])
def test_an_unknown_task_lists_what_exists(text, tmp_path):
    with pytest.raises(UserError, match=r"there is no such task.*sts, .*sts12.*sickr_all.*all"):
        resolve(text, tmp_path)


def test_all_is_every_task_whose_files_are_all_there(small_root, tmp_path):
    present = {"sts12", "stsb", "sickr", "sickr_all"}
    assert set(names("all", small_root)) == present
    (small_root / "sickr" / "dev.parquet").unlink()
    assert set(names("all", small_root)) == present - {"sickr_all"}
    with pytest.raises(UserError, match="run: make data"):
        resolve("all", tmp_path / "nowhere")


def test_splits_are_pooled_in_order_with_a_fact_for_each(small_root):
    pairs = load(TASKS["sickr_all"], small_root, allow_partial=True)
    splits = [
        pd.read_parquet(small_root / "sickr" / f"{s}.parquet") for s in ("train", "dev", "test")
    ]
    whole = pd.concat(splits)
    assert pairs.first == whole["sentence1"].tolist()
    assert pairs.second == whole["sentence2"].tolist()
    np.testing.assert_array_equal(pairs.gold, whole["score"])
    assert pairs.subset is None
    assert sentences(pairs.facts) == [
        "SICK-R: 9 of 4,500 training pairs",
        "SICK-R: 7 of 500 dev pairs",
        "SICK-R: 8 of 4,927 test pairs",
    ]  # fmt: skip
    assert len(set(pairs.sentences)) == len(pairs.sentences)
    assert set(pairs.sentences) == {*pairs.first, *pairs.second}


def test_incomplete_data_are_refused_unless_allowed_even_after_a_reading_that_allowed(small_root):
    assert load(TASKS["stsb"], small_root, allow_partial=True).facts[0]["used"] == 30
    with pytest.raises(UserError, match="30 of 1,379"):
        load(TASKS["stsb"], small_root)


def test_a_file_that_changes_is_read_again(small_root):
    before = load(TASKS["sts12"], small_root, allow_partial=True)
    path = small_root / "sts12" / "test.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    after = load(TASKS["sts12"], small_root, allow_partial=True)
    assert (len(before.first), len(after.first)) == (40, 39)
    assert before.sha256 != after.sha256
    path.unlink()
    with pytest.raises(UserError, match=r"sts12/test\.parquet"):
        load(TASKS["sts12"], small_root, allow_partial=True)


@pytest.mark.parametrize("name", SEVEN)
def test_the_real_test_sets_are_those_of_table_1(name, data_root):
    sizes = dict(zip(SEVEN, (3108, 1500, 3750, 3000, 1186, 1379, 4927), strict=True))
    pairs = load(TASKS[name], data_root)
    assert len(pairs.gold) == sizes[name] and sentences(pairs.facts) == []
    assert (pairs.subset is not None) == (name not in ("stsb", "sickr"))
