"""The commands below a table can be typed, and lead to the very runs they stand for."""

import shlex

import pytest

from sbert_repro.config import run_key
from sbert_repro.tables.commands import command

from .conftest import compose


def rows(made):
    for row in made.table.rows:
        yield row.name, [subject for subject in made.subjects if subject.row is row]


@pytest.mark.parametrize("profile", ["paper", "lite"])
def test_a_training_command_leads_to_the_runs_of_its_row(planned, work, profile):
    made = planned(profile, ["trainer.max_steps=9", "paths.results=/tmp/x"])
    for _, subjects in rows(made):
        if not subjects[0].stages:
            continue
        words = shlex.split(command(subjects))
        assert words[:2] == ["python", "train.py"]
        assert words.count("-m") == (len(subjects) > 1)
        (seeds,) = [word for word in words if word.startswith("seed=")]
        rest = [word for word in words[2:] if word not in ("-m", seeds)]
        assert not any(word.startswith("paths.") for word in rest)
        for subject in subjects:
            assert seeds in (f"seed=range(1,{len(subjects) + 1})", f"seed={subject.seed}")
            config = compose(rest).copy()
            config.seed = subject.seed
            settings = work.settings(config, [*rest, f"seed={subject.seed}"])
            assert run_key("train", settings) == subject.run
            assert list(config.evaluate) == ["stsb", "sts12"]


def test_the_command_of_an_encoder_evaluates_it(planned):
    name, (subject,) = next(rows(planned()))
    line = command([subject])
    assert name == "mean BERT"
    assert line == (
        "python scripts/evaluate.py profile=paper encoder=bert_base pooling=mean task=stsb,sts12"
    )
    words = [*shlex.split(line)[2:-1], "task='stsb,sts12'"]  # scripts/evaluate.py quotes it so
    assert compose(words, "evaluate").encoder.label == "BERT-base"


def test_no_command_for_what_cannot_be_composed(planned):
    *_, (name, subjects) = rows(planned())
    assert name == "InferSent"
    assert command(subjects) == ""
