"""The losses of the first 20 steps of each objective, as they were measured once.

A change that moves one of them changes what is trained: then VERSION of the part that changed is
raised, and the new values are written with ``python tests/training/test_golden_steps.py``.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from sbert_repro.ledger import hardware

GOLDEN = Path(__file__).with_name("golden_steps.json")
OBJECTIVES = {
    "classification": ["loss=classification"],
    "regression": ["loss=regression", "pooling=max"],
    "triplet": ["experiment=wikisections"],
    "cross_classification": ["experiment=cross_encoder_nli"],
    "cross_regression": ["experiment=cross_encoder_stsb"],
    "fc_classification": ["experiment=infersent"],
    "bertadam": ["loss=regression", "optimizer=bertadam"],
    "roberta": ["loss=regression", "encoder=demo_roberta"],
}


def losses(words, folder):
    """The loss of each of the first 20 steps, fp32 on one thread of the CPU."""
    from sbert_repro.compose import compose, prepare
    from sbert_repro.training.fit import fit

    torch.set_num_threads(1)
    paths = [f"paths.cache={folder / 'cache'}", f"paths.results={folder / 'results'}"]
    fixed = ["trainer.max_steps=20", "trainer.accelerator=cpu", "trainer.progress=false"]
    config = compose(["profile=demo", *words, *fixed, *paths])
    prepare(config)
    run = folder / "-".join(words).replace("=", "_")
    fit(config, run)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return next(s["losses"] for s in saved["callbacks"].values() if "losses" in s).tolist()


def machine():
    """What decides the last digit: the library's version, the processor and its instructions.

    Of two processors with the same instructions MKL multiplies on each in its own order.
    """
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {instructions}, {hardware()['cpu']}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("golden")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_first_twenty_losses_are_those_of_before(objective, folder):
    golden = json.loads(GOLDEN.read_text())
    found = losses(OBJECTIVES[objective], folder)
    if machine() == golden["machine"]:
        assert found == golden["losses"][objective]
    else:  # sums in another order: the same arithmetic to about seven digits a step
        assert found == pytest.approx(golden["losses"][objective], rel=1e-3)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    found = {name: losses(words, where) for name, words in OBJECTIVES.items()}
    GOLDEN.write_text(json.dumps({"machine": machine(), "losses": found}, indent=1) + "\n")
