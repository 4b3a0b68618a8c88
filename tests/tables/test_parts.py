"""Rows with a training run for each fold or topic, quoted rows, data sets that stand in."""

from __future__ import annotations

import pytest

from sbert_repro.errors import UserError
from sbert_repro.tables import launch, render
from sbert_repro.tables.assemble import cells, sheet

FOLDED = {
    "number": 99,
    "title": "Arguments",
    "caption": "Spearman × 100.",
    "tolerance": 1.0,
    "seeds": 2,
    "columns": [{"name": "ρ", "task": "afs", "metric": "spearman"}],
    "rows": [
        {"name": "GloVe", "encoder": ["encoder=glove"], "paper": [34]},
        {"name": "SVR", "quoted": "Misra et al. (2016)", "paper": [63.33]},
        {
            "name": "topics",
            "train": ["encoder=bert_base", "experiment=afs"],
            "parts": "topics",
            "paper": [77],
        },
        {
            "name": "folds",
            "train": ["encoder=bert_base", "experiment=afs"],
            "parts": "folds",
            "paper": [74],
        },
    ],
}


@pytest.fixture
def folded(table_of):
    return table_of(FOLDED)


def named(made, name):
    return [subject for subject in made.subjects if subject.row.name == name]


def done(made, work):
    return launch.local(made, work, lambda _: None)


def cell(made, work, name):
    (found,) = [c for c in cells(made, done(made, work)) if c.paper_row == name]
    return found


def test_each_part_is_a_run_of_its_own_scored_on_what_it_left_out(planned, folded):
    made = planned(table=folded)
    topics = named(made, "topics")
    assert [(s.seed, s.part) for s in topics] == [
        (seed, f"topic_{topic}") for seed in (1, 2) for topic in ("dp", "gc", "gm")
    ]
    assert topics[1].config.data.split == "train_topic_gc" and topics[1].tasks == ["afs_topic_gc"]
    assert "data.split=train_topic_gc" in topics[1].overrides
    assert len({s.run for s in topics}) == 6 and len(named(made, "folds")) == 20
    assert list(topics[1].config.evaluate) == ["afs_topic_gc"]


def test_a_cell_is_the_mean_over_the_parts_seed_by_seed(planned, folded, work):
    made = planned(table=folded)
    for number, subject in enumerate(named(made, "topics")):
        work.scores[subject.run, subject.tasks[0]] = 70.0 + number
    found = cell(made, work, "topics")
    assert found.scores == {1: 71.0, 2: 74.0}
    assert (found.ours, found.planned, found.interval) == (72.5, 2, None)
    assert len(found.keys) == 12


def test_a_seed_counts_once_all_its_parts_are_there(planned, folded, work):
    made = planned(table=folded)
    work.fails_at[named(made, "topics")[4].run] = UserError("no luck")
    found = cell(made, work, "topics")
    assert list(found.scores) == [1] and found.reason == "5 of 6 runs; failed: no luck"


def test_a_part_that_is_not_defined_leaves_its_seed_undefined(planned, folded, work):
    made = planned(table=folded)
    subject = named(made, "topics")[0]
    work.scores[subject.run, "afs_topic_dp"] = None
    assert cell(made, work, "topics").scores[1] is None


def test_the_command_runs_all_parts(planned, folded, work):
    command = cell(planned(table=folded), work, "topics").command
    assert command.startswith("python train.py -m ")
    assert "data.split=train_topic_dp,train_topic_gc,train_topic_gm seed=1,2" in command
    assert "evaluate" not in command


def test_a_quoted_row_prints_its_true_reason(planned, folded, work):
    made = planned(table=folded)
    (subject,) = named(made, "SVR")
    assert subject.reason.startswith("the paper's number is that of Misra et al. (2016); there is")
    found = cell(made, work, "SVR")
    assert found.ours is None and found.verdict(1.0) == "not run"


def test_missing_data_are_said_before_training(planned, folded, work):
    work.without.add("afs")
    subject = named(planned(table=folded), "topics")[0]
    assert subject.reason == "there is no afs: get it with `make data`"


def test_a_data_set_that_stands_in_is_named_everywhere(planned, folded, work):
    made = planned("lite", table=folded)
    glove, topics = named(made, "GloVe")[0], named(made, "topics")
    assert (glove.tasks, glove.instead_of) == (["bws"], "glove")
    assert topics[0].config.data.name == "bws" and topics[0].tasks == ["bws_topic_dp"]
    found = cell(made, work, "topics")
    assert found.verdict(1.0) == "stand-in"
    assert "BWS argument similarity in the place of AFS" in found.notes
    assert "fine-tuned on all topics but one of BWS argument similarity, regression" in found.row
    assert "nine folds of ten of BWS" in cell(made, work, "folds").row


def test_an_encoder_of_the_paper_on_other_data_says_so(planned, table_of, work):
    rows = [{"name": "fastText", "encoder": ["encoder=fasttext"], "paper": [43]}]
    made = planned("lite", table=table_of({**FOLDED, "rows": rows}))
    assert named(made, "fastText")[0].instead_of == ""
    found = cell(made, work, "fastText")
    assert found.row == "fastText (on BWS argument similarity)"
    assert found.verdict(1.0) == "stand-in"


def test_a_profile_may_run_some_of_the_parts_and_says_so(planned, folded, work):
    made = planned("paper", ["profile.max_parts=2"], table=folded)
    assert [s.part for s in named(made, "folds")] == ["fold_0", "fold_1"] * 2
    found = cell(made, work, "folds")
    assert "2 of 10 folds" in found.notes and found.verdict(1.0) != "match"


def test_the_whole_table_can_be_written(planned, folded, work, tmp_path):
    made = planned(table=folded)
    render.write(sheet(made, done(made, work)), tmp_path)
    text = (tmp_path / "table_99.md").read_text(encoding="utf-8")
    assert "| SVR | — (63.33) |" in text and "fold_9" in text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"encoder": ["encoder=glove"], "parts": "folds"}, "parts is one of folds, topics"),
        ({"train": ["encoder=bert_base"], "parts": "thirds"}, "parts is one of folds, topics"),
        ({"quoted": "X", "encoder": ["encoder=glove"]}, "needs one of train, encoder and quoted"),
    ],
)
def test_what_a_row_cannot_be_is_one_line(table_of, row, said):
    with pytest.raises(UserError, match=said):
        table_of({**FOLDED, "rows": [{"name": "odd", "paper": [1], **row}]})
