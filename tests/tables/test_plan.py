"""Rows become jobs with keys: what is shared, done, impossible, and what it would cost."""

import dataclasses
import re

import pytest
from omegaconf import OmegaConf

from sbert_repro.compose import compose_table
from sbert_repro.config import CONFIG_DIR, canonical_json, run_key
from sbert_repro.errors import UserError
from sbert_repro.tables import plan, spec
from sbert_repro.tables.launch import InProcess, LedgerWork, carry_out
from sbert_repro.training import run

from .conftest import FOLDED, SMALL, named, written

PROFILES = sorted(path.stem for path in (CONFIG_DIR / "profile").glob("*.yaml"))
LITE = {"bert_base": "minilm_l6"}


def test_places_and_messages_change_no_number():
    neutral = ("paths.results=x", "wandb.mode=disabled", "profile.max_seeds=2")
    assert plan.Request("lite", (*neutral, "data.limit=5")).of_numbers == ("data.limit=5",)


@pytest.mark.parametrize("option", run._TRAINER)
def test_what_is_in_a_key_is_in_the_command_of_its_row(option):
    assert not plan.is_neutral(f"trainer.{option}=1")


def test_seeds_and_stages(planned):
    made = planned()
    assert made.seeds == (1, 2, 3)
    assert [job.seed for job in named(made, "mean BERT")] == [0]
    assert [job.seed for job in named(made, "NLI")] == [1, 2, 3]
    assert [len(job.stages) for job in named(made, "NLI then STSb")] == [2, 2, 2]
    assert named(made, "NLI")[0].tasks == ["stsb", "sts12"]
    assert named(made, "NLI")[1].config.seed == 2
    assert [job.number for job in made.jobs] == list(range(11))
    assert named(made, "NLI")[1].title == "table 99 [3/11] NLI (A, B, seed 2)"


def test_never_more_seeds_than_the_profile_allows(planned):
    assert planned("lite").seeds == (1, 2, 3)
    assert planned("demo").seeds == (1,)
    assert planned("paper", ["profile.max_seeds=2"]).seeds == (1, 2)


def test_a_table_of_one_seed_has_as_many_as_the_profile_asks_for(planned, tmp_path):
    one = written(tmp_path, {**SMALL, "seeds": 1})
    assert planned("paper", table=one).seeds == (1,)
    assert planned("demo", table=one).seeds == (1,)
    assert planned("lite", table=one).seeds == (1, 2, 3)
    assert planned("lite", ["profile.min_seeds=1"], table=one).seeds == (1,)
    assert planned("lite", ["profile.max_seeds=2"], table=one).seeds == (1, 2)


def test_the_first_stage_is_the_other_rows_run(planned):
    made = planned()
    for single, double in zip(named(made, "NLI"), named(made, "NLI then STSb"), strict=True):
        assert double.stages[0].key == single.run
        assert double.run != single.run
    assert len({job.run for job in named(made, "NLI")}) == 3
    assert plan.shared(made) == {("NLI", "NLI then STSb"): 3}


def test_a_row_that_cannot_be_run_says_why_and_the_others_go_on(planned, work):
    work.without.add("google-bert/bert-large-uncased")
    made = planned()
    (large, *_), (infersent,) = named(made, "large"), named(made, "InferSent")
    assert large.reason.code == "missing"
    assert large.reason.found == "model google-bert/bert-large-uncased is not there"
    assert large.reason.advice == f"/m: {large.reason.found}: copy it"
    assert large.stages[0].key is None
    assert infersent.reason.found == "configs/encoder/nobody_built.yaml does not exist"
    assert not named(made, "NLI")[0].reason


@pytest.mark.parametrize("missing", ["nli", "stsb"])
def test_missing_data_are_known_before_training(planned, work, missing):
    work.without.add(missing)
    job = named(planned(), "NLI")[0]
    assert job.reason.found == f"there is no {missing}"
    assert job.run is not None


def test_data_are_not_asked_for_when_the_run_is_done(planned, work):
    done = named(planned(), "NLI")[0]
    work.train(done.config, done.overrides)
    work.without.add("nli")
    made = planned()
    assert named(made, "NLI")[0].reason is None
    assert named(made, "NLI")[1].reason.found == "there is no nli"


def test_a_reason_names_no_folder_of_this_machine():
    found = "no folder /home/somebody/models/use, nor ../shared/use; see https://host/a/b"
    assert plan.Reason.of(UserError(found)).found == (
        "no folder use, nor ../shared/use; see https://host/a/b"
    )
    full = plan.Reason.of(OSError(28, "No space left on device", "/home/somebody/x"))
    assert (full.code, full.found) == ("failed", "OSError: No space left on device")


def test_a_change_reaches_the_rows_that_know_it(planned):
    made = planned("paper", ["trainer.max_steps=7"])
    first, second = named(made, "NLI then STSb")[0].stages
    assert (first.config.trainer.max_steps, second.config.trainer.max_steps) == (7, 7)
    assert first.key == named(made, "NLI")[0].run, "still trained once for both rows"
    assert named(made, "mean BERT")[0].reason is None


def test_a_row_whose_options_do_not_compose_says_so(planned, tmp_path):
    odd = {"name": "odd", "train": ["encoder=bert_base", "poling=max"], "paper": [1, 2, 3]}
    made = planned(table=written(tmp_path, {**SMALL, "rows": [odd]}))
    assert all("poling" in job.reason.advice for job in made.jobs)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [n for n in spec.existing() if not spec.load(n).timed])
def test_every_row_of_every_table_composes(planned, name, profile):
    """What composes but is not there is no matter of this test: the work is pretended."""
    made = planned(profile, table=spec.load(name))
    codes = {job.reason.code for job in made.jobs if job.reason}
    assert codes <= ({"quoted", "no_stand_in"} if profile == "lite" else {"quoted"})
    assert any(job.reason is None for job in made.jobs)


def test_the_three_tables_share_their_runs(data_root, models_root, tmp_path):
    """Table 2's first stage, Table 1's row and Table 6's two rows are one training run."""
    changes = (
        f"paths.data={data_root}",
        f"paths.models={models_root}",
        f"paths.results={tmp_path}",
    )
    request = plan.Request("lite", changes)
    base = compose_table("lite", changes)
    work = LedgerWork(base)
    runs = {}
    for name in ("1", "2", "6"):
        for job in plan.make(spec.load(name), request, base, work).jobs:
            columns = ", ".join(column.name for column in job.columns)
            runs[name, job.row.name, columns] = [stage.key for stage in job.stages]
    (nli,) = runs["1", "SBERT-NLI-base", "STS12, STS13, STS14, STS15, STS16, STSb, SICK-R"]
    assert nli is not None
    assert runs["2", "SBERT-NLI-base", "Spearman"] == [nli]
    assert runs["2", "SBERT-NLI-STSb-base", "Spearman"][0] == nli
    assert runs["6", "MEAN", "NLI"] == runs["6", "(u, v, |u-v|)", "NLI"] == [nli]
    (stsb,) = runs["6", "MEAN", "STSb"]
    assert runs["2", "SBERT-STSb-base", "Spearman"] == [stsb]
    ablation = {key for (name, _, _), keys in runs.items() if name == "6" for key in keys}
    assert len(ablation) == 12, "13 cells, of which two are the same run"


# Stand-ins


def test_the_paper_profile_uses_the_papers_encoders():
    words = ["encoder=bert_large", "experiment=nli"]
    assert plan.encoder_instead(words, {}, "paper") == (words, "")


def test_a_stand_in_replaces_the_encoder_and_the_rest_stays():
    words = ["encoder=bert_base", "pooling=max"]
    assert plan.encoder_instead(words, LITE, "lite") == (
        ["encoder=minilm_l6", "pooling=max"],
        "bert_base",
    )


def test_what_stands_for_itself_is_no_stand_in():
    words = ["encoder=minilm_l6", "pooling=mean"]
    assert plan.encoder_instead(words, {"minilm_l6": "minilm_l6"}, "lite") == (words, "")


def test_without_a_stand_in_no_other_pre_trained_model_is_used():
    with pytest.raises(UserError) as caught:
        plan.encoder_instead(["encoder=bert_large"], LITE, "lite")
    assert caught.value.code == "no_stand_in"
    assert caught.value.found == "nothing stands in for this encoder in profile lite"


def test_an_encoder_of_another_kind_is_used_as_it_is(tmp_path):
    (tmp_path / "vectors.yaml").write_text("_target_: sbert_repro.encoders.words.Average\n")
    assert plan.encoder_instead(["encoder=vectors"], LITE, "lite", tmp_path) == (
        ["encoder=vectors"],
        "",
    )


def test_a_training_may_stand_in_for_an_encoder():
    rows = {row.name: row for row in spec.load("1").rows}
    own = {"infersent": ["experiment=infersent"]}
    infersent, glove = rows["InferSent - GloVe"], rows["Avg. GloVe embeddings"]
    assert plan.trained_instead(infersent, own) == dataclasses.replace(
        infersent, trained=True, overrides=("experiment=infersent",), instead_of="infersent"
    )
    assert plan.trained_instead(glove, own) is glove
    assert plan.trained_instead(infersent, {}) is infersent


@pytest.mark.parametrize("number", ["1", "2", "3", "5"])
def test_infersent_is_trained_where_its_weights_are_not_at_hand(planned, number):
    made = planned("lite", table=spec.load(number))
    jobs = named(made, "InferSent - GloVe")
    assert tuple(job.seed for job in jobs) == made.seeds
    job = jobs[0]
    assert (job.seed, job.instead_of, job.reason) == (1, "infersent", None)
    (stage,) = job.stages
    assert stage.config.data.name == "nli", "also where another data set is measured"
    assert stage.config.encoder["_target_"].endswith("BiLstmEncoder")
    assert {"3": ["bws"], "2": ["stsb"]}.get(number, job.tasks) == job.tasks
    if number == "1":
        (job,) = named(planned("paper", table=spec.load("1")), "InferSent - GloVe")
        assert (job.seed, job.stages, job.instead_of) == (0, (), "")
        assert job.config.encoder.path == "infersent1.pkl"


# Folds and topics


@pytest.fixture
def folded(table_of):
    return table_of(FOLDED)


def test_each_part_is_a_run_of_its_own_scored_on_what_it_left_out(planned, folded):
    made = planned(table=folded)
    topics = named(made, "topics")
    assert [(job.seed, job.part) for job in topics] == [
        (seed, f"topic_{topic}") for seed in (1, 2) for topic in ("dp", "gc", "gm")
    ]
    assert topics[1].config.data.split == "train_topic_gc" and topics[1].tasks == ["afs_topic_gc"]
    assert "data.split=train_topic_gc" in topics[1].overrides
    assert len({job.run for job in topics}) == 6 and len(named(made, "folds")) == 2 * 30
    assert list(topics[1].config.evaluate) == ["afs_topic_gc"]
    # A machine of a cluster puts its own folder in.
    assert OmegaConf.is_interpolation(topics[1].config.paths, "data")


@pytest.mark.parametrize(
    ("profile", "changes", "first", "count"),
    [
        ("paper", [], ["within_dp_fold_0", "within_gc_fold_0"], 30),
        ("paper", ["profile.afs_folds=all_topics"], ["fold_0", "fold_1"], 10),
        ("lite", [], ["fold_0", "fold_1"], 10),
    ],
)
def test_a_profile_says_which_folds_and_how_many(planned, folded, profile, changes, first, count):
    made = planned(profile, ["profile.max_parts=2", *changes], table=folded)
    folds = named(made, "folds")
    seeds = {job.seed for job in folds}
    assert [job.part for job in folds] == first * len(seeds)
    assert {(job.parts_run, job.parts_all) for job in folds} == {(2, count)}
    assert folds[0].config.data.split == f"train_{first[0]}"


def test_parts_of_data_that_are_not_there_are_a_reason(planned, folded, work):
    work.without.add("afs")
    job = named(planned(table=folded), "topics")[0]
    assert job.reason.found == "there is no afs"


def test_a_data_set_may_stand_in(planned, folded):
    made = planned("lite", table=folded)
    glove, topics = named(made, "GloVe")[0], named(made, "topics")
    assert (glove.tasks, glove.instead_of) == (["bws"], "glove")
    assert topics[0].config.data.name == "bws" and topics[0].tasks == ["bws_topic_dp"]


# Cost


def test_nothing_is_estimated_before_its_like_was_measured(planned, work):
    cost = plan.cost_of(planned(), work.records())
    assert (cost.trainings, cost.scores, cost.blocked) == (9, 22, 2)
    assert (cost.seconds, cost.like, cost.unmeasured) == (0.0, [], 31)
    assert work.trainings == work.scorings == []


def test_the_estimate_is_what_the_same_work_took(planned, work):
    first = planned().jobs[1]
    work.train(first.config, first.overrides)
    cost = plan.cost_of(planned(), work.records())
    assert cost.trainings == 8
    assert cost.seconds == 2 * 120.0, "the other two seeds; large and STSb were never measured"
    assert (cost.known_trainings, cost.known_scores, cost.unmeasured) == (2, 0, 6 + 22)
    work.score(first.config, first.run, first.tasks)
    cost = plan.cost_of(planned(), work.records())
    assert cost.scores == 20
    assert cost.seconds == 2 * 120.0 + 12 * 2.0, "12 scores of models that began as BERT-base"


@pytest.mark.parametrize("option", [{"compile": True}, {"devices": 2}])
def test_what_was_trained_by_other_means_is_no_measure(planned, work, option):
    made = planned()
    record = work.train(made.jobs[1].config, made.jobs[1].overrides)
    record["settings"]["trainer"] = {**record["settings"].get("trainer", {}), **option}
    assert plan.cost_of(planned(), [record]).seconds == 0


def test_when_all_is_done_only_what_is_blocked_is_left(planned, work):
    carry_out(planned(), InProcess(work), lambda results: None)
    made = planned()
    cost = plan.cost_of(made, work.records())
    assert made.left == []
    assert (cost.trainings, cost.scores, cost.blocked) == (0, 2, 2)


def test_over_all_tables_a_shared_training_counts_once(monkeypatch, small, work):
    monkeypatch.setattr(plan.spec, "existing", lambda: ["1", "2", "7"])
    tables = {"1": small, "2": small, "7": dataclasses.replace(small, timed=True)}
    monkeypatch.setattr(plan.spec, "load", tables.__getitem__)
    request = plan.Request("paper")
    total = plan.all_tables(request, compose_table("paper", ()), work, work.records())
    costs = [(cost and cost.trainings, shares) for _, cost, shares, _ in total.tables]
    assert costs == [(9, 0), (9, 9), (None, 0)]
    assert (len(total.stages), len(total.scores)) == (9, 22)
    # Each of two tables has an encoder that nobody built.
    assert total.missing == {"configs/encoder/nobody_built.yaml does not exist": 2}


@pytest.mark.parametrize("profile", PROFILES)
def test_bert_on_afs_is_trained_as_its_authors_trained_it_in_the_papers_profile(planned, profile):
    job = named(planned(profile, table=spec.load("3")), "BERT-AFS-base")[0]
    papers = profile == "paper"
    name = "cross_encoder_afs" if papers else "cross_encoder_afs_plain"
    assert [word for word in job.overrides if word.startswith("experiment=")] == [
        f"experiment={name}"
    ]
    data, trainer = job.config.data, job.config.trainer
    expected = (64, True, 32, 0.0) if papers else (None, False, 16, 0.1)
    found = (data.pair_length, data.swapped, trainer.batch_size, job.config.loss.dropout)
    assert found == expected


@pytest.mark.parametrize("profile", PROFILES)
def test_a_rows_recipe_holds_in_the_papers_profile_and_what_is_typed_wins(planned, profile):
    def optimizers(*changes):
        made = planned(profile, changes, table=spec.load("2"))
        stages = [
            stage
            for name in ("SBERT-NLI-STSb-base", "SRoBERTa-NLI-STSb-base")
            for job in named(made, name)[:1]
            for stage in job.stages
        ]
        return [stage.config.optimizer._target_.rpartition(".")[2] for stage in stages]

    usual = ["AdamW"] * 4 if profile == "demo" else ["AdamW"] * 2
    papers = ["BertAdam", "BertAdam", "AdamW2019", "AdamW2019"]
    assert optimizers() == (papers if profile == "paper" else usual)
    assert set(optimizers("optimizer=sgd_shrink")) == {"ShrinkingSgd"}


# One composed stage for all seeds


@pytest.mark.parametrize("without", [set(), {"google-bert/bert-base-uncased"}])
def test_a_stage_with_a_seed_is_what_its_own_options_say(planned, work, without):
    work.without |= without
    stages = [stage for job in planned().jobs for stage in job.stages]
    assert {stage.config.seed for stage in stages} == {1, 2, 3}
    assert any(stage.config.parent for stage in stages)
    assert any(stage.config.encoder.path in without for stage in stages) == bool(without)
    assert any(stage.key for stage in stages)
    for stage in stages:
        assert stage.overrides[-1] == f"seed={stage.config.seed}"
        if stage.config.encoder.path in without:
            own = [stage.config, stage.config.parent and stage.overrides]
            assert stage.identity == canonical_json(own)
        elif stage.key:
            assert stage.settings == work.settings(stage.config, stage.overrides)
            assert stage.identity == stage.key == run_key("train", stage.settings)


def test_nothing_but_the_seed_itself_changes_with_it():
    for path in CONFIG_DIR.rglob("*.yaml"):
        assert not re.search(r"\$\{[^}]*\bseed\b", path.read_text(encoding="utf-8")), path


def test_folders_of_a_job_are_left_to_the_machine_that_does_it(planned, monkeypatch):
    stages = [stage for job in planned().jobs for stage in job.stages]
    monkeypatch.setenv("SBERT_DATA", "/of/another/machine")
    assert {stage.config.paths.data for stage in stages} == {"/of/another/machine"}
