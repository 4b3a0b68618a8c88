"""What a reader sees: the paper's shape, honest labels, exact columns, the same bytes each time."""

import csv
import io
import json

import pytest

from sbert_repro.tables import launch, render
from sbert_repro.tables.assemble import cells, in_short, sheet
from sbert_repro.tables.render import as_csv, as_json, as_markdown


@pytest.fixture
def finished(planned, work):
    """A function that runs the small table in a profile and gives its sheet."""

    def make(profile="paper", changes=()):
        made = planned(profile, changes)
        return sheet(made, launch.local(made, work, lambda done: None))

    return make


def lines(sheet):
    return list(csv.DictReader(io.StringIO(as_csv(sheet))))


def test_the_csv_has_exactly_the_agreed_columns(finished):
    header = as_csv(finished()).splitlines()[0]
    assert header == (
        "table,row,column,metric,paper,ours,sd,n,ci_low,ci_high,delta,verdict,note,run_keys,command"
    )


def test_a_line_for_every_cell_of_the_paper(finished):
    found = lines(finished())
    assert len(found) == 5 * 3
    nli = next(line for line in found if line["row"] == "NLI" and line["column"] == "A")
    assert nli["metric"] == "spearman"
    assert (nli["paper"], nli["ours"], nli["sd"], nli["n"]) == ("77.03", "78.0", "1.0", "3")
    assert (nli["ci_low"], nli["ci_high"], nli["delta"]) == ("77.0", "79.0", "0.97")
    assert len(nli["run_keys"].split()) == 6
    assert nli["command"] == (
        "python train.py -m profile=paper encoder=bert_base experiment=nli "
        "'seed=range(1,4)' 'evaluate=[stsb,sts12]'"
    )


def test_what_was_not_run_is_empty_and_says_why(finished):
    infersent = [line for line in lines(finished()) if line["row"] == "InferSent"]
    for line in infersent:
        assert (line["ours"], line["sd"], line["delta"], line["run_keys"]) == ("", "", "", "")
        assert (line["verdict"], line["n"], line["command"]) == ("not run", "0", "")
        assert line["note"] == (
            "encoder not available: configs/encoder/nobody_built.yaml does not exist"
        )


def test_rows_are_told_apart_by_their_label(finished):
    for profile in ("paper", "lite", "demo"):
        keys = [(line["row"], line["column"]) for line in lines(finished(profile))]
        assert len(keys) == len(set(keys))


def test_a_stand_in_is_called_what_it_is_and_never_compared(finished):
    found = {line["row"]: line for line in lines(finished("lite")) if line["column"] == "Avg."}
    assert list(found)[:3] == [
        "all-MiniLM-L6-v2, mean (in the place of mean BERT)",
        "all-MiniLM-L6-v2 fine-tuned on 20,000 NLI pairs, classification (u, v, |u-v|), mean "
        "(in the place of NLI)",
        "all-MiniLM-L6-v2 fine-tuned on 20,000 NLI pairs, classification (u, v, |u-v|), then on "
        "5,749 STSb pairs, regression, mean (in the place of NLI then STSb)",
    ]
    ran = [line for line in found.values() if line["ours"]]
    assert {line["verdict"] for line in ran} == {"stand-in"}
    assert [line["paper"] for line in ran] == ["45.0", "73.5", "80.0"]
    assert found["large"]["note"] == "no stand-in for bert_large in profile lite"


def test_the_papers_model_on_less_data_is_not_compared(finished):
    found = {line["row"]: line for line in lines(finished()) if line["column"] == "A"}
    assert found["NLI"]["verdict"] == "partial data"
    assert "NLI: 20,000 of 942,069 pairs" in found["NLI"]["note"]
    assert found["mean BERT"]["verdict"] == "off"


def test_a_changed_option_is_said_and_not_compared(finished, work):
    work.notes = []
    changed = finished("paper", ["trainer.max_steps=5", "paths.cache=/somewhere"])
    assert {line["verdict"] for line in lines(changed) if line["ours"]} == {"changed"}
    assert "> Changed on the command line: `trainer.max_steps=5`" in as_markdown(changed)
    assert "/somewhere" not in as_markdown(changed) + as_csv(changed)


def test_whole_data_and_the_papers_model_are_compared(finished, work):
    work.notes = []
    found = {line["row"]: line for line in lines(finished()) if line["column"] == "A"}
    assert found["NLI"]["verdict"] == "match"
    assert found["large"]["verdict"] == "match"
    assert found["NLI then STSb"]["verdict"] == "off"


def test_markdown_has_the_papers_shape(finished):
    text = as_markdown(finished())
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table == [
        "|  | A | B | Avg. |",
        "| --- | ---: | ---: | ---: |",
        "| mean BERT | 76.00 (50.00) | 86.00 (40.00) | 81.00 (45.00) |",
        "| **Trained** |  |  |  |",
        "| NLI | 78.00 ± 1.00 (77.03 ± 0.50) | 88.00 ± 1.00 (70.00) | 83.00 ± 1.00 (73.50) |",
        "| NLI then STSb | 78.00 ± 1.00 (85.00) | 88.00 ± 1.00 (75.00) | 83.00 ± 1.00 (80.00) |",
        "| large | 78.00 ± 1.00 (79.00) | 88.00 ± 1.00 (72.00) | 83.00 ± 1.00 (75.50) |",
        "| InferSent | — (68.00) | — (53.00) | — (60.50) |",
    ]


def test_bars_in_labels_do_not_break_the_table(finished):
    table = [x for x in as_markdown(finished("lite")).splitlines() if x.startswith("|")]
    assert {line.count("|") for line in table} == {5}
    assert "(u, v, &#124;u-v&#124;)" in "".join(table)


def test_markdown_says_where_the_numbers_come_from(finished):
    text = as_markdown(finished("lite"))
    assert "> **LITE: real data at CPU size." in text
    assert "- NLI, NLI then STSb: NLI: 20,000 of 942,069 pairs" in text
    assert "- InferSent: no number: encoder not available" in text
    assert "- Trained cells: 1 seed (3 in profile paper). No ± from one." in text
    assert "- Hardware: Some CPU, 2 cores, 4 GiB, 1 × Some GPU." in text
    assert "- Time: training 4 min (2 records), evaluation 12 s (6 records)." in text
    assert "- Code: 0123456789ab." in text
    assert "  - `python train.py profile=lite encoder=minilm_l6 experiment=nli seed=1 " in text


def test_a_collapsed_seed_is_shown_and_counted(planned, work):
    made = planned()
    low, undefined = (made.subjects[number].run for number in (3, 4))
    work.scores = {(low, "stsb"): 20.0, (undefined, "stsb"): None}
    finished = sheet(made, launch.local(made, work, lambda done: None))
    text = as_markdown(finished)
    assert "- NLI [A]: seed 3 scored 20.00, the median is 77.00; it counts." in text
    assert "- NLI then STSb [A]: seed 1 gave equal similarities for all pairs" in text
    cell = next(c for c in finished.cells if (c.paper_row, c.column) == ("NLI then STSb", "A"))
    reason = "seed 1: all similarities are equal, no correlation is defined"
    assert cell.reason == reason
    assert next(line for line in lines(finished) if line["ours"] == "")["note"].startswith(reason)
    assert "| NLI | 58.33 ± 33.20 (77.03 ± 0.50) |" in text
    assert "| NLI then STSb | — (85.00) | 88.00 ± 1.00 (75.00) | — (80.00) |" in text


def test_every_number_can_be_checked_from_the_committed_records(finished):
    found = finished()
    content = json.loads(as_json(found))
    for line, cell in zip(lines(found), content["cells"], strict=True):
        assert line["run_keys"].split() == cell["run_keys"]
        assert set(cell["run_keys"]) <= content["records"].keys()
    nli = next(c for c in content["cells"] if (c["paper_row"], c["column"]) == ("NLI", "A"))
    scores = [
        content["records"][key]["scores"]["spearman"]
        for key in nli["run_keys"]
        if content["records"][key]["settings"].get("task") == "stsb"
    ]
    assert scores == list(nli["scores"].values()) == [77.0, 78.0, 79.0]


def test_files_are_written_whole_and_twice_the_same(finished, tmp_path):
    found = finished("lite")
    files = render.write(found, tmp_path / "lite")
    first = {path: path.read_bytes() for path in files}
    render.write(found, tmp_path / "lite")
    assert {path: path.read_bytes() for path in files} == first
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert [n for n in names if n.startswith("lite")] == [
        "lite/records/table_99.json",
        "lite/table_99.csv",
        "lite/table_99.md",
    ]


def test_a_table_of_nothing_is_still_a_table(planned, work):
    work.without |= {"google-bert/bert-base-uncased", "google-bert/bert-large-uncased"}
    made = planned()
    nothing = sheet(made, launch.local(made, work, lambda done: None))
    assert {cell.verdict(1.0) for cell in cells(made, {})} == {"not run"}
    assert {line["verdict"] for line in lines(nothing)} == {"not run"}
    assert "- Nothing has been run yet." in as_markdown(nothing)


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("no stand-in for x in profile lite", "no stand-in for x in profile lite"),
        (
            "model x: no such folder, not in m/. Copy the folder",
            "model x: no such folder, not in m/",
        ),
        ("there is no x.parquet: get it with `make data`", "there is no x.parquet"),
        ("vectors x are not there: download https://x", "vectors x are not there"),
        ("no folder use: unpack https://x there", "no folder use"),
        ("word " * 50, "word " * 39 + "…"),
    ],
)
def test_reasons_are_given_without_their_advice(said, short):
    assert in_short(said) == short
