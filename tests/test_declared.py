"""What is read from the source of a component is what its class has when it is imported."""

from __future__ import annotations

import importlib
import inspect

import pytest

from sbert_repro.compose import _components
from sbert_repro.declared import REQUIRED, component, declared

TARGETS = sorted(_components())
CONSTANTS = ("name", "VERSION", "columns", "needs", "trained_as")


def imported(target):
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("target", TARGETS)
def test_every_component_declares_in_literals_what_it_has(target):
    real, found = imported(target), declared(target)
    given = {
        name: REQUIRED if one.default is one.empty else one.default
        for name, one in inspect.signature(real).parameters.items()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    assert {name: one.default for name, one in found.parameters.items()} == given
    for name in CONSTANTS:
        if isinstance(value := getattr(real, name, None), str | int):
            assert found.constants[name] == value


@pytest.mark.parametrize(
    "path",
    [
        "sbert_repro.backbone.transformer.TransformerBackbone.VERSION",
        "sbert_repro.backbone.bilstm.BiLstmBackbone.VERSION",
        "sbert_repro.backbone.bilstm.BiLstmBackbone.layer",
    ],
)
def test_what_keys_hold_of_backbones_is_what_they_have(path):
    kind, _, name = path.rpartition(".")
    assert declared(kind).constants[name] == getattr(imported(kind), name)


def test_constants_of_modules_are_what_they_have():
    for module, name in (("backbone.fused", "VERSION"), ("data.tokens", "FORMAT")):
        real = importlib.import_module(f"sbert_repro.{module}")
        assert declared(real.__name__).constants[name] == getattr(real, name)


def test_types_are_those_that_an_annotation_names():
    found = declared("sbert_repro.encoders.transformer.TransformerEncoder").parameters
    assert found["layer"].kinds == {str}
    assert found["max_length"].kinds == {int, type(None)}
    assert declared("sbert_repro.training.optimizers.BertAdam").parameters[
        "clip_per_tensor"
    ].kinds == {float, type(None)}


def test_what_does_not_exist_is_not_declared():
    for module, name in (("median", "MedianPooling"), ("max", "MinPooling")):
        with pytest.raises(AttributeError):
            declared(f"sbert_repro.pooling.{module}.{name}")
    with pytest.raises(AttributeError, match="no class of the name min"):
        component("sbert_repro.pooling.max", "min")
