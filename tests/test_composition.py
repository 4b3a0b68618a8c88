"""Every option composes; every slip is one line that lists what exists."""

import pytest

from sbert_repro.composition import compose, stage_overrides
from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError

GROUPS = ("pooling", "concatenation", "optimizer", "trainer", "data", "loss", "profile")
OPTIONS = [
    f"{group}={path.stem}"
    for group in GROUPS
    for path in sorted((CONFIG_DIR / group).glob("*.yaml"))
]
EXPERIMENTS = [path.stem for path in sorted((CONFIG_DIR / "experiment").glob("*.yaml"))]
ENCODERS = [path.stem for path in sorted((CONFIG_DIR / "encoder").glob("*.yaml"))]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes_and_passes_its_own_schema(option):
    compose([option])


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", ["paper", "lite", "demo"])
def test_every_experiment_composes_in_every_profile(name, profile):
    config = compose([f"experiment={name}", f"profile={profile}"])
    assert config.profile.name == profile


@pytest.mark.parametrize("profile", ["paper", "lite", "demo"])
def test_every_profile_composes_for_evaluation_too(profile):
    overrides = [f"profile={profile}", "encoder=bert_base", "task=sts"]
    assert compose(overrides, "evaluate").profile.name == profile


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_composes(name):
    overrides = [f"encoder={name}"]
    for needed in ("path", "key"):
        if f"{needed}: ???" in (CONFIG_DIR / "encoder" / f"{name}.yaml").read_text():
            overrides.append(f"encoder.{needed}=somewhere")
    assert compose(overrides).encoder["_target_"].startswith("sbert_repro.encoders.")


def test_a_loss_brings_its_data_set_and_the_command_line_still_wins():
    assert compose(["loss=regression"]).data.name == "stsb"
    assert compose(["loss=regression", "data=sickr"]).data.name == "sickr"
    assert compose(["pooling=max", "loss=regression"]).trainer.epochs == 4


@pytest.mark.parametrize("words", [["data=korsts", "loss=regression"], ["data=kornli"]])
def test_korean_data_are_scored_on_korean_data(words):
    assert list(compose(words).evaluate) == ["korsts"]
    assert list(compose([*words, "evaluate=[stsb]"]).evaluate) == ["stsb"]


def test_an_experiment_has_the_last_word_before_the_command_line():
    assert compose(["experiment=authors_v023"]).optimizer.eps == 1e-6
    assert compose(["experiment=authors_v023", "optimizer.eps=1e-7"]).optimizer.eps == 1e-7


def test_the_hyper_parameters_of_the_papers_nli_row():
    config = compose(["experiment=nli"])
    assert (config.optimizer.lr, config.trainer.batch_size, config.trainer.warmup) == (
        2e-5,
        16,
        0.1,
    )
    assert (config.trainer.epochs, list(config.loss.concatenation)) == (1, ["u", "v", "|u-v|"])


def test_bertadam_clips_tensor_by_tensor_and_nothing_before_it():
    assert compose(["optimizer=bertadam"]).trainer.max_grad_norm is None
    assert compose(["optimizer=bertadam", "trainer.max_grad_norm=2"]).trainer.max_grad_norm == 2
    assert compose(["optimizer=adamw"]).trainer.max_grad_norm == 1
    assert compose(["profile=demo", "optimizer=bertadam"]).optimizer.lr == 2e-3


SLIPS = {
    "pooling=mx": "pooling=mx: there is no such option; pooling is one of: cls, max, mean",
    "poling=max": "poling: there is no such option (did you mean pooling?); the options are: ",
    "seed=abc": "seed=abc: Value 'abc' of type 'str' could not be converted to Integer",
    "trainer.max_step=5": "trainer.max_step: there is no such option (did you mean max_steps?)",
    "trainer.decay=cosine": "trainer.decay=cosine: Invalid value 'cosine', expected one of [lin",
    "loss.num_label=2": "loss.num_label: there is no such option (did you mean num_labels?)",
    "loss.num_labels=two": "loss.num_labels=two: expected int, found str",
    "optimizer.lr=fast": "optimizer.lr=fast: expected float, found str",
    "encoder=transformer": "encoder.path is not set: give encoder.path=…",
    "experiment=nil": "experiment=nil: there is no such option; experiment is one of: afs, authors",
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_refused_in_one_line_that_lists_what_exists(slip):
    with pytest.raises(UserError) as refusal:
        compose([slip])
    assert str(refusal.value).startswith(SLIPS[slip])
    assert "\n" not in str(refusal.value)


def test_a_first_stage_inherits_what_is_not_a_stages_own():
    typed = [
        "experiment=nli_then_stsb",
        "pooling=cls",
        "seed=3",
        "data.limit=10",
        "loss=regression",
    ]
    assert stage_overrides(typed, ["experiment=nli"]) == ["pooling=cls", "seed=3", "experiment=nli"]
    first = compose(stage_overrides(typed, ["experiment=nli"]))
    assert (first.data.name, first.seed) == ("nli", 3)
    assert first.pooling["_target_"].endswith("ClsPooling")
    assert stage_overrides(["data.allow_partial=true", "data.limit=9"], []) == [
        "data.allow_partial=true"
    ]


def test_a_first_stage_has_its_own_length_and_the_same_learning_rate():
    typed = [
        "experiment=nli_then_stsb",
        "trainer.epochs=3",
        "trainer.max_steps=7",
        "optimizer.lr=1e-5",
        "trainer.batch_size=8",
    ]
    second = compose(typed)
    first = compose(stage_overrides(typed, list(second.parent)))
    assert (second.trainer.epochs, second.trainer.max_steps) == (3, 7)
    assert (first.trainer.epochs, first.trainer.max_steps) == (1, None)
    assert (first.optimizer.lr, first.trainer.batch_size) == (1e-5, 8)
    typed.append("parent=['experiment=nli','trainer.max_steps=5']")
    assert compose(stage_overrides(typed, list(compose(typed).parent))).trainer.max_steps == 5
