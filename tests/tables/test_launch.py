"""Working through a plan: once each, resumable, a failure stays in its row."""

import pytest

from sbert_repro.errors import Diverged, UserError
from sbert_repro.tables import launch, one_by_one
from sbert_repro.tables.assemble import cells, sheet
from sbert_repro.tables.render import as_csv, as_json, as_markdown


def run(made, work):
    seen = []
    done = launch.local(made, work, lambda done: seen.append(dict(done)))
    return done, seen


def by_name(made, done):
    return {(cell.paper_row, cell.column): cell for cell in cells(made, done)}


def test_a_shared_run_is_trained_once_and_each_score_is_made_once(planned, work):
    made = planned()
    done, _ = run(made, work)
    assert len(work.trainings) == len(set(work.trainings)) == 9, "3 seeds of 3 distinct runs"
    assert len(work.scorings) == len(set(work.scorings)) == 20
    assert len(done) == len(made.subjects)
    assert not any(outcome.failed for outcome in done.values())


def test_the_second_time_nothing_is_done_and_the_files_are_the_same(planned, work):
    made = planned()
    first = sheet(made, run(made, work)[0])
    work.trainings.clear(), work.scorings.clear()
    again = planned()
    assert one_by_one.left(again) == []
    second = sheet(again, run(again, work)[0])
    assert work.trainings == work.scorings == []
    for written in (as_csv, as_markdown, as_json):
        assert written(first) == written(second)


def test_what_is_known_is_shown_at_the_start_and_after_each_row(planned, work):
    made = planned()
    _, seen = run(made, work)
    assert [len(done) for done in seen] == [1, 2, 5, 8, 11]


def test_an_interruption_goes_through_and_the_next_start_goes_on(planned, work):
    made = planned()
    second = made.subjects[2].run
    work.fails_at[second] = KeyboardInterrupt()
    seen = []
    with pytest.raises(KeyboardInterrupt):
        launch.local(made, work, lambda done: seen.append(dict(done)))
    first = list(work.trainings)
    assert by_name(made, seen[-1])["NLI", "A"].reason == "not run yet"
    work.fails_at.clear()
    run(planned(), work)
    assert len(first) == 1
    assert len(work.trainings) == len(set(work.trainings)) == 9


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (UserError("loss is NaN at step 7"), "failed: loss is NaN at step 7"),
        (RuntimeError("out of\nmemory"), "failed: RuntimeError: out of memory"),
    ],
)
def test_a_failure_stays_in_its_rows_and_is_not_tried_twice(planned, work, problem, said, caplog):
    made = planned()
    broken = made.subjects[2].run
    work.fails_at[broken] = problem
    done, _ = run(made, work)
    cell = by_name(made, done)
    assert cell["NLI", "A"].reason == f"2 of 3 seeds; {said}"
    assert cell["NLI", "A"].n == 2
    assert cell["NLI then STSb", "A"].reason == f"2 of 3 seeds; {said}"
    assert cell["large", "A"].n == 3 and cell["mean BERT", "A"].n == 1
    assert sum(outcome.failed for outcome in done.values()) == 2
    assert said.removeprefix("failed: ") in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(problem, RuntimeError)


def test_a_failure_is_tried_again_by_the_next_start(planned, work):
    made = planned()
    work.fails_at[made.subjects[2].run] = RuntimeError("cable")
    run(made, work)
    work.fails_at.clear()
    done, _ = run(planned(), work)
    assert not any(outcome.failed for outcome in done.values())


def test_a_fault_found_while_planning_stays_in_its_row_and_is_a_failure(planned, work, caplog):
    work.without.add("google-bert/bert-large-uncased")
    work.fault = KeyError("no such layer")
    made = planned()
    done, _ = run(made, work)
    cell = by_name(made, done)
    assert cell["large", "A"].reason == "failed: KeyError: 'no such layer'"
    assert cell["NLI", "A"].n == 3
    assert [outcome.failed for outcome in done.values()].count(True) == 1
    assert "Traceback" in caplog.text


def test_a_row_that_cannot_be_run_is_no_failure(planned, work):
    work.without.add("google-bert/bert-large-uncased")
    made = planned()
    done, _ = run(made, work)
    assert not any(outcome.failed for outcome in done.values())
    reason = by_name(made, done)["large", "Avg."].reason
    assert reason == "model google-bert/bert-large-uncased: no such folder"


def test_an_unknown_launcher_lists_those_there_are():
    assert launch.launcher("local") is launch.local
    with pytest.raises(UserError, match=r"launcher=slurm: .* there are: local"):
        launch.launcher("slurm")


def test_a_seed_that_diverged_is_shown_in_the_same_words_and_is_no_failure(planned, work):
    made = planned()
    key = made.subjects[2].run
    work.fails_at[key] = Diverged("seed 2 diverged: the loss is nan at step 7. Look at the rows")
    done, _ = run(made, work)
    first = by_name(made, done)
    assert first["NLI", "A"].reason == "2 of 3 seeds; seed 2 diverged: the loss is nan at step 7"
    assert first["NLI", "A"].n == 2
    assert not any(outcome.failed for outcome in done.values())
    work.diverged[key] = work.fails_at.pop(key)
    work.trainings.clear()
    again = planned()
    done, _ = run(again, work)
    assert work.trainings == [], "it is not tried again"
    second = by_name(again, done)
    assert second["NLI", "A"] == first["NLI", "A"]
    assert second["NLI then STSb", "A"].reason == first["NLI then STSb", "A"].reason
