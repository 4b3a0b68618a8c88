"""Time and accuracy of SentEval's classifiers, all at once beside one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from sbert_repro.compose import build
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.benchmarks.figures import Figures, Seconds, conditions, timed
from sbert_repro.evaluation.benchmarks.plain_loop import PlainClassifier
from sbert_repro.evaluation.logistic import BatchedClassifier, Tested, train_and_test
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.evaluation.tasks import GROUPS, TASKS
from sbert_repro.evaluation.transfer import PROTOCOLS, TransferData, load
from sbert_repro.evaluation.vectors import encode_sets


@dataclass(frozen=True)
class SentEvalBenchmark:
    """Options of the benchmark.

    Attributes:
        tasks: Which of SentEval's tasks.
        test_folds: Test folds of a nested task that the loop runs; ``None``: all.
        repeats: How often ours is run.
    """

    tasks: Sequence[str]
    test_folds: int | None
    repeats: int

    def run(self, config: DictConfig) -> Figures:
        """Measure task by task.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Figures: Seconds, ratio and accuracies of each task.

        Raises:
            UserError: If a task is not one of SentEval's, or the classifier has no such peer.
        """
        if unknown := set(self.tasks) - set(GROUPS["senteval"]):
            raise UserError(
                f"what.tasks={','.join(sorted(unknown))}: expected some of "
                f"{', '.join(GROUPS['senteval'])}"
            )
        classifier = build(config.classifier)
        if not isinstance(classifier, BatchedClassifier):
            raise UserError("what=senteval compares classifier=batched with a loop; leave it so")
        encoder, cache = encoder_of(config), Path(config.paths.cache)
        if not isinstance(encoder, SentenceEncoder):
            raise UserError(f"what=senteval needs sentence vectors, and {encoder.label} gives none")
        rows = []
        for name in self.tasks:
            data = load(
                TASKS[name], Path(config.paths.data), allow_partial=config.data.allow_partial
            )
            vectors = encode_sets(encoder, {name: data.sentences}, cache)[name]
            rows.append(self._measured(data, data.features(vectors), classifier))
        notes = [
            f"{encoder.label}, classifiers only, seed {classifier.seed}; {conditions()}",
            "cpu: seconds of all cores together; the loop uses one core, ours all",
        ]
        return Figures("SentEval's classifiers: ours beside a loop over them", rows, notes)

    def _measured(
        self, data: TransferData, features: NDArray[np.float32], classifier: BatchedClassifier
    ) -> dict[str, Any]:
        protocol = PROTOCOLS[data.task.splits]
        first = self.test_folds if protocol == "nested" else None

        def ours() -> Tested:
            return train_and_test(protocol, classifier, features, data.labels, data.parts)

        def loop() -> Tested:
            plain = PlainClassifier(**asdict(classifier))
            return train_and_test(protocol, plain, features, data.labels, data.parts, first=first)

        found, taken = zip(*(timed(ours) for _ in range(self.repeats)), strict=True)
        by_loop, seconds = timed(loop)
        done, folds = len(by_loop.accuracies), len(found[0].accuracies)
        wall, cpu = _median(taken)
        scale = folds / done
        return {
            "task": data.task.name,
            "ours s": wall,
            "ours cpu s": cpu,
            "loop s": scale * seconds.wall,
            "loop cpu s": scale * seconds.cpu,
            "times faster": scale * seconds.wall / wall,
            "times less cpu": scale * seconds.cpu / cpu,
            "accuracy": 100 * found[0].accuracy,
            # On the same test folds, since the loop may have run only some.
            "accuracy, same folds": 100 * float(np.mean(found[0].accuracies[:done])),
            "loop's accuracy": 100 * by_loop.accuracy,
            "loop ran": f"{done} of {folds} test folds" if scale > 1 else "all",
        }


def _median(taken: Sequence[Seconds]) -> tuple[float, float]:
    return (
        statistics.median(one.wall for one in taken),
        statistics.median(one.cpu for one in taken),
    )
