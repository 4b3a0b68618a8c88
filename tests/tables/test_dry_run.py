"""Looking at a plan: what is done, what is left, what it would take; never an invented number."""

import io

import pytest
from rich.console import Console

from sbert_repro.tables import cost, dry_run, launch
from sbert_repro.tables.remarks import machine


def text(made, work):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(dry_run.shown(made, cost.estimate(made, work.records())))
    return console.export_text()


def test_nothing_measured_means_no_estimate(planned, work):
    made = planned()
    shown = text(made, work)
    assert "Left to do: 9 trainings, 22 scores, 2 of them blocked by what is not there." in shown
    assert "Nothing like them has been measured yet, so there is no estimate." in shown
    assert "Shared, trained once: 3 of NLI, NLI then STSb." in shown
    assert made.subjects[1].run in shown
    assert "(1) encoder not available: configs/encoder/nobody_built.yaml does not exist" in shown
    assert work.trainings == work.scorings == []


def test_the_estimate_is_what_the_same_work_took(planned, work):
    made = planned()
    first = made.subjects[1]
    work.train(first.config, first.overrides)
    left = cost.estimate(planned(), work.records())
    assert left.trainings == 8
    assert left.seconds == 2 * 120.0, "the other two seeds; large and STSb were never measured"
    assert left.unmeasured == 6 + 22
    assert "as measured on Some CPU, 2 cores, 4 GiB, 1 × Some GPU; 28 of them" in str(left)


@pytest.mark.parametrize("option", [{"compile": True}, {"devices": 2}])
def test_what_was_trained_by_other_means_is_no_measure(planned, work, option):
    made = planned()
    record = work.train(made.subjects[1].config, made.subjects[1].overrides)
    record["settings"]["trainer"] = {**record["settings"].get("trainer", {}), **option}
    assert cost.estimate(planned(), [record]).seconds == 0


@pytest.mark.parametrize(("threads", "said"), [(2, ""), (1, ", 1 thread"), (4, ", 4 threads")])
def test_threads_are_named_where_they_are_not_the_cores(threads, said):
    record = {"hardware": {"cpu": "Some CPU", "cores": 2}, "threads": threads}
    assert machine(record) == f"Some CPU, 2 cores{said}"


def test_scores_of_the_same_backbone_are_measured_too(planned, work):
    made = planned()
    first = made.subjects[1]
    work.train(first.config, first.overrides)
    work.score(first.config, first.run, first.tasks)
    left = cost.estimate(planned(), work.records())
    assert left.scores == 20
    assert left.seconds == 2 * 120.0 + 12 * 2.0, "12 scores of models that began as BERT-base"


def test_when_all_is_done_nothing_is_left(planned, work):
    launch.local(planned(), work, lambda done: None)
    shown = text(planned(), work)
    assert "Cells, seed by seed: 2 cannot be run, 20 done (3 of the table's 3 seeds" in shown
    assert "Left to do: 0 trainings, 2 scores, 2 of them blocked" in shown
    assert "missing" not in shown


def test_seeds_without_a_key_share_a_line(planned, work):
    work.without |= {"google-bert/bert-large-uncased"}
    lines = [line for line in text(planned(), work).splitlines() if "large" in line]
    assert "1–3" in lines[0] and "not known yet" in lines[0] and "needs" in lines[0]
