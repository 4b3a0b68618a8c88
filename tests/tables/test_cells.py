"""A cell: its number over seeds, its verdict and its caption from fields, the command it names."""

import dataclasses
import shlex

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sbert_repro import facts
from sbert_repro.config import run_key
from sbert_repro.errors import UserError
from sbert_repro.facts import fact
from sbert_repro.tables import cells
from sbert_repro.tables.cells import Cell, mean_cell, over_seeds
from sbert_repro.tables.launch import InProcess, carry_out
from sbert_repro.tables.plan import Reason
from sbert_repro.tables.render import VERDICTS, caption_of
from sbert_repro.tables.spec import Column

from .conftest import COMPARED, FOLDED, compose, named, of_rows

AVERAGE = Column("Avg.", None, "mean", (), ("A", "B"))
numbers = st.floats(-100, 100, allow_nan=False)


def cell(scores=None, paper=77.0, tolerance=1.0, intervals=(), **more):
    values = {"row": "r", "column": "A", "metric": "spearman", "paper": paper}
    return Cell(**values, **over_seeds(scores or {}, intervals), tolerance=tolerance, **more)


def done(made, work):
    return carry_out(made, InProcess(work), lambda results: None)


def by_name(made, work):
    return {(c.row, c.column): c for c in cells.build(made, done(made, work))}


# Numbers


def test_mean_and_sample_deviation_over_seeds():
    found = cell({1: 76.0, 2: 77.0, 3: 79.0})
    assert found.ours == pytest.approx(77.3333333)
    assert found.sd == pytest.approx(1.5275252)
    assert found.n == 3
    assert found.delta == pytest.approx(0.3333333)
    assert cell({1: 76.0}).sd is None, "one seed"


def test_an_undefined_seed_is_not_dropped():
    found = cell({1: 76.0, 2: None, 3: 78.0})
    assert found.n == 2
    assert found.ours is None and found.sd is None and found.delta is None
    assert found.verdict == "not run"


def test_the_interval_is_averaged_over_seeds_and_needs_all_of_them():
    scores = {1: 76.0, 2: 77.0}
    assert cell(scores, intervals=[(70.0, 80.0), (72.0, 82.0)]).interval == (71.0, 81.0)
    assert cell(scores, intervals=[(70.0, 80.0)]).interval is None
    assert cell({}).interval is None


def test_a_mean_is_taken_seed_by_seed():
    parts = [cell({1: 70.0, 2: 74.0}), dataclasses.replace(cell({1: 80.0, 2: 90.0}), column="B")]
    mean = mean_cell(AVERAGE, parts, 75.0)
    assert mean.scores == {1: 75.0, 2: 82.0}
    assert mean.ours == 78.5
    assert mean.sd == pytest.approx(4.9497475)
    assert (mean.column, mean.metric, mean.interval) == ("Avg.", "mean", None)


def test_no_mean_is_taken_over_a_missing_cell():
    reason = Reason("missing", "no data")
    missing = dataclasses.replace(cell(), column="B", reasons=(reason,), runs=(0, 1))
    mean = mean_cell(AVERAGE, [cell({1: 70.0}), missing], 75.0)
    assert (mean.ours, mean.verdict) == (None, "not run")
    assert (mean.reasons, mean.mean_without) == ((reason,), ("B",))


def test_no_mean_is_taken_over_an_undefined_score():
    undefined = dataclasses.replace(cell({1: None}), column="B")
    mean = mean_cell(AVERAGE, [cell({1: 70.0}), undefined], 75.0)
    assert mean.scores == {1: None}
    assert (mean.ours, mean.mean_without) == (None, ("B",))


def test_a_mean_of_incomparable_cells_is_incomparable_and_keeps_keys_and_facts():
    known = fact("library", library="x", version="1")
    parts = [
        cell({1: 70.0}, stand_in=True, keys=("k1", "k2"), facts=(known,)),
        dataclasses.replace(cell({1: 80.0}, keys=("k1", "k3"), facts=(known,)), column="B"),
    ]
    mean = mean_cell(AVERAGE, parts, 75.0)
    assert mean.verdict == "stand-in"
    assert mean.keys == ("k1", "k2", "k3")
    assert mean.facts == (known,)


# Verdicts


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (77.0, "match"),
        (78.0, "match"),
        (76.0, "match"),
        (78.01, "near"),
        (75.0, "near"),
        (79.0, "near"),
        (79.01, "off"),
        (74.9, "off"),
        (99.0, "off"),
    ],
)
def test_verdicts_look_both_ways(ours, verdict):
    assert cell({1: ours}).verdict == verdict


def test_the_edge_of_the_tolerance_is_within_it_whatever_binary_says():
    assert cell({1: 78.03}, paper=77.03).verdict == "match"
    assert cell({1: 77.13}, paper=77.03, tolerance=0.1).verdict == "match"


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"stand_in": True, "partial": True, "changed": True}, "stand-in"),
        ({"partial": True, "changed": True}, "partial data"),
        ({"changed": True, "planned": 2}, "changed"),
        ({"planned": 2}, "incomplete"),
        ({"tolerance": None}, "other machine"),
        ({"paper": None, "tolerance": None}, "other machine"),
        ({"paper": None}, "not in the paper"),
    ],
)
def test_what_is_not_comparable_is_never_a_match(fields, verdict):
    assert cell({1: 77.0}, **fields).verdict == verdict
    assert cell({}, **fields).verdict == "not run"


@given(numbers, numbers, st.floats(0.01, 10))
def test_a_verdict_does_not_depend_on_the_sign_of_the_distance(paper, distance, tolerance):
    over = cell({1: paper + distance}, paper=paper, tolerance=tolerance)
    under = cell({1: paper - distance}, paper=paper, tolerance=tolerance)
    edge = min(abs(abs(distance) - limit * tolerance) for limit in (1, 2))
    assert edge < 1e-6 or over.verdict == under.verdict
    assert over.verdict in VERDICTS


def test_verdicts_of_whole_tables(planned, work):
    found = by_name(planned(), work)
    assert found["NLI", "A"].verdict == "partial data"
    assert found["mean BERT", "A"].verdict == "off"
    assert {c.verdict for c in by_name(planned("lite"), work).values()} == {"stand-in", "not run"}
    work.facts, work.kept = [of_rows("nli", "NLI", 942_069, 942_069)], {}
    found = by_name(planned(), work)
    assert (found["NLI", "A"].verdict, found["NLI then STSb", "A"].verdict) == ("match", "off")
    changed = by_name(planned("paper", ["trainer.max_steps=5", "paths.cache=/x"]), work)
    assert {c.verdict for c in changed.values()} == {"changed", "not run"}


@pytest.mark.parametrize("profile", ["paper", "lite"])
def test_no_verdict_or_caption_is_read_from_a_sentence(
    planned, table_of, work, profile, monkeypatch
):
    """All sentences of facts become "x", and all notes of the table: nothing else changes."""
    tables = [planned(profile), planned(profile, ["profile.max_parts=2"], table_of(FOLDED))]

    def told():
        found = [c for made in tables for c in cells.build(made, done(made, work))]
        return [(c.row, c.column, c.verdict, c.caption, c.ours) for c in found]

    before = told()
    assert {"paper": "partial data", "lite": "stand-in"}[profile] in {line[2] for line in before}
    monkeypatch.setattr(facts, "SENTENCES", dict.fromkeys(facts.SENTENCES, lambda one: "x"))
    rows = {id(job.row): job.row for made in tables for job in made.jobs}
    for row in rows.values():
        object.__setattr__(row, "note", "x")
    assert told() == before


# Parts


@pytest.fixture
def folded(table_of):
    return table_of(FOLDED)


def test_a_cell_is_the_mean_over_the_parts_seed_by_seed(planned, folded, work):
    made = planned(table=folded)
    for number, job in enumerate(named(made, "topics")):
        work.scores[job.run, job.tasks[0]] = 70.0 + number
    found = by_name(made, work)["topics", "ρ"]
    assert found.scores == {1: 71.0, 2: 74.0}
    assert (found.ours, found.planned, found.interval) == (72.5, 2, None)
    assert len(found.keys) == 12
    assert found.command.startswith("python train.py -m ")
    assert "data.split=train_topic_dp,train_topic_gc,train_topic_gm seed=1,2" in found.command
    assert "evaluate" not in found.command


def test_a_seed_counts_once_all_its_parts_are_there(planned, folded, work):
    made = planned(table=folded)
    work.fails_at[named(made, "topics")[4].run] = UserError("no luck")
    found = by_name(made, work)["topics", "ρ"]
    assert list(found.scores) == [1] and found.verdict == "incomplete"
    assert (found.runs, found.of_parts) == ((5, 6), True)
    assert found.reasons == (Reason("refused", "no luck", failed=True),)


def test_a_part_that_is_not_defined_leaves_its_seed_undefined(planned, folded, work):
    made = planned(table=folded)
    work.scores[named(made, "topics")[0].run, "afs_topic_dp"] = None
    assert by_name(made, work)["topics", "ρ"].scores[1] is None


def test_some_of_the_parts_are_partial_data(planned, folded, work):
    found = by_name(planned("paper", ["profile.max_parts=2"], table=folded), work)["folds", "ρ"]
    assert found.facts[0] == fact("parts", run=2, all=30, unit="folds")
    assert found.partial


def test_a_quoted_row_has_no_model(planned, folded, work):
    found = by_name(planned(table=folded), work)["SVR", "ρ"]
    assert (found.ours, found.verdict, found.command) == (None, "not run", "")
    assert [reason.code for reason in found.reasons] == ["quoted"]


# Captions


def nli(*words):
    return compose(["profile=lite", "encoder=minilm_l6", "experiment=nli", *words])


def record(*known):
    return {"facts": list(known)}


def test_the_count_is_that_of_the_training_rows():
    dev = of_rows("nli", "NLI", 2_000, 19_657, split="dev")
    mixed = of_rows("nli", "NLI", 4_000, 942_069, own=1_973)
    assert cells.training(nli(), None).rows is None, "no record, no claim"
    assert cells.training(nli(), record(fact("facts_of_before"))).rows is None
    assert cells.training(nli(), record(dev, mixed)).rows == 4_000
    assert cells.training(nli(), record()).rows == 942_069


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train_within_gm_fold_3", "nine folds of ten of one topic of AFS"),
        ("train_fold_3", "nine folds of ten of AFS"),
        ("train_topic_gm", "all topics but one of AFS"),
        ("all", "AFS"),
    ],
)
def test_a_part_is_called_by_what_it_was_trained_on(split, said):
    config = compose(["experiment=afs", f"data.split={split}"])
    stage = dataclasses.replace(cells.training(config, None), rows=None)
    assert f"fine-tuned on {said}, regression" in caption_of(cells.caption(config, [stage]))


def test_a_caption_holds_what_the_model_is():
    stage = cells.training(nli("trainer.max_steps=1000"), None)
    assert (stage.data, stage.unit, stage.steps) == ("NLI", "pairs", 1000)
    assert (stage.loss, stage.concatenation) == ("classification", ("u", "v", "|u-v|"))
    found = cells.caption(nli("encoder.layer=first_last"), [stage])
    assert (found.encoder, found.pooling, found.layer) == ("all-MiniLM-L6-v2", "mean", "first_last")
    assert found.trainings == (stage,) and not stage.from_scratch
    scratch = compose(["experiment=infersent", "profile=lite"])
    assert cells.training(scratch, None).from_scratch


def test_a_model_without_a_label_is_called_by_its_folder():
    config = compose(["encoder=transformer", "encoder.path=a/b/some-model"], "evaluate")
    assert cells.caption(config).encoder == "some-model"


def test_only_what_stands_in_for_something_has_a_caption(planned, folded, work):
    assert {c.caption for c in by_name(planned(), work).values()} == {None}
    found = by_name(planned("lite", table=folded), work)["topics", "ρ"].caption
    assert found.instead_of_data == (("BWS argument similarity", "AFS"),)
    assert found.trainings[0].part == "topic"


# Commands


@pytest.mark.parametrize("profile", ["paper", "lite"])
def test_a_training_command_leads_to_the_runs_of_its_row(planned, work, profile):
    made = planned(profile, ["trainer.max_steps=9", "paths.results=/tmp/x"])
    for row in made.table.rows:
        jobs = named(made, row.name)
        if not jobs[0].stages:
            continue
        words = shlex.split(cells.command(jobs))
        assert words[:2] == ["python", "train.py"]
        assert words.count("-m") == (len(jobs) > 1)
        (seeds,) = [word for word in words if word.startswith("seed=")]
        rest = [word for word in words[2:] if word not in ("-m", seeds)]
        assert not any(word.startswith("paths.") for word in rest)
        for job in jobs:
            assert seeds in (f"seed=range(1,{len(jobs) + 1})", f"seed={job.seed}")
            config = compose(rest).copy()
            config.seed = job.seed
            settings = work.settings(config, [*rest, f"seed={job.seed}"])
            assert run_key("train", settings) == job.run
            assert list(config.evaluate) == ["stsb", "sts12"]


def test_the_command_of_an_encoder_evaluates_it(planned):
    line = cells.command(named(planned(), "mean BERT"))
    assert line == (
        "python scripts/evaluate.py profile=paper encoder=bert_base pooling=mean task=stsb,sts12"
    )
    words = [*shlex.split(line)[2:-1], "task='stsb,sts12'"]  # scripts/evaluate.py quotes it so
    assert compose(words, "evaluate").encoder.label == "BERT-base"


def test_there_is_no_command_for_what_does_not_compose(planned):
    assert cells.command(named(planned(), "InferSent")) == ""


def test_rows_are_compared_with_the_first_of_their_section(planned, work, table_of):
    made = planned(table=table_of(COMPARED))
    keys = [job.run for job in made.jobs if job.row.name == "second"]
    work.scores = {(key, "stsb"): 80.0 + seed for seed, key in enumerate(keys)}
    found = by_name(made, work)
    assert ("alone", "B") not in found and ("alone", "Avg.") not in found
    assert found["second", "B"].ours is not None and found["second", "B"].paper is None
    assert found["first", "A"].difference is None and found["alone", "A"].difference is None
    difference = found["second", "A"].difference
    assert difference.points == pytest.approx(81 - 78)  # the pretended scores: 77, 78, 79
    assert difference.p == pytest.approx(0.021312, abs=1e-5)  # t = 3 / sqrt(2 / 3), 4 degrees
    assert found["second", "Avg."].difference.points == pytest.approx(1.5)


def test_without_seeds_that_differ_there_is_no_significance():
    assert cells.welch([77.0], [76.0]) is None
    assert cells.welch([77.0, 78.0], [76.0]) is None
    assert cells.welch([77.0, None], [76.0, 75.0]) is None
    assert cells.welch([77.0, 77.0], [76.0, 76.0]) is None
    assert cells.welch([70.0, 71.0, 72.0], [70.0, 71.0, 72.0]) == 1.0
