"""Texts on the command line arrive as typed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sbert_repro.quoting import quoted

PARSER = OverridesParser.create()


@pytest.mark.parametrize(
    "value", ["stsb", "sts12,stsb", "[a,b]", "12345678e9012345", "0123456789012345", "'sts,stsb'"]
)
def test_values_survive_hydras_grammar(value):
    parsed = PARSER.parse_override(quoted([f"task={value}"], {"task"})[0])
    assert parsed.value() == value.strip("'")
    assert not parsed.is_sweep_override()


def test_only_named_options_are_quoted_and_none_in_a_sweep():
    words = ["encoder=a", "tasks=a,b", "task=", "task=null", "--cfg"]
    assert quoted(words, {"task"}) == words
    assert quoted(["-m", "task=a,b"], {"task"}) == ["-m", "task=a,b"]
