"""Rows become models with keys: what is shared, what is done, what cannot be run and why."""

import pytest

from sbert_repro.tables import launch, plan, request, spec

from .conftest import SMALL, written


def named(made, name):
    return [subject for subject in made.subjects if subject.row.name == name]


def test_seeds_and_stages(planned):
    made = planned()
    assert made.seeds == (1, 2, 3)
    assert [s.seed for s in named(made, "mean BERT")] == [0]
    assert [s.seed for s in named(made, "NLI")] == [1, 2, 3]
    assert [len(s.stages) for s in named(made, "NLI then STSb")] == [2, 2, 2]
    assert named(made, "NLI")[0].tasks == ["stsb", "sts12"]
    assert named(made, "NLI")[1].config.seed == 2


def test_never_more_seeds_than_the_profile_allows(planned):
    assert planned("lite").seeds == (1,)
    assert planned("paper", ["profile.max_seeds=2"]).seeds == (1, 2)


def test_the_first_stage_is_the_other_rows_run(planned):
    made = planned()
    for single, double in zip(named(made, "NLI"), named(made, "NLI then STSb"), strict=True):
        assert double.stages[0].key == single.run
        assert double.run != single.run
    assert len({subject.run for subject in named(made, "NLI")}) == 3
    assert plan.shared(made) == {("NLI", "NLI then STSb"): 3}


def test_an_unavailable_row_says_why_and_the_others_go_on(planned, work):
    work.without.add("google-bert/bert-large-uncased")
    made = planned()
    (large, *_), (infersent,) = named(made, "large"), named(made, "InferSent")
    assert large.reason.startswith("model google-bert/bert-large-uncased: no such folder")
    assert large.stages[0].key is None
    assert infersent.reason.endswith("configs/encoder/nobody_built.yaml does not exist")
    assert not named(made, "NLI")[0].reason


@pytest.mark.parametrize("missing", ["nli", "stsb"])
def test_missing_data_are_known_before_training(planned, work, missing):
    work.without.add(missing)
    subject = named(planned(), "NLI")[0]
    assert subject.reason == f"there is no {missing}: get it with `make data`"
    assert subject.run is not None


def test_data_are_not_asked_for_when_the_run_is_done(planned, work):
    done = named(planned(), "NLI")[0]
    work.train(done.config, done.overrides)
    work.without.add("nli")
    made = planned()
    assert named(made, "NLI")[0].reason == ""
    assert named(made, "NLI")[1].reason.startswith("there is no nli")


def test_lite_has_one_stand_in(planned):
    made = planned("lite")
    assert named(made, "NLI")[0].instead_of == "bert_base"
    assert named(made, "NLI")[0].config.encoder.label == "all-MiniLM-L6-v2"
    assert named(made, "large")[0].reason == "no stand-in for bert_large in profile lite"


def test_a_change_reaches_the_rows_that_know_it(planned):
    made = planned("paper", ["trainer.max_steps=7"])
    assert named(made, "NLI")[0].config.trainer.max_steps == 7
    assert named(made, "NLI then STSb")[0].stages[0].config.trainer.max_steps == 7
    assert not named(made, "mean BERT")[0].reason


def test_a_row_whose_options_do_not_compose_says_so(planned, tmp_path):
    odd = {"name": "odd", "train": ["encoder=bert_base", "poling=max"], "paper": [1, 2, 3]}
    made = planned(table=written(tmp_path, {**SMALL, "rows": [odd]}))
    assert all("poling" in subject.reason for subject in made.subjects)


def test_the_three_tables_share_their_runs(data_root, models_root, tmp_path):
    """Table 2's first stage, Table 1's row and Table 6's two rows are one training run."""
    changes = (
        f"paths.data={data_root}",
        f"paths.models={models_root}",
        f"paths.results={tmp_path}",
    )
    asked = request.Request("lite", changes)
    base = request.check(asked)
    work = launch.Here(base)
    runs = {}
    for name in ("1", "2", "6"):
        for subject in plan.make(spec.load(name), asked, base, work).subjects:
            columns = ", ".join(column.name for column in subject.columns)
            runs[name, subject.row.name, columns] = [stage.key for stage in subject.stages]
    (nli,) = runs["1", "SBERT-NLI-base", "STS12, STS13, STS14, STS15, STS16, STSb, SICK-R"]
    assert nli is not None
    assert runs["2", "SBERT-NLI-base", "Spearman"] == [nli]
    assert runs["2", "SBERT-NLI-STSb-base", "Spearman"][0] == nli
    assert runs["6", "MEAN", "NLI"] == runs["6", "(u, v, |u-v|)", "NLI"] == [nli]
    (stsb,) = runs["6", "MEAN", "STSb"]
    assert runs["2", "SBERT-STSb-base", "Spearman"] == [stsb]
    ablation = {key for (name, _, _), keys in runs.items() if name == "6" for key in keys}
    assert len(ablation) == 12, "13 cells, of which two are the same run"


@pytest.mark.parametrize("number", ["1", "2", "3", "5"])
@pytest.mark.parametrize("profile", ["lite", "demo"])
def test_infersent_is_trained_where_its_weights_are_not_at_hand(planned, number, profile):
    made = planned(profile, table=spec.load(number))
    (subject,) = named(made, "InferSent - GloVe")
    assert (subject.seed, subject.instead_of, subject.reason) == (1, "infersent", "")
    (stage,) = subject.stages
    assert stage.config.data.name == "nli", "also where another data set is measured"
    assert stage.config.encoder["_target_"].endswith("BiLstmEncoder")
    assert {"3": ["bws"], "2": ["stsb"]}.get(number, subject.tasks) == subject.tasks


def test_the_papers_infersent_is_the_published_one(planned):
    (subject,) = named(planned("paper", table=spec.load("1")), "InferSent - GloVe")
    assert (subject.seed, subject.stages, subject.instead_of) == (0, (), "")
    assert subject.config.encoder.path == "infersent1.pkl"


def test_a_length_typed_for_a_table_holds_for_first_stages_too(planned):
    made = planned(changes=("trainer.max_steps=5",))
    rows = {subject.row.name: subject for subject in made.subjects}
    first, second = rows["NLI then STSb"].stages
    assert (first.config.trainer.max_steps, second.config.trainer.max_steps) == (5, 5)
    assert first.key == rows["NLI"].stages[0].key, "still trained once for both rows"
