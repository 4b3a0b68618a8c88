"""The paper's sentences: true of its own numbers, false of exchanged ones, silent without."""

import csv
import itertools
import json
import math
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from sbert_repro.errors import UserError
from sbert_repro.facts import fact
from sbert_repro.ledger import Published
from sbert_repro.tables import claims, spec
from sbert_repro.tables.claims import FAILS, HOLDS, RULES, UNSURE, judge
from sbert_repro.tables.printed import HEADLINE, headline, read, read_all, summary

from .printing import of_the_paper, with_numbers

ROOT = Path(__file__).resolve().parents[2]
CLAIMS, PAPER = claims.load()
OF_ID = {claim.id: claim for claim in CLAIMS}
HELPS = OF_ID["nli-first-helps-sbert-base"]
AFTER, ALONE = HELPS.refs


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The tables of the paper, and no number of ours."""
    return of_the_paper(tmp_path_factory.mktemp("results"))


def paper_numbers(empty, claim):
    cells = {ref: empty[ref[0]].cell(*ref[1:]) for ref in claim.refs}
    return {ref: cell.paper for ref, cell in cells.items()}


# The file


def test_there_are_enough_of_every_table_and_each_says_something_else():
    assert len(CLAIMS) >= 25
    assert {ref[0] for claim in CLAIMS for ref in claim.refs} == {*"1234567", HEADLINE}
    assert {claim.rule for claim in CLAIMS} == set(RULES)
    assert len({claim.says for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.says.endswith(".") and '"' not in claim.says for claim in CLAIMS)


def test_the_headline_is_that_of_the_benchmark():
    from sbert_repro.benchmarks.headline import PAPER as TIMED
    from sbert_repro.benchmarks.headline import PAPER_N
    from sbert_repro.tables.printed import HEADLINE_N

    assert (TIMED, PAPER_N) == (PAPER, HEADLINE_N)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_holds_on_the_papers_own_numbers(claim, empty):
    judged = judge(claim, empty)
    for found in judged.findings:
        assert found.paper > found.comparison.over, found


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_flips_when_its_cells_are_exchanged(claim, empty):
    numbers = paper_numbers(empty, claim)
    half = min(0.001, *numbers.values())
    assert judge(claim, with_numbers(empty, numbers, half / 100)).verdict == HOLDS
    if claim.rule == "within":
        for first, *_ in claim.cells:
            numbers[first] += 3 * claim.by
    else:
        for first, second, *_ in claim.cells:
            numbers[first], numbers[second] = numbers[second], numbers[first]
    assert judge(claim, with_numbers(empty, numbers, half / 100)).verdict == FAILS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_nothing_is_said_while_a_cell_is_missing(claim, empty):
    numbers = paper_numbers(empty, claim)
    missing = next(ref for ref in reversed(claim.refs) if ref[1] != "Dor et al.")
    del numbers[missing]
    judged = judge(claim, with_numbers(empty, numbers))
    assert judged.verdict == UNSURE
    said = claims.verdict_of(judged)
    assert said.startswith(f"cannot say: {missing[1]}") and said.endswith(" not run")
    assert claims.evidence_of(judged) == "" and claims._line(judged)["ours"] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "better"}, "there is no rule better; there are: above, "),
        ({"cells": [["2", "SBERT", "Spearman"]] * 2}, "the paper has no SBERT (Table 2, Spearman)"),
        ({"cells": [["2", "SBERT-STSb-base", "Spearman"]]}, "1 cells"),
        ({"rule": "gap"}, "gap compares 4"),
        ({"rule": "ratio", "by": 2}, "ratio is for times"),
        ({"rule": "ratio", "by": 0}, "a ratio is above 0"),
        ({"limit": 3}, "unknown ['limit']"),
        ({"cells": [["2", "SBERT-STSb-base"]] * 2}, "expected [table, row, column]"),
        (
            {"cells": [["3", "tf-idf", ["r", "ρ"]], ["3", ["tf-idf"] * 3, "r"]]},
            "its lists differ in length",
        ),
        ({"by": "much"}, "could not convert"),
    ],
)
def test_what_is_no_claim_is_refused_in_one_line(change, said, tmp_path):
    cells = [["2", "SBERT-STSb-base", "Spearman"], ["2", "BERT-STSb-base", "Spearman"]]
    good = {"id": "one", "section": "4.2", "says": "So it is.", "rule": "above", "cells": cells}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"headline": PAPER, "claims": [{**good, **change}]}))
    with pytest.raises(UserError) as refused:
        claims.load(path)
    assert said in str(refused.value) and str(path) in str(refused.value)
    path.write_text(yaml.safe_dump({"headline": PAPER, "claims": [good, good]}))
    with pytest.raises(UserError, match="two claims are called one"):
        claims.load(path)


# Rules

NUMBERS = st.lists(st.floats(-100, 100), min_size=4, max_size=4)
BY = st.floats(0, 50)
REFS = [("t", name, "c") for name in "abcd"]


def complies(rule, numbers, by):
    values = dict(zip(REFS, numbers, strict=True))
    return all(
        sum(weight * values[ref] for weight, ref in one.terms) > one.over
        for one in RULES[rule](REFS, by)
    )


@given(NUMBERS, BY)
def test_rules_mean_what_their_names_say(numbers, by):
    a, b, c, d = numbers
    distances = [abs(one - other) for one, other in itertools.combinations(numbers, 2)]
    differences = [a - b, a - c, a - d, b - a, c - a, d - a, *distances, (a - b) - (c - d)]
    assume(all(abs(abs(difference) - by) > 1e-9 for difference in differences))
    assert complies("above", numbers, by) == (a - max(b, c, d) > by)
    assert complies("below", numbers, by) == (min(b, c, d) - a > by)
    assert complies("within", numbers, by) == (max(numbers) - min(numbers) < by)
    assert complies("gap", numbers, by) == ((a - b) - (c - d) > by)


@given(st.lists(st.floats(0.01, 1000), min_size=4, max_size=4), st.floats(0.1, 10))
def test_a_ratio_is_compared_by_logarithms(numbers, by):
    a, *others = numbers
    assume(all(abs(a / other / by - 1) > 1e-9 for other in others))
    logs = [math.log(number) for number in numbers]
    assert all(one.logarithms for one in RULES["ratio"](REFS, by))
    assert complies("ratio", logs, by) == all(a > by * other for other in others)


@given(NUMBERS, BY, st.permutations([1, 2, 3]), st.floats(-50, 50))
def test_rules_know_no_order_of_the_others_and_no_origin(numbers, by, order, shift):
    differences = [abs(one - other) for one, other in itertools.combinations(numbers, 2)]
    assume(all(abs(difference - by) > 1e-6 for difference in differences))
    moved = [numbers[0] + shift, *(numbers[place] + shift for place in order)]
    for rule in ("above", "below", "within"):
        assert complies(rule, moved, by) == complies(rule, numbers, by)


# How sure

TABLE_2 = {"2": read(spec.load("2"), Path("nowhere"))}


def of_seeds(empty, after, alone):
    seeds = {AFTER: dict(enumerate(after)), ALONE: dict(enumerate(alone))}
    numbers = {ref: sum(found.values()) / len(found) for ref, found in seeds.items()}
    return with_numbers(empty, numbers, 0.01, seeds)


@given(
    st.lists(st.floats(80, 90), min_size=2, max_size=6),
    st.lists(st.floats(80, 90), min_size=2, max_size=6),
)
def test_seeds_are_compared_as_welch_does(after, alone):
    assume(max(after) - min(after) > 0.01 and max(alone) - min(alone) > 0.01)
    (found,) = judge(HELPS, of_seeds(TABLE_2, after, alone)).findings
    (evidence,) = found.evidence
    theirs = ttest_ind(after, alone, equal_var=False)
    low, high = theirs.confidence_interval(0.95)
    assert (evidence.kind, evidence.count) == ("seeds", min(len(after), len(alone)))
    assert (evidence.low, evidence.high) == pytest.approx((low, high))
    assert evidence.p == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(
    ("after", "alone", "verdict"),
    [
        ([85.1, 85.2, 85.3], [84.1, 84.2, 84.3], HOLDS),
        ([84.1, 84.2, 84.3], [85.1, 85.2, 85.3], FAILS),
        ([84.1, 84.9, 85.9], [83.9, 84.2, 85.0], UNSURE),
    ],
)
def test_an_interval_across_the_threshold_says_nothing(after, alone, verdict, empty):
    judged = judge(HELPS, of_seeds(empty, after, alone))
    assert judged.verdict == verdict
    line = claims._line(judged)
    assert (line["verdict"], line["paper"]) == (verdict, 0.68)
    assert "3 seeds (p " in line["evidence"] and line["ci_low"] < line["ours"] < line["ci_high"]


def test_both_kinds_of_interval_have_to_agree(empty):
    tables = of_seeds(empty, [85.1, 85.2, 85.3], [84.1, 84.2, 84.3])

    def wide(sums):
        ((first, second),) = sums
        assert first[:2] == (1.0, "spearman") and second[:2] == (-1.0, "spearman")
        assert [len(first[2]), len(second[2])] == [3, 3], "the evaluations of all seeds"
        return [(-0.5, 2.5)], {"key": "k", "kind": "bootstrap"}

    judged = judge(HELPS, tables, wide)
    assert judged.verdict == UNSURE
    assert claims.evidence_of(judged).endswith("1,000 test items")
    assert claims._ours(judged) == "+1.00 ± 1.50"
    assert judge(HELPS, tables, lambda sums: ([(0.5, 1.5)], {"key": "k"})).verdict == HOLDS


def test_one_seed_is_said_and_without_any_interval_nothing_is(empty):
    one = {AFTER: {1: 85.0}, ALONE: {1: 84.0}}
    numbers = {AFTER: 85.0, ALONE: 84.0}
    judged = judge(HELPS, with_numbers(empty, numbers, 0.5, one))
    assert (judged.verdict, claims._ours(judged)) == (HOLDS, "+1.00 ± 0.71")
    assert claims.evidence_of(judged) == "1 seed, the cells' own intervals"
    judged = judge(HELPS, with_numbers(empty, numbers, 0.5, one, interval=None))
    assert (judged.verdict, claims.evidence_of(judged)) == (UNSURE, "1 seed, no interval")


def test_scores_of_the_same_runs_are_one(empty):
    claim = OF_ID["concatenation-matters-more"]
    full, plain, mean, maximum = claim.refs
    numbers = {full: 80.0, plain: 66.0, mean: 80.0, maximum: 79.0}
    tables = with_numbers(empty, numbers, 0.5)
    cells = tables["6"].cells
    same = tables["6"].cell(*mean[1:]).keys
    moved = [
        cell.__class__(**{**vars(cell), "keys": same})
        if (cell.row, cell.column) == full[1:]
        else cell
        for cell in cells
    ]
    tables["6"] = tables["6"].__class__(tables["6"].table, tuple(moved), tables["6"].records)
    judged = judge(claim, tables)
    assert judged.deciding.ours == pytest.approx(13.0)
    ((evidence,),) = (found.evidence for found in judged.findings)
    # Of (80 - 66) - (80 - 79) only 79 - 66 is left, with two intervals of half a point.
    assert evidence.high - evidence.low == pytest.approx(2 * math.hypot(0.5, 0.5))


def test_a_mean_is_taken_apart_into_its_test_sets(empty):
    claim = OF_ID["averaged-bert-below-glove"]
    tables = with_numbers(empty, dict.fromkeys(claim.refs, 50.0), 1.0)
    asked = []
    judged = judge(claim, tables, lambda sums: asked.append(sums))
    assert len(asked[0][0]) == 14 and {abs(weight) for weight, *_ in asked[0][0]} == {1 / 7}
    ((evidence,),) = (found.evidence for found in judged.findings)
    assert evidence.high == pytest.approx(math.sqrt(14) / 7)


def test_repeats_bound_a_ratio(empty):
    claim = OF_ID["smart-batching-helps-on-cpu"]
    first, second = claim.refs
    judged = judge(claim, with_numbers(empty, {first: 60.0, second: 50.0}, 2.0, n=5))
    line = claims._line(judged)
    assert line["ours"] == 1.2 and line["evidence"] == "5 repeats"
    assert (line["ci_low"], line["ci_high"]) == (round(58 / 52, 4), round(62 / 48, 4))
    assert judge(claim, with_numbers(empty, {first: 52.0, second: 50.0}, 2.0)).verdict == UNSURE


def test_a_row_quoted_from_others_has_their_number(empty):
    claim = OF_ID["sbert-above-dor-et-al"]
    sbert, _ = claim.refs
    assert judge(claim, with_numbers(empty, {sbert: 80.0}, 0.2)).verdict == HOLDS
    assert judge(claim, with_numbers(empty, {sbert: 78.0}, 0.2)).verdict == FAILS


# What is said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"stand_in": True}, "holds of the stand-ins"),
        ({"partial": True}, "holds on part of the data"),
        ({"changed": True}, "holds with changed options"),
        ({"planned": 2}, "holds with seeds missing"),
        ({}, "holds"),
    ],
)
def test_a_verdict_says_what_it_was_found_of(more, said, empty):
    tables = with_numbers(empty, {AFTER: 85.0, ALONE: 84.0}, 0.1, **more)
    assert claims.verdict_of(judge(HELPS, tables)) == said


def test_the_demos_speeds_are_those_of_a_stand_in(empty):
    claim = OF_ID["smart-batching-helps-on-cpu"]
    numbers = dict(zip(claim.refs, (60.0, 50.0), strict=True))
    real = {"facts": (fact("random_weights", model="bert", layers=12, width=768),)}
    said = {
        claims.verdict_of(judge(claim, with_numbers(empty, numbers, 1.0, **more)))
        for more in (real, {"facts": (fact("demo_model"),)})
    }
    assert said == {"holds on this machine", "holds of the stand-ins"}


def test_files_have_a_line_for_each_claim(empty):
    judged = [judge(claim, empty) for claim in CLAIMS]
    page = claims.as_markdown(judged, "paper", "", summary(empty.values()))
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == len(CLAIMS) + 2 and {line.count("|") for line in table} == {8}
    assert f"{len(CLAIMS)} claims: 0 hold, 0 fail, {len(CLAIMS)} cannot be said." in page
    assert f"- Table 1: {len(empty['1'].cells)} not run" in page
    lines = list(csv.DictReader(claims.as_csv(judged).splitlines()))
    assert [line["claim"] for line in lines] == [claim.id for claim in CLAIMS]
    assert list(lines[0]) == claims.COLUMNS
    assert len(json.loads(claims.as_json(judged, "paper"))["claims"]) == len(CLAIMS)


def test_the_command_writes_its_files_and_sends_wandb_a_table_once(monkeypatch, capsys, tmp_path):
    script, sent = ROOT / "scripts" / "claims.py", []
    monkeypatch.setattr("sbert_repro.tables.launch.track", lambda *given: sent.append(given[1:]))
    monkeypatch.setattr(sys, "argv", [str(script), "profile=lite", f"paths.results={tmp_path}"])
    records = tmp_path / "lite" / "records"
    records.mkdir(parents=True)
    for name in ("table_6.json", "table_7.json", "headline.json"):
        shutil.copy(ROOT / "results" / "lite" / "records" / name, records)
    for _ in range(2):
        runpy.run_path(str(script), run_name="__main__")
        out = capsys.readouterr().out
        assert f"{len(CLAIMS)} claims: " in out and out.endswith("lite/claims.md\n")
        assert "\nTable 1: " in out and "\nTable 7: " in out, "the verdicts of the tables"
    ((name, text),) = sent
    assert name == "claims" and text == (tmp_path / "lite" / "claims.csv").read_text("utf-8")
    page = (tmp_path / "lite" / "claims.md").read_text("utf-8")
    assert "> **LITE: " in page and str(tmp_path) not in page
    assert not (tmp_path / "runs").exists(), "nothing was computed"


def test_the_committed_claims_are_those_of_the_committed_tables():
    folder = ROOT / "results" / "lite"
    tables = {**read_all(folder), HEADLINE: headline(folder, PAPER)}
    published = Published(folder / "records")

    def kept(sums):
        from sbert_repro.evaluation.bootstrap import intervals
        from sbert_repro.ledger import Ledger

        return intervals(sums, Ledger(folder / "no runs"), published)

    judged = [judge(claim, tables, kept) for claim in CLAIMS]
    assert claims.as_csv(judged) == (folder / "claims.csv").read_text(encoding="utf-8"), (
        "make claims PROFILE=lite"
    )
