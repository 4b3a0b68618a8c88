"""The command-line word of a component, also where an older file names its class.

Keys, records and saved models hold a component as ``{"name": "max", …}``. They used to hold
the class's import path under ``_target_``; `FORMER` translates these, so that the classes
can move without orphaning a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbert_repro.errors import UserError

_ROOT = "sbert_repro."
FORMER = {
    f"{_ROOT}losses.classification.ClassificationLoss": "classification",
    f"{_ROOT}losses.regression.RegressionLoss": "regression",
    f"{_ROOT}losses.triplet.TripletLoss": "triplet",
    f"{_ROOT}losses.cross_classification.CrossClassificationLoss": "cross_classification",
    f"{_ROOT}losses.cross_regression.CrossRegressionLoss": "cross_regression",
    f"{_ROOT}losses.fc_classification.FcClassificationLoss": "fc_classification",
    f"{_ROOT}pooling.mean.MeanPooling": "mean",
    f"{_ROOT}pooling.max.MaxPooling": "max",
    f"{_ROOT}pooling.cls.ClsPooling": "cls",
    f"{_ROOT}training.optimizers.AdamW": "adamw",
    f"{_ROOT}training.optimizers.BertAdam": "bertadam",
    f"{_ROOT}training.sgd_shrink.ShrinkingSgd": "sgd_shrink",
    f"{_ROOT}evaluation.classifiers.batched.BatchedClassifier": "batched",
    f"{_ROOT}evaluation.classifiers.sklearn.SklearnClassifier": "sklearn",
}
"""Import path in records and models written before → command-line word. Nothing is ever added."""


def name_of(node: Mapping[str, Any]) -> str:
    """Return the command-line word of a component as a record or a saved model describes it.

    Args:
        node: ``{"name": word, …}``, or ``{"_target_": import path, …}`` as written before.

    Returns:
        The word, ``max`` for MAX pooling.

    Raises:
        UserError: If it has neither a name nor an import path that was ever written.
    """
    name = node.get("name") or FORMER.get(str(node.get("_target_")))
    if name is None:
        raise UserError(f"names no component of this program: {node.get('_target_')}")
    return str(name)


_PARTS = ("loss", "pooling", "optimizer")
_PATHS = {word: path for path, word in FORMER.items()}


def renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the import paths in stored settings by words.

    Args:
        settings: Of a training or a model folder, as any version of this program wrote them.

    Returns:
        A copy in today's form.
    """
    return {
        part: {"name": name_of(node), **{k: v for k, v in node.items() if k != "_target_"}}
        if part in _PARTS and isinstance(node, Mapping)
        else node
        for part, node in settings.items()
    }


def former(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they were stored when they held import paths, to find a record by its key.

    Args:
        settings: Of a training, in today's form.

    Returns:
        A copy in the former form.
    """
    return {
        part: {"_target_": _PATHS[node["name"]], **{k: v for k, v in node.items() if k != "name"}}
        if part in _PARTS and node["name"] in _PATHS
        else node
        for part, node in settings.items()
    }
