"""Keys name what changes a number, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sbert_repro.config import Checkpoint, canonical_json, run_key

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=6), VALUES, max_size=6))
def test_the_order_of_keys_does_not_change_a_key(settings):
    backwards = dict(reversed(list(settings.items())))
    assert run_key("train", settings) == run_key("train", backwards)


def test_a_number_is_the_same_however_it_is_written():
    short = OmegaConf.create("lr: 2e-5\neps: 1e-8")
    long = OmegaConf.create("eps: 0.00000001\nlr: 0.00002")
    assert canonical_json(short) == canonical_json(long)


def test_kind_value_and_type_change_a_key():
    keys = {
        run_key("train", {"seed": 1}),
        run_key("evaluate", {"seed": 1}),
        run_key("train", {"seed": 2}),
        run_key("train", {"seed": "1"}),
        run_key("train", {}),
    }
    assert len(keys) == 5


def test_enums_are_written_by_name_and_interpolations_resolved():
    node = OmegaConf.create({"a": 3, "b": "${a}", "keep": Checkpoint.best_dev})
    assert canonical_json(node) == '{"a":3,"b":3,"keep":"best_dev"}'
