"""Every option composes; every slip is one line that lists what exists."""

from dataclasses import replace

import omegaconf._utils
import omegaconf.base
import omegaconf.grammar_parser
import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

import sbert_repro.compose as compose_module
from sbert_repro.compose import (
    build,
    check_training,
    compose,
    compose_speed,
    compose_table,
    described,
    refuse_ignored,
    refuse_words,
    respelt,
    stage_overrides,
    word_of,
)
from sbert_repro.config import CONFIG_DIR
from sbert_repro.declared import Parameter, declared
from sbert_repro.errors import UserError
from sbert_repro.ledger import records_in
from sbert_repro.losses.regression import RegressionLoss

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


COMPONENTS = [
    path
    for group in ("pooling", "loss", "optimizer", "classifier", "index")
    for path in sorted((CONFIG_DIR / group).glob("*.yaml"))
]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_the_word_of_a_component_is_the_name_of_its_class(path):
    node = OmegaConf.load(path)
    node = node if "_target_" in node else node[path.parent.name]
    assert get_object(node["_target_"]).name == word_of(node) == path.stem


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
    compose(overrides)


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


@pytest.mark.parametrize(
    ("words", "optimizer", "init"),
    [
        ([], "BertAdam", "bert"),
        (["experiment=nli", "encoder=roberta_base"], "BertAdam", "bert"),
        (["profile=lite"], "AdamW", "torch"),
        (["profile=demo", "experiment=nli"], "AdamW", "torch"),
        (["profile=lite", "recipe=paper"], "BertAdam", "torch"),
        (["optimizer=adamw_2019", "loss.init=torch"], "AdamW2019", "torch"),
        (["experiment=authors_v023"], "AdamW2019", "torch"),
    ],
)
def test_the_default_is_the_papers_recipe_and_profiles_without_its_models_keep_a_current_one(
    words, optimizer, init
):
    config = compose(words)
    assert config.optimizer._target_.endswith(f".{optimizer}") and config.loss.init == init


def test_bert_on_afs_is_trained_as_its_authors_trained_it_in_every_profile():
    for profile in ("paper", "lite"):
        config = compose([f"profile={profile}", "experiment=cross_encoder_afs", "data=bws"])
        data, loss, trainer = config.data, config.loss, config.trainer
        assert (data.pair_length, data.swapped, data.epochs) == (64, True, 3)
        assert (loss.error, loss.dropout, loss.init) == ("cross_entropy", 0.0, "bert")
        assert (trainer.batch_size, trainer.decay.name, config.checkpoint.name) == (
            32,
            "linear",
            "last",
        )
        assert config.optimizer._target_.endswith(".BertAdam")
        assert config.optimizer.lr == config.profile.learning_rate


def test_infersent_has_its_own_recipe_in_every_profile():
    for profile in ("paper", "lite", "demo"):
        config = compose([f"profile={profile}", "experiment=infersent"])
        assert config.optimizer._target_.endswith(".ShrinkingSgd")


def test_a_head_that_begins_as_before_is_not_mentioned():
    assert "init" not in described(compose(["loss.init=torch"]).loss)
    assert described(compose([]).loss)["init"] == "bert"


def rekeyed():
    """Components of the committed runs that would be described in another way today."""
    found = []
    for path in sorted((CONFIG_DIR.parent / "results" / "lite" / "records").glob("*.json")):
        runs = [one for one in records_in(path).values() if one["kind"] == "train"]
        for run in runs:
            for group in ("pooling", "loss", "optimizer"):
                stored = run["settings"][group]
                target = compose([f"{group}={stored['name']}"])[group]["_target_"]
                own = {k: v for k, v in stored.items() if k not in ("name", "version")}
                now = described(OmegaConf.create({"_target_": target, **own}))
                found.append((run["key"], group, now, stored))
    assert len(found) > 30, "there are committed runs"
    return {(key, group) for key, group, now, stored in found if now != stored}


def test_no_option_of_a_component_re_keys_the_committed_runs():
    """An option that came later belongs into `_AS_BEFORE`, or its runs are trained anew."""
    assert rekeyed() == set()


def test_a_new_option_would_re_key_the_runs_of_its_component_and_no_others(monkeypatch):
    target = f"{RegressionLoss.__module__}.RegressionLoss"
    node = OmegaConf.create({"_target_": target})

    def later(path):
        found = declared(path)
        more = {"init": "torch", "temperature": 1.0} if path == target else {}
        more = {name: Parameter(frozenset(), value) for name, value in more.items()}
        return replace(found, parameters={**found.parameters, **more})

    monkeypatch.setattr("sbert_repro.compose.declared", later)
    assert described(node) == {
        "name": "regression",
        "version": RegressionLoss.VERSION,
        "init": "torch",  # of other heads it is no part, of this one it would be
        "temperature": 1.0,
    }
    found = rekeyed()
    assert found and {group for _, group in found} == {"loss"}


SLIPS = {
    "pooling=mx": "pooling=mx: there is no such option; pooling is one of: cls, max, mean",
    "poling=max": "poling: there is no such option (did you mean pooling?); the options are: ",
    "seed=abc": "seed=abc: Value 'abc' of type 'str' could not be converted to Integer",
    "trainer.max_step=5": "trainer.max_step: there is no such option (did you mean max_steps?)",
    "trainer.decay=cosine": "trainer.decay=cosine: Invalid value 'cosine', expected one of [lin",
    "loss.num_label=2": "loss.num_label: there is no such option (did you mean num_labels?)",
    "loss.num_labels=two": "loss.num_labels=two: expected int, found str",
    "optimizer.lr=fast": "optimizer.lr=fast: expected float, found str",
    "encoder=transformer": "encoder.path: is not set: give encoder.path=…",
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


def refused(*words, root="train"):
    refuse_ignored(compose(list(words), root), words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("loss=regression", "concatenation=u_v"),
            r"concatenation=u_v: loss=regression concatenates nothing.*use loss=classification",
        ),
        (("loss=triplet", "concatenation=product"), r"loss=triplet concatenates nothing"),
        (("experiment=stsb", "concatenation.parts=[u]"), r"concatenation\.parts=\[u\]: loss=reg"),
        (("experiment=cross_encoder_nli", "concatenation=u_v"), r"cross_classification concaten"),
        (
            ("encoder.max_length=64",),
            r"encoder\.max_length=64: training .* use data\.max_length=64",
        ),
        (("encoder.max_length=0",), r"encoder\.max_length=0: expected at least 1"),
        (("data.max_length=0",), r"data\.max_length=0: expected at least 1"),
    ],
)
def test_training_refuses_what_it_would_not_read(words, said):
    with pytest.raises(UserError, match=said) as problem:
        refused(*words)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("encoder=glove", "pooling=max"), "pooling=max: Avg. GloVe embeddings pools in its own"),
        (("encoder=tfidf", "pooling=cls"), "pools in its own way"),
        (("encoder=bert_base", "encoder.max_length=0"), r"encoder\.max_length=0: expected at l"),
        (("encoder=bert_base", "encoder.max_length=-3"), r"encoder\.max_length=-3: expected at l"),
    ],
)
def test_evaluation_refuses_what_it_would_not_read(words, said):
    with pytest.raises(UserError, match=said):
        refused(*words, root="evaluate")


@pytest.mark.parametrize(
    "words",
    [
        ("concatenation=u_v",),
        ("loss=classification", "concatenation=product", "pooling=max"),
        ("loss=regression",),
        ("profile=demo", "experiment=stsb", "data.max_length=32"),
        # the stage before it concatenates
        ("experiment=nli_then_stsb", "concatenation=u_v"),
    ],
)
def test_what_is_read_or_was_not_typed_passes(words):
    refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("encoder=glove",),
        ("encoder=bert_base", "pooling=max", "encoder.max_length=64"),
        ("encoder=run", "encoder.key=0123456789abcdef", "pooling=max"),
    ],
)
def test_what_an_evaluation_reads_passes(words):
    refused(*words, root="evaluate")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("encoder.max_length=0", "expected at least 1"),
        ("data.max_length=-1", "expected at least 1"),
        ("pooling=max", "pooling=max: each row chooses its own pooling: leave it out"),
        ("+experiment=nli", "each row chooses its own experiment"),
        ("seed=3", "seed=3: a table has its own seeds: .*profile.max_seeds=N"),
        ("trainer.epoch=3", "did you mean epochs"),
    ],
)
def test_a_table_refuses_what_its_rows_decide(change, said):
    with pytest.raises(UserError, match=said):
        compose_table("lite", [change])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("engine=packed", "engine=packed: each row of Table 7 names its own.*leave it out"),
        ("encoder.path=x", "each row of Table 7 names its own"),
        ("repeats=0", "repeats=0: expected at least 1"),
        ("sentences=1", "sentences=1: expected at least 2"),
    ],
)
def test_a_timing_refuses_what_its_rows_decide(change, said):
    with pytest.raises(UserError, match=said):
        compose_speed("demo", [change])


def test_a_command_without_an_encoder_has_no_length_to_check(tmp_path):
    words = ["run=0123456789abcdef", f"output={tmp_path}"]
    refuse_ignored(compose(words, "export"), words)


@pytest.mark.parametrize(
    "options",
    [
        ["loss=classification"],
        ["loss=regression"],
        ["loss=classification", "data.dev=nli"],
        ["experiment=afs", "data.split=train_fold_3"],
        ["experiment=wikisections"],
    ],
)
def test_what_fits_passes(options):
    check_training(compose(options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["loss=triplet", "data=stsb"],
            r"loss=triplet: needs triplets; data=stsb holds scored pairs: use .*loss=regression",
        ),
        (
            ["loss=classification", "data=stsb"],
            r"needs labelled pairs; data=stsb holds scored pairs: use .*data=nli or .*loss=reg",
        ),
        (["loss=regression", "data=nli"], r"needs scored pairs; .*data=stsb or loss=classificat"),
        (["loss=classification", "loss.num_labels=2"], r"data=nli has 3 labels .*num_labels=3"),
        (["loss=regression", "trainer.epochs=0"], r"trainer\.epochs=0: expected at least 1"),
        (["loss=regression", "trainer.batch_size=-1"], r"trainer\.batch_size=-1"),
        (["loss=regression", "trainer.max_steps=0"], r"trainer\.max_steps=0"),
        (["loss=regression", "trainer.save_every=0"], r"trainer\.save_every=0"),
        (["loss=regression", "trainer.devices=0"], r"trainer\.devices=0: expected at least 1"),
        (["loss=regression", "trainer.warmup=1.5"], r"trainer\.warmup=1\.5.*0 to 1"),
        (["loss=regression", "trainer.max_grad_norm=0"], r"trainer\.max_grad_norm=0"),
        (["loss=regression", "data.max_length=0"], r"data\.max_length=0"),
        (
            ["loss=cross_regression", "data.pair_length=7"],
            r"data\.pair_length=7: expected at least 8",
        ),
        (
            ["loss=regression", "data.pair_length=64"],
            r"data\.pair_length=64: loss=regression reads each .*: leave it out, or use loss=c",
        ),
        (["data.swapped=true"], r"data\.swapped=True: loss=classification reads each sentence by"),
        (["loss=regression", "optimizer.lr=0"], r"optimizer\.lr=0: expected more than 0"),
        (["loss=regression", "optimizer.eps=-1e-8"], r"optimizer\.eps=-1e-08: expected more th"),
        (["loss=regression", "optimizer.weight_decay=-1"], r"weight_decay=-1: expected at least"),
        (
            ["loss=regression", "optimizer.beta1=1.0"],
            r"beta1=1\.0: expected at least 0 and less",
        ),
        (["loss=regression", "optimizer.beta2=-0.1"], r"optimizer\.beta2=-0\.1: expected at lea"),
        (["loss=regression", "optimizer.lr=nan"], r"optimizer\.lr=nan: expected more than 0"),
        (
            ["loss=regression", "optimizer=bertadam", "optimizer.clip_per_tensor=0"],
            r"optimizer\.clip_per_tensor=0: expected more than 0",
        ),
        (
            ["loss=regression", "data.split=dev"],
            r"data\.split=dev: data\.dev=stsb would be scored on .*: train on another split",
        ),
        (["loss=regression", "seed=-1"], r"seed=-1: expected 0 to 4294967295"),
        (["experiment=afs", "checkpoint=best_dev"], r"=best_dev: needs dev rows, and data=afs"),
        (["loss=regression", "data.dev=nli"], r"data\.dev=nli: holds labelled pairs"),
    ],
)
def test_what_does_not_fit_is_one_line(options, said):
    with pytest.raises(UserError, match=said) as refused:
        check_training(compose(options))
    assert "\n" not in str(refused.value)


def test_experiments_without_dev_rows_keep_the_last_weights():
    config = compose(["experiment=afs", "data.split=train_fold_3"])
    assert (config.data.name, config.data.dev, config.checkpoint.name) == ("afs", None, "last")


def test_sections_are_triplets_with_the_papers_margin():
    config = compose(["experiment=wikisections"])
    data = config.data
    assert (data.name, data.epochs, data.dev_limit) == ("wikisections", 1, 1000)
    assert (config.loss.margin, config.loss.distance) == (1.0, "euclidean")


PAYLOAD = "open({marker!r}, 'w').close()\nclass Thing:\n    name, VERSION = 'thing', 1\n"


@pytest.mark.parametrize(
    "word",
    [
        "pooling._target_=payload_of_others.Thing",
        "+pooling.extra={_target_:payload_of_others.Thing}",
        "+data.extra=[{_target_:payload_of_others.Thing}]",
        "prepare=[{_target_:payload_of_others.Thing}]",
        "encoder._target_=os.system",
        "encoder._target_=sbert_repro",
        "encoder._target_=sbert_repro_of_others.Thing",
        "encoder._target_=sbert_repro.compose.re.compile",
        "encoder._target_=sbert_repro.storage.shutil.rmtree",
        "encoder._target_=sbert_repro.__init__.Thing",
        "encoder._target_=sbert_repro..Thing",
        "encoder._target_=${profile.name}",
        "encoder._target_=null",
        # Of this package, but no component, none of this group, or not there.
        "pooling._target_=sbert_repro.storage.write_file",
        "pooling._target_=sbert_repro.losses.regression.RegressionLoss",
        "pooling._target_=sbert_repro.pooling.mean.Median",
        "data._target_=sbert_repro.pooling.mean.MeanPooling",
        "prepare=[{_target_:sbert_repro.storage.write_file,path:a,content:b}]",
        "+encoder.pooling={_target_:sbert_repro.backbone.demo.prepare_demo}",
    ],
)
def test_components_of_others_are_refused_before_anything_is_imported(word, tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    (tmp_path / "payload_of_others.py").write_text(PAYLOAD.format(marker=str(marker)))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as refused:
        compose(["profile=demo", word])
    assert "\n" not in str(refused.value) and "_target_" in refused.value.where
    assert not marker.exists()


def test_what_an_interpolation_makes_is_refused_when_it_is_built(tmp_path):
    marker = tmp_path / "marker"
    inner = "${oc.decode:'{_target_: os.mkdir, path: PLACE}'}".replace("PLACE", str(marker))
    node = OmegaConf.create({"_target_": "sbert_repro.pooling.mean.MeanPooling", "extra": inner})
    with pytest.raises(UserError, match="only components of sbert_repro"):
        build(node)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+foo=1", "foo: there is no such option; the options are: "),
        ("++foo=1", "foo: there is no such option; the options are: "),
        ("+trainer.batchsize=4", "did you mean batch_size?"),
        ("++data.x=1", "data.x: there is no such option"),
        ("+paths.reslts=a", "did you mean results?"),
        ("+wandb.entity=a", "wandb.entity: there is no such option"),
        ("+pooling.x=1", "pooling.x: there is no such option"),
        ("+concatenation.x=1", "concatenation.x: there is no such option"),
        ("+profile.limits.nil=5", "did you mean nli?"),
        ("+profile.stand_ins.bert_bsae=demo_bert", "did you mean bert_base?"),
        ("+trainer.max_epochs=9", "use trainer.epochs=N"),
        ("trainer.fast_dev_run=true", "use trainer.max_steps=1"),
        ("+trainer.limit_train_batches=3", "use trainer.max_steps=N"),
    ],
)
def test_what_no_option_is_called_is_refused_however_it_is_typed(word, said):
    with pytest.raises(UserError) as refused:
        compose([word])
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_plus_before_what_exists_is_no_mistake():
    assert compose(["++trainer.batch_size=4"]).trainer.batch_size == 4
    assert compose(["++loss.bias=false"]).loss.bias is False
    assert compose(["+profile.limits.nli=7"]).data.limit == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pooling=max", "pooling=mean"], "pooling=mean: is given twice, also as pooling=max"),
        (["data=nli", "+data=stsb"], "+data=stsb: is given twice"),
        (["seed=1", "loss=regression", "seed=2"], "seed=2: is given twice, also as seed=1"),
        (["pooling=[mean,max]"], "takes the name of one option; there are: cls, max, mean"),
        (["data=[nli]"], "takes the name of one option; there are: afs, "),
        (["loss=null"], "takes the name of one option"),
        (["encoder=3"], "takes the name of one option"),
        (["~seed"], "an option cannot be removed"),
        (["wandb.project=${oc.env:PATH}"], "refers to no other"),
        (["prepare=[]"], "belongs to the profile"),
        (["hydra.job_logging.handlers.x=1"], "is Hydra's own and fixed here"),
        (["hydra/launcher=ray"], "is Hydra's own and fixed here"),
        (["hydra.searchpath=[a]"], "is Hydra's own and fixed here"),
        (["=5"], "names no option"),
        (["pooling"], "expected name=value"),
        (["encoder.label='abc"], "encoder.label='abc: cannot be read"),
        (["encoder.path=/a/(1)/b"], "\"encoder.path='/a/(1)/b'\""),
        (["seed=[1"], "cannot be read"),
    ],
)
def test_words_that_cannot_mean_what_was_typed_are_refused_by_name(words, said):
    with pytest.raises(UserError) as refused:
        refuse_words(words)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+pooling=max", "+pooling: is there already: leave out the +: pooling=…"),
        ("+trainer.batch_size=4", "+trainer.batch_size: is there already: leave out the +"),
        ("pooling=mean,max", "pooling=mean,max: holds several values: add -m to try each"),
        ("nonsense", "nonsense: cannot be read; expected name=value"),
        ("profile.limits.x=1", "profile.limits.x: there is no such option; profile.limits has: "),
    ],
)
def test_what_hydra_refuses_is_said_in_our_words(word, said):
    with pytest.raises(UserError) as refused:
        compose(["data=nli", word])
    assert str(refused.value).startswith(said)


def test_other_words_pass():
    refuse_words(["pooling=mean,max", "task=[a,b]", "parent=['a=b']", "seed=1", "seed=1"])
    refuse_words(["encoder.path='/a/(1)/b'", "hydra.sweep.dir=x", "encoder=run", "encoder.key=k"])


@pytest.mark.parametrize(
    "word",
    [
        "profile.max_seeds=0",
        "profile.max_parts=-3",
        "data.limit=0",
        "data.dev_limit=-1",
        "trainer.max_grad_norm=nan",
        "trainer.warmup=nan",
        "optimizer.lr=inf",
        "classifier.kfold=1",
    ],
)
def test_a_number_out_of_range_is_refused(word):
    with pytest.raises(UserError) as refused:
        compose([word])
    assert refused.value.where == word


def test_an_option_of_a_command_may_be_typed_as_its_encoders():
    assert respelt("encoder.precision=int8", "evaluate") == "precision=int8"
    assert respelt("+encoder.engine=packed", "search") == "engine=packed"
    for word, command in (
        ("encoder.path=x", "evaluate"),
        ("precision=int8", "evaluate"),
        ("encoder.precision=bf16", "train"),
    ):
        assert respelt(word, command) == word


@pytest.mark.parametrize("word", ["precision=bf16", "encoder.precision=bf16"])
def test_an_option_that_stands_elsewhere_is_named(word):
    with pytest.raises(UserError, match=r"use trainer\.precision="):
        compose([word])


# Made once


def test_omegaconf_parses_a_text_once_and_resolves_it_as_before(monkeypatch):
    assert omegaconf.base.parse is omegaconf._utils.parse is compose_module._parse
    made = OmegaConf.create(
        {
            "a": 1,
            "own": {"b": "x", "near": "${.b}"},
            "text": "${a} and '${own.b}'",
            "nested": "${own.${letter}}",
            "letter": "b",
            "call": "${oc.select:missing,'${own.b}'}",
            "list": "${oc.decode:'[1, ${a}]'}",
        }
    )
    once = OmegaConf.to_container(made, resolve=True)
    assert OmegaConf.to_container(made, resolve=True) == once
    for module in (omegaconf.base, omegaconf._utils):
        monkeypatch.setattr(module, "parse", omegaconf.grammar_parser.parse)
    assert OmegaConf.to_container(made, resolve=True) == once
    made.own.b = "y"
    assert made.text == "1 and 'y'"


def test_who_composes_may_change_what_is_composed():
    first = compose(["seed=5"])
    first.seed, first.data.name = 6, "changed"
    again = compose(["seed=5"])
    assert (again.seed, again.data.name) == (5, "nli")
    assert OmegaConf.is_struct(again)
