"""Components keep their names wherever their classes move."""

from __future__ import annotations

import pytest

from sbert_repro.aliases import FORMER, name_of
from sbert_repro.errors import UserError


def test_a_name_is_taken_as_it_stands():
    assert name_of({"name": "mean", "version": 1}) == "mean"


@pytest.mark.parametrize(("path", "word"), FORMER.items())
def test_an_import_path_of_before_has_a_name(path, word):
    assert name_of({"_target_": path, "error": "softmax"}) == word


def test_an_import_path_that_was_never_written_is_an_error():
    with pytest.raises(UserError, match=r"elsewhere\.MedianPooling"):
        name_of({"_target_": "elsewhere.MedianPooling"})
