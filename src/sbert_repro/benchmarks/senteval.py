"""``what=senteval``: SentEval's classifiers all at once, beside the usual loop over single ones."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor, nn

from sbert_repro.benchmarks.timing import Figures, conditions
from sbert_repro.compose import build
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.batched import BatchedModels, BatchedTrainer, one_thread_each
from sbert_repro.evaluation.logistic import BatchedClassifier, Doubles, Fold, Ints, train_and_test
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.evaluation.tasks import GROUPS, TASKS
from sbert_repro.evaluation.transfer import PROTOCOLS, TransferData, load
from sbert_repro.evaluation.vectors import encode_sets

T = TypeVar("T")


@dataclass(frozen=True)
class SentEvalBenchmark:
    """Options of the benchmark.

    Attributes:
        tasks: Some of SentEval's tasks.
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
            Seconds, ratio and accuracies of each task.

        Raises:
            UserError: If a task is not one of SentEval's, or the classifier has no such loop.
        """
        if unknown := set(self.tasks) - set(GROUPS["senteval"]):
            raise UserError(
                f"expected some of {', '.join(GROUPS['senteval'])}",
                where=f"what.tasks={','.join(sorted(unknown))}",
            )
        classifier = build(config.classifier)
        if not isinstance(classifier, BatchedClassifier):
            raise UserError(
                "compares classifier=batched with a loop; leave it so", where="what=senteval"
            )
        encoder, cache = encoder_of(config), Path(config.paths.cache)
        if not isinstance(encoder, SentenceEncoder):
            raise UserError(
                f"needs sentence vectors, and {encoder.label} has none", where="what=senteval"
            )
        root, partial_data = Path(config.paths.data), bool(config.data.allow_partial)
        rows = []
        for name in self.tasks:
            data = load(TASKS[name], root, allow_partial=partial_data)
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
        plain = PlainClassifier(**asdict(classifier))
        ours = [
            _timed(lambda: train_and_test(protocol, classifier, features, data.labels, data.parts))
            for _ in range(self.repeats)
        ]
        by_loop, loop_wall, loop_cpu = _timed(
            lambda: train_and_test(protocol, plain, features, data.labels, data.parts, first=first)
        )
        found = ours[0][0]
        wall = statistics.median(seconds for _, seconds, _ in ours)
        cpu = statistics.median(seconds for _, _, seconds in ours)
        done, folds = len(by_loop.accuracies), len(found.accuracies)
        scale = folds / done
        return {
            "task": data.task.name,
            "ours s": wall,
            "ours cpu s": cpu,
            "loop s": scale * loop_wall,
            "loop cpu s": scale * loop_cpu,
            "times faster": scale * loop_wall / wall,
            "times less cpu": scale * loop_cpu / cpu,
            "accuracy": 100 * found.accuracy,
            # On the same test folds, since the loop may have run only some.
            "accuracy, same folds": 100 * float(np.mean(found.accuracies[:done])),
            "loop's accuracy": 100 * by_loop.accuracy,
            "loop ran": f"{done} of {folds} test folds" if scale > 1 else "all",
        }


def _timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Run something; return its result, its wall-clock seconds and the CPU's of all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True)
class PlainClassifier(BatchedClassifier):
    """The options of `BatchedClassifier`, trained in the usual way: one after the other.

    The peer of the batched one, and its oracle: the same seed and the same rows in the same order,
    so the same classifiers up to rounding.
    """

    def on(self, features: NDArray[np.floating], labels: Ints) -> PlainTrainer:
        """Move the features of a task to the device.

        Args:
            features: ``[N, D]``.
            labels: Class ids ``[N]``, 0 to C - 1.

        Returns:
            Trains on rows of these features.
        """
        return PlainTrainer(self, features, labels)


class PlainTrainer(BatchedTrainer):
    """Trains one classifier after the other, each with an optimizer of its own."""

    def fit(self, folds: Sequence[Fold], strengths: Doubles) -> BatchedModels:
        """Train every fold with each of its strengths.

        Args:
            folds: ``F`` folds.
            strengths: L2 strengths ``[F, S]``.

        Returns:
            The weights that were best on the dev rows of each.
        """
        weights = self.start.new_empty(*strengths.shape, *self.start.shape)
        dev_accuracy = np.zeros(strengths.shape)
        # Steps this small are no faster on two threads, and much slower on a busy machine.
        with one_thread_each():
            for place, strength in np.ndenumerate(strengths):
                model, dev_accuracy[place] = self._fit(folds[place[0]], float(strength))
                weights[place] = torch.cat([model.weight, model.bias[:, None]], dim=1).detach()
        return BatchedModels(weights, dev_accuracy, self.features, self.labels)

    def _fit(self, fold: Fold, strength: float) -> tuple[nn.Linear, float]:
        options = self.options
        random = np.random.RandomState(options.seed)
        if fold.drawn:
            random.permutation(fold.drawn)
        torch.manual_seed(options.seed)
        model = nn.Linear(self.features.shape[1] - 1, len(self.start)).to(self.features)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=options.learning_rate, weight_decay=strength
        )
        (features, labels), dev = self._rows(fold.train), self._rows(fold.dev)
        best, kept, failures = -1.0, model, 0
        for _ in range(0, options.max_epoch + 1, options.epoch_size):
            for _ in range(options.epoch_size):
                order = torch.from_numpy(random.permutation(len(labels))).to(labels.device)
                for chosen in order.split(options.batch_size):
                    scores = model(features.index_select(0, chosen))
                    loss = nn.functional.cross_entropy(scores, labels.index_select(0, chosen))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            with torch.no_grad():
                accuracy = (model(dev[0]).argmax(1) == dev[1]).double().mean().item()
            if accuracy > best:
                best, kept = accuracy, copy.deepcopy(model)
            elif failures >= options.tenacity:
                break
            else:
                failures += 1
        return kept, best

    def _rows(self, rows: Ints) -> tuple[Tensor, Tensor]:
        return self.features[rows, :-1], self.labels[rows]
