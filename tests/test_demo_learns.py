"""The demo is worth showing: training on its sentences makes sentence vectors much better."""

import numpy as np

from sbert_repro.compose import compose, prepare
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.training.run import train

TASKS = ["sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr"]


def average(encoder, data_root):
    """Mean over the seven tasks of Table 1, Spearman × 100."""
    found = evaluate(encoder, TASKS, data_root, allow_partial=True)
    return np.mean([found[t].get("all", found[t].get("spearman")) for t in TASKS])


def test_the_trained_demo_model_beats_its_untrained_self_by_20_points(tmp_path):
    """The run of `make demo`, half as long, against the random model it starts from."""
    typed = [
        "experiment=nli",
        "profile=demo",
        "trainer.epochs=1",
        "trainer.progress=false",
        f"paths.results={tmp_path}/results",
        f"paths.cache={tmp_path}/cache",
    ]
    config = compose(typed)
    prepare(config)
    places = [option for option in typed if option.startswith(("profile", "paths"))]
    untrained = encoder_of(compose([*places, "pooling=mean", "task=sts"], "evaluate"))
    trained = encoder_of(config, train(config, typed)["key"])
    root = tmp_path / "cache" / "demo" / "data"
    assert average(trained, root) - average(untrained, root) >= 20
