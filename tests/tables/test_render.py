"""What a reader sees: the paper's shape, honest captions, exact columns, the same bytes."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from sbert_repro.facts import rows
from sbert_repro.tables import cells, plan, render, spec
from sbert_repro.tables.cells import Caption, Cell, StandIn, Training
from sbert_repro.tables.launch import InProcess, carry_out
from sbert_repro.tables.render import Sheet, as_csv, as_json, as_markdown, sheet

from .conftest import COMPARED, FOLDED, SMALL

RESULTS = Path(__file__).resolve().parents[2] / "results"
RAW = "random 2-layer BERT on GloVe"
NLI = f"{RAW} fine-tuned on 20,000 NLI pairs, classification (u, v, |u-v|)"
LEGEND = [f"ᵃ {RAW}, in place of BERT-base"]


@pytest.fixture
def finished(planned, work):
    """A function that carries out a table in a profile and returns its sheet."""

    def make(*given, **named):
        made = planned(*given, **named)
        return sheet(made, carry_out(made, InProcess(work), lambda results: None))

    return make


def lines(sheet):
    return list(csv.DictReader(io.StringIO(as_csv(sheet))))


def text(group):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(group)
    return console.export_text()


# Files


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
    for line in (line for line in found if line["row"] == "InferSent"):
        assert (line["ours"], line["sd"], line["delta"], line["run_keys"]) == ("", "", "", "")
        assert (line["verdict"], line["n"], line["command"]) == ("not run", "0", "")
        assert line["note"] == "configs/encoder/nobody_built.yaml does not exist"


def test_a_row_keeps_the_papers_name_and_the_note_says_what_stands_in(finished):
    found = {line["row"]: line for line in lines(finished("lite")) if line["column"] == "Avg."}
    assert list(found) == ["mean BERT", "NLI", "NLI then STSb", "large", "InferSent"]
    ran = [line for line in found.values() if line["ours"]]
    assert [line["paper"] for line in ran] == ["45.0", "73.5", "80.0"]
    assert found["NLI"]["note"].startswith(f"stand-in: {NLI}, mean; NLI: 20,000 of 942,069")
    assert found["large"]["note"] == "nothing stands in for this encoder in profile lite"


def test_markdown_has_the_papers_shape(finished):
    table = [line for line in as_markdown(finished()).splitlines() if line.startswith("|")]
    assert table == [
        "|  | A | B | Avg. |",
        "| --- | ---: | ---: | ---: |",
        "| mean BERT | 76.00 (50.00) | 86.00 (40.00) | 81.00 (45.00) |",
        "| **Trained** |  |  |  |",
        "| NLI ¹ ² | 78.00 ± 1.00 (77.03 ± 0.50) | 88.00 ± 1.00 (70.00) | 83.00 ± 1.00 (73.50) |",
        "| NLI then STSb ¹ | 78.00 ± 1.00 (85.00) | 88.00 ± 1.00 (75.00) | 83.00 ± 1.00 (80.00) |",
        "| large ¹ | 78.00 ± 1.00 (79.00) | 88.00 ± 1.00 (72.00) | 83.00 ± 1.00 (75.50) |",
        "| InferSent ³ | — (68.00) | — (53.00) | — (60.50) |",
    ]


def test_a_letter_and_a_legend_say_what_stands_in(finished):
    found = finished("lite")
    table = [line for line in as_markdown(found).splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in table[2:]]
    assert names == [
        "mean BERT ᵃ",
        "**Trained**",
        "NLI ᵃ ¹ ²",
        "NLI then STSb ᵃ ¹",
        "large ³",
        "InferSent ⁴",
    ]
    assert render.legend_of(found) == LEGEND
    assert f"- {LEGEND[0]}\n" in as_markdown(found)
    assert LEGEND[0] in text(render.on_screen(found))


def test_what_holds_for_a_whole_column_is_marked_at_its_heading(finished):
    found = finished("lite", table=spec.load("6"))
    assert render.legend_of(found) == LEGEND, "one line for what stands in ten rows"
    table = as_markdown(found)
    assert "|  | NLI ᵃ ¹ | STSb ᵃ |" in table and "\n| MAX ² | " in table
    assert "\n1. NLI train: 20,000 of 942,069 pairs.\n" in table
    assert "| (&#124;u-v&#124;) |" in table, "a bar in a name does not end the cell"
    assert {line.count("|") for line in table.splitlines() if line.startswith("|")} == {4}
    assert "- MEAN, column NLI\n" in table and "- (u, v)\n" in table


def test_a_stand_in_has_the_same_letter_in_every_table(finished, table_of):
    legends = [
        line
        for table in (SMALL, FOLDED)
        for line in render.legend_of(finished("lite", table=table_of(table)))
    ]
    letters = {line.partition(" ")[2]: line[0] for line in legends}
    assert len(set(legends)) == len(letters) == len(set(letters.values()))


def test_a_row_is_shown_by_what_the_paper_prints(planned):
    found = sheet(planned("lite", table=spec.load("3")), {})
    table = [line for line in as_markdown(found).splitlines() if line.startswith("|")]
    assert len([line for line in table if line.startswith("| BERT-AFS-base ")]) == 2
    assert not [line for line in table if ", cross-topic" in line]
    assert {"BERT-AFS-base", "BERT-AFS-base, cross-topic"} <= {one["row"] for one in lines(found)}


def test_markdown_says_where_the_numbers_come_from(finished):
    said = as_markdown(finished("lite", ["profile.max_seeds=1"]))
    assert "> **LITE: real data at CPU size." in said
    assert said.partition("## Notes\n")[2].startswith(
        "\n1. NLI train: 20,000 of 942,069 pairs."
        "\n2. Look | here."
        "\n3. Not run: nothing stands in for this encoder in profile lite."
        "\n4. Not run: configs/encoder/nobody_built.yaml does not exist."
        "\n\n## How it was made\n\n- Verdicts: 9 stand-in ("
    )
    assert "; 6 not run (a note says why).\n" in said
    assert "- Seeds: 1 for each trained row (3 in profile paper), hence no ±." in said
    assert "- Time: 4 min of training (2 runs), 12 s of evaluation (6 scores)." in said
    assert "- Hardware: Some CPU, 2 cores, 4 GiB, 1 × Some GPU." in said
    assert "- Code: commit `0123456789ab`." in said
    folded = "<details>\n<summary>Commands and runs</summary>\n\n- mean BERT\n"
    assert folded in said and said.endswith("\n\n</details>\n")
    assert "  - `python train.py profile=lite encoder=glove_bert experiment=nli seed=1 " in said


def test_a_note_says_which_share_is_from_which_corpus(planned, work):
    work.facts = [
        rows(
            "nli",
            "train",
            title="NLI",
            unit="pairs",
            used=10,
            expected=942_069,
            own=8,
            shares={"snli": 3, "mnli": 5},
        )
    ]
    made = planned()
    said = as_markdown(sheet(made, carry_out(made, InProcess(work), lambda results: None)))
    assert (
        "1. NLI train: 10 pairs, 8 of them of the complete set's 942,069 (50 % MultiNLI, "
        "30 % SNLI, 20 % not in the paper).\n"
    ) in said


def test_a_changed_option_is_said(finished):
    changed = finished("paper", ["trainer.max_steps=5", "paths.cache=/somewhere"])
    assert "> Changed on the command line: `trainer.max_steps=5`" in as_markdown(changed)
    assert "/somewhere" not in as_markdown(changed) + as_csv(changed)


def test_a_collapsed_seed_is_shown_and_counted(planned, work):
    made = planned()
    low, undefined = (made.jobs[number].run for number in (3, 4))
    work.scores = {(low, "stsb"): 20.0, (undefined, "stsb"): None}
    found = sheet(made, carry_out(made, InProcess(work), lambda results: None))
    said = as_markdown(found)
    assert "\n3. Seed 3 scored 20.00, where the median is 77.00; it counts.\n" in said
    assert said.count("all similarities are equal") == 1
    reason = "seed 1: all similarities are equal, no correlation is defined"
    assert next(line for line in lines(found) if line["ours"] == "")["note"].startswith(reason)
    assert "| NLI ¹ ² | 58.33 ± 33.20 (77.03 ± 0.50) ³ |" in said
    assert "| NLI then STSb ¹ | — (85.00) ⁵ | 88.00 ± 1.00 (75.00) | — (80.00) ⁵ |" in said
    assert "\n5. No score: seed 1: all similarities are equal, no correlation is defined.\n" in said


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
    names = sorted(str(p.relative_to(tmp_path / "lite")) for p in (tmp_path / "lite").rglob("*.*"))
    assert names == ["records/table_99.json", "table_99.csv", "table_99.md"]


def test_a_table_of_nothing_is_still_a_table(planned, work):
    work.without |= {"google-bert/bert-base-uncased", "google-bert/bert-large-uncased"}
    made = planned()
    nothing = sheet(made, carry_out(made, InProcess(work), lambda results: None))
    assert {cell.verdict for cell in cells.build(made, {})} == {"not run"}
    assert {line["verdict"] for line in lines(nothing)} == {"not run"}
    said = as_markdown(nothing)
    assert "- Nothing has been run yet." in said and "ᵃ" not in said


def test_a_timed_table_is_the_same_sheet():
    table = dataclasses.replace(spec.load("7"), rows=spec.load("7").rows[:2])
    timed = Cell("InferSent", "CPU", "sentences_per_second", 137.0, ours=163.2, n=5)
    timed = dataclasses.replace(
        timed, interval=(159.04, 188.0), caption=Caption("BiLSTM"), keys=("k",), command="c"
    )
    timed = dataclasses.replace(timed, stand_ins=(StandIn("BiLSTM", "BiLSTM"),))
    timed = dataclasses.replace(timed, gflops=101.2, share=0.476)
    other = Cell("Avg. GloVe embeddings", "CPU", "sentences_per_second", None, ours=141_436.4, n=5)
    extra = {"GFLOP/s": {"InferSent": "101"}}
    found = Sheet(
        table, "lite", "SPEED", [other, timed], {"k": {}}, extra=extra, conditions=["Quiet."]
    )
    said = as_markdown(found)
    assert "Each cell: ours [slowest, fastest repeat] (the paper's)" in said
    assert "| Avg. GloVe embeddings | 141,436 |  |  |" in said
    assert "| InferSent ᵃ | 163 [159, 188] (137) |  | 101 |" in said
    assert "- ᵃ BiLSTM" in said and "- Quiet." in said and "Trained cells" not in said
    line = lines(found)[1]
    assert (line["ours"], line["ci_low"], line["delta"], line["n"]) == (
        "163.2",
        "159.04",
        "26.2",
        "5",
    )
    assert (line["verdict"], line["note"]) == (
        "other machine",
        "BiLSTM; 101 useful GFLOP/s; 48 % of the ceiling",
    )
    assert json.loads(as_json(found)) == {"records": {"k": {}}}


def test_no_committed_result_names_a_folder_of_a_machine():
    folder = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|mnt|Users|private|var|opt|data)/")
    named = [
        f"{path.relative_to(RESULTS)}: {line[:120]}"
        for path in RESULTS.rglob("*")
        if path.suffix in (".csv", ".md", ".json", ".yaml") and "runs" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if folder.search(line) or str(Path.home()) + "/" in line
    ]
    assert named == []


# Sentences


def stage(**changes):
    concatenation = ("u", "v", "|u-v|")
    return dataclasses.replace(
        Training("NLI", "pairs", 942_069, "", None, "classification", concatenation, False),
        **changes,
    )


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        (Caption("MiniLM", (), "cls"), "MiniLM, cls"),
        (Caption("MiniLM", (), "mean", "first_last"), "MiniLM, mean of layer first_last"),
        (
            Caption("MiniLM", (stage(steps=1000),), "mean"),
            "MiniLM fine-tuned on 942,069 NLI pairs for 1,000 steps, classification (u, v, |u-v|), "
            "mean",
        ),
        (
            Caption("BiLSTM", (stage(rows=None, from_scratch=True),), "max"),
            "BiLSTM trained on NLI, classification (u, v, |u-v|), max",
        ),
        (
            Caption(
                "MiniLM",
                (stage(data="BWS", rows=None, part="topic"),),
                "",
                "last",
                (("BWS", "AFS"),),
            ),
            "MiniLM fine-tuned on all topics but one of BWS, classification (u, v, |u-v|), "
            "on BWS instead of AFS",
        ),
    ],
)
def test_captions(caption, said):
    assert render.caption_of(caption) == said


def test_parts_and_data_that_stand_in_are_said(finished, table_of):
    found = finished("lite", table=table_of(FOLDED))
    said = as_markdown(found)
    assert "|  | ρ ᵈ |" in said and "- ᵈ BWS argument similarity, in place of AFS\n" in said
    assert "| SVR ¹ | — (63.33) |" in said
    assert "\n1. Not run: the paper's number is that of Misra et al. (2016); there is no" in said
    few = as_markdown(finished("lite", ["profile.max_parts=2"], table=table_of(FOLDED)))
    assert "\n2. 2 of 3 topics.\n3. 2 of 10 folds.\n" in few
    (folds,) = [line["note"] for line in lines(found) if line["row"] == "folds"]
    assert "nine folds of ten of BWS argument similarity, regression, mean, on BWS" in folds
    rows = [{"name": "fastText", "encoder": ["encoder=fasttext"], "paper": [43]}]
    (line,) = lines(finished("lite", table=table_of({**FOLDED, "rows": rows})))
    assert (line["row"], line["verdict"]) == ("fastText", "stand-in")
    assert "on BWS argument similarity instead of AFS" in line["note"]


def test_a_long_reason_is_cut_between_words():
    cell = Cell("r", "c", "m", 1.0, reasons=(plan.Reason("missing", "word " * 50),), runs=(0, 1))
    assert render.reason_of(cell) == "word " * 39 + "…"


# The dry run


def test_a_dry_run_shows_keys_reasons_and_sums(planned, work):
    work.without |= {"google-bert/bert-large-uncased"}
    made = planned()
    said = text(render.dry_run(made, plan.cost_of(made, work.records())))
    assert made.jobs[1].run in said
    assert "(1) /m: model google-bert/bert-large-uncased is not there: copy it" in said
    assert "(2) configs/encoder/nobody_built.yaml does not exist" in said
    (large,) = [line for line in said.splitlines() if line.strip().startswith("large")]
    assert "1–3" in large and "not known yet" in large and "needs (1)" in large
    assert "Cells, seed by seed: 8 cannot be run, 14 missing (" in said
    assert "(seeds of a trained row: 3, in profile paper 3)" in said
    assert (
        "Left to do: 9 trainings, 22 scores, 11 of them blocked because something is missing."
        in said
    )
    assert "Nothing like them has been measured yet, so there is no estimate." in said
    assert "Shared, trained once: 3 of NLI, NLI then STSb." in said


def test_an_estimate_names_its_machine(planned, work):
    first = planned().jobs[1]
    work.train(first.config, first.overrides)
    said = render.left(plan.cost_of(planned(), work.records()))
    assert (
        "About 4 min (0.07 h) for 2 of 8 trainings and 0 of 22 scores, as measured on Some CPU, "
        "2 cores, 4 GiB, 1 × Some GPU; nothing like the others has been measured." in said
    )


def test_all_tables_in_a_line_each_and_a_sum():
    cost = plan.Cost(trainings=9, scores=22, blocked=2)
    total = plan.AllTables([("1", cost, 0, 0), ("2", cost, 9, 2), ("7", None, 0, 0)])
    assert render.all_tables(total, plan.Cost(trainings=9), "paper") == [
        "Table 1: 9 trainings, 22 scores, 2 of both blocked.",
        "Table 2: 9 trainings (9 of them shared with tables above), 22 scores, 2 of both blocked. "
        "2 rows are not counted: they cannot be planned here (see its own dry run).",
        "Table 7: timed, nothing is trained.",
        "All tables, profile paper: 9 trainings, 0 of them blocked, and 0 scores; what tables "
        "share counts once.",
    ]
    total.missing.update({"no model": 7, "no data": 9})
    record = {"hardware": {"cpu": "Some CPU", "cores": 2}}
    known = plan.Cost(trainings=9, known_trainings=9, seconds=7200.0, like=[record])
    assert render.all_tables(total, known, "paper")[4:] == [
        "About 2.0 h (2.00 h) for 9 of 9 trainings, as measured on Some CPU, 2 cores. Scores are "
        "not in it.",
        "Missing (in front: how many models of rows wait for it):",
        "      9 no data",
        "      7 no model",
        "`make data` gets all of it, or says at its end what to fetch by hand.",
    ]


def test_differences_stand_beside_the_columns_that_are_shown(planned, work, table_of, tmp_path):
    made = planned(table=dataclasses.replace(table_of(COMPARED), name="recipes"))
    keys = [job.run for job in made.jobs if job.row.name == "second"]
    work.scores = {(key, "stsb"): 80.0 + seed for seed, key in enumerate(keys)}
    found = sheet(made, carry_out(made, InProcess(work), lambda results: None))
    said = as_markdown(found)
    assert said.startswith("# Recipes (profile paper)")
    assert "|  | A | Avg. | Δ A | Δ Avg. |" in said
    shown = "81.00 ± 1.00 (77.03) | 84.50 ± 1.00 | +3.00 (p 0.021) | +1.50 (p 0.140)"
    assert f"| second | {shown} |" in said
    noted = {(line["row"], line["column"]): line["note"] for line in lines(found)}
    assert "+3.00 (p 0.021) from the first row of its block" in noted["second", "A"]
    assert "from the first" not in noted["first", "A"]
    assert ("second", "B") in noted, "a column that is not shown is in the CSV"
    names = {path.name for path in render.write(found, tmp_path)}
    assert names == {"recipes.csv", "recipes.md", "recipes.json"}
