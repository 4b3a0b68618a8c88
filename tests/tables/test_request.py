"""Mistakes in the command itself."""

import pytest

from sbert_repro.errors import UserError
from sbert_repro.tables.request import Request, check, for_command, is_neutral
from sbert_repro.training import run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("poling=max", "poling"),
        ("trainer.max_stepz=1", "max_stepz"),
        ("trainer.max_steps=many", "max_steps"),
        ("seed=4", "profile.max_seeds=N"),
        ("pooling=max", "choose their own pooling"),
        ("encoder=minilm_l6", "choose their own encoder"),
    ],
)
def test_a_mistake_is_refused_before_any_row(change, said):
    with pytest.raises(UserError, match=said):
        check(Request("lite", (change,)))


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(UserError, match="demo, lite, paper"):
        check(Request("large"))


def test_each_command_gets_the_options_it_has():
    changes = ("trainer.max_steps=5", "paths.results=x", "precision=bf16", "+odd=1")
    assert for_command("train", changes) == ["trainer.max_steps=5", "paths.results=x", "+odd=1"]
    assert for_command("evaluate", changes) == ["paths.results=x", "precision=bf16", "+odd=1"]


def test_places_and_messages_change_no_number():
    neutral = ("paths.results=x", "wandb.mode=disabled", "profile.max_seeds=2")
    assert Request("lite", (*neutral, "data.limit=5")).of_numbers == ("data.limit=5",)


@pytest.mark.parametrize("option", [*run._TRAINER, *run._TRAINER_WHEN_SET])
def test_what_is_in_a_key_is_in_the_command_of_its_row(option):
    assert not is_neutral(f"trainer.{option}=1")
