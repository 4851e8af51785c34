"""Rounds of pseudo-labels: label what the last network is sure of, train again from fresh weights, keep the best round.

Validation and test rows are never touched: a row without a label whose inputs one of them has is left out, as is one
that a labelled training row has. A round is a folder `train/round-N/` with the rows it took and a checkpoint of its
own, so that a killed run goes on in its round, and rounds that are done are not trained again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import InputError, RecipeError, RunError
from bedplate.core.files import write_bytes
from bedplate.core.hashing import row_digests
from bedplate.data.unlabelled import read_unlabelled
from bedplate.models import Network
from bedplate.recipe.schema import PseudoLabelSpec
from bedplate.stages.work import Work
from bedplate.training import Run, TrainingData, start_from
from bedplate.training.pseudo_labels import PseudoLabels, label

LABELS = "labels.safetensors"
Trained = Callable[[Network, TrainingData, int, dict[str, Any]], Run]
"""Trains one round: takes a fresh network, the rows, the round's number, and what its checkpoint must belong to."""


def round_folder(folder: Path, number: int) -> Path:
    """Return where a round keeps what is its own."""
    return folder / f"round-{number}"


@dataclass(frozen=True)
class Offered:
    """The rows without labels that may be taken.

    Attributes:
        spec: the recipe's `training.pseudo_labels`.
        features: what the model reads of them.
        counts: offered rows; how many were left out because a validation or test row, or a training row, has the same
            inputs; and repetitions among themselves.
        notes: on rows that can't be read.
    """

    spec: PseudoLabelSpec
    features: Arrays
    counts: dict[str, int]
    notes: tuple[str, ...]


def offered_rows(work: Work) -> Offered | None:
    """Return the rows without labels that the recipe names, or None where it names none.

    Raises:
        RecipeError: the recipe trains with several workers, or not at all.
        DataError: they can't be read, or none is left.
    """
    spec = work.recipe.training.pseudo_labels
    if spec is None:
        return None
    where = f"{work.resolved.path} training.pseudo_labels"
    if work.recipe.training.workers.count > 1:
        raise RecipeError([InputError("pseudo-labels are for one worker", where=where, hint="set workers: 1")])
    if work.recipe.training.epochs == 0:
        raise RecipeError([InputError("pseudo-labels need a training", where=where, hint="set epochs: 1 or more")])
    features, counts, notes = unlabelled_rows(work, spec.source)
    return Offered(spec, features, counts, notes)


def unlabelled_rows(work: Work, source: str) -> tuple[Arrays, dict[str, int], tuple[str, ...]]:
    """Return the features of the rows at `source` that no row of the dataset equals, how many were left out, and notes.

    Raises:
        DataError: they can't be read.
    """
    dataset = work.dataset
    work.console.stage("unlabelled", source)
    found = read_unlabelled(
        source, dataset.codec, work.recipe.data, base=work.resolved.base, announce=work.console.detail
    )
    judged = {key for rows in (dataset.validation, dataset.test) for key in row_digests(dict(rows.inputs))}
    labelled = set(row_digests(dict(dataset.train.inputs)))
    counts = {"rows": len(found), "in_validation_or_test": 0, "in_training": 0, "repeated": 0}
    seen: set[str] = set()
    kept = []
    for row, key in enumerate(found.keys()):
        why = (
            "in_validation_or_test" if key in judged
            else "in_training" if key in labelled
            else "repeated" if key in seen
            else None
        )  # fmt: skip
        if why is None:
            kept.append(row)
            seen.add(key)
        else:
            counts[why] += 1
    counts["offered"] = len(kept)
    work.console.detail(
        f"{counts['rows']:,} rows; {counts['offered']:,} offered; left out: "
        f"{counts['in_validation_or_test']:,} that validation or test rows equal, {counts['in_training']:,} that "
        f"training rows equal, {counts['repeated']:,} repeated"
    )
    for note in found.notes:
        work.console.detail(f"note: {note}")
    inputs = take(found.inputs, np.asarray(kept, np.int64))
    features = dataset.codec.features(inputs) if kept else {}
    return features, counts, tuple(found.notes)


def _labels(work: Work, folder: Path, network: Network, offered: Offered) -> PseudoLabels:
    """Return the rows that a round takes: those it took before it was stopped, or those its teacher is sure of."""
    path = folder / LABELS
    if path.exists():
        try:
            stored = load_file(path)
            return PseudoLabels(stored["rows"], stored["classes"], stored["probabilities"])
        except (SafetensorError, OSError, KeyError) as error:
            raise RunError(
                "the round's labels can't be read", where=str(path), received=str(error),
                hint="start again with --fresh",
            ) from error  # fmt: skip
    shares = None
    if offered.spec.balance:
        counts = np.bincount(work.dataset.train.targets, minlength=network.outputs.width)
        shares = counts / counts.sum()
    found = label(network, offered.features, offered.spec.threshold, shares)
    arrays = {"rows": found.rows, "classes": found.classes, "probabilities": found.probabilities}
    write_bytes(path, save(arrays))
    return found


def _better(run: Run, other: Run) -> bool:
    """Whether a run's kept epoch has the better validation figure; ties go to the lower loss."""
    figures = [(one.best_figure, -one.history[one.best_epoch]["validation_loss"]) for one in (run, other)]
    return figures[0] > figures[1]


def _facts(work: Work, number: int, taken: PseudoLabels | None, rows: int, run: Run) -> dict[str, Any]:
    """Return what is told of a round."""
    names = work.dataset.answers.labels or ()
    classes = np.bincount(taken.classes, minlength=len(names)).tolist() if taken else []
    best = run.history[run.best_epoch]
    return {
        "round": number,
        "taken": len(taken) if taken else 0,
        "classes": dict(zip(names, classes, strict=True)) if taken else {},
        "training_rows": rows,
        "epochs": run.epoch,
        "best_epoch": run.best_epoch + 1,
        "seconds": round(run.seconds, 3),
        **{key: best[key] for key in ("validation_loss", "validation_accuracy")},
    }


def _joined(data: TrainingData, offered: Offered, taken: PseudoLabels) -> TrainingData:
    """Return the labelled rows followed by the taken ones."""
    more = take(offered.features, taken.rows)
    features = {name: np.concatenate([array, more[name]]) for name, array in data.features.items()}
    return replace(data, features=features, targets=np.concatenate([data.targets, taken.classes]))


def _fresh(work: Work, data: TrainingData) -> Network:
    """Return fresh weights (or the recipe's starting ones), and class counts that go with the rows."""
    network = work.build()
    start = work.recipe.training.start
    if start is not None:
        start_from(network, start, work.resolved.base)
    counts = np.bincount(data.targets, minlength=network.outputs.width).tolist()
    network.outputs = replace(network.outputs, counts=tuple(counts))
    return network


def pseudo_label_rounds(
    work: Work, first: Run, data: TrainingData, offered: Offered, trained: Trained
) -> tuple[Run, int, dict[str, Any]]:
    """Train the rounds and return the best one, its training rows, and what is told of all.

    Args:
        work: the run.
        first: the training on the labelled rows alone, which is round 0 and labels the first one's rows.
        data: the labelled rows.
        offered: the rows without labels.
        trained: trains a round.
    """
    rounds = [_facts(work, 0, None, len(data), first)]
    kept, kept_rows, best = first, len(data), 0
    last, before, ended = first, "", None
    for number in range(1, offered.spec.rounds + 1):
        folder = round_folder(work.folder.stage("train"), number)
        if not offered.counts["offered"]:
            ended = "no row was offered"
            break
        taken = _labels(work, folder, last.network, offered)
        if not len(taken):
            ended = f"round {number}: no row reached the threshold"
            break
        if taken.digest == before:
            ended = f"round {number}: the same rows with the same labels as in the round before"
            break
        before = taken.digest
        more = _joined(data, offered, taken)
        work.console.stage(
            f"round {number}", f"{len(taken):,} of {offered.counts['offered']:,} rows taken, {len(more):,} in all"
        )
        last = trained(_fresh(work, more), more, number, {**work.identity, "pseudo-labels": before})
        rounds.append(_facts(work, number, taken, len(more), last))
        if _better(last, kept):
            kept, kept_rows, best = last, len(more), number
    if ended:
        work.console.detail(ended)
    figures = ", ".join(f"round {one['round']} {one['validation_accuracy']:.4f}" for one in rounds)
    work.console.detail(f"validation accuracy: {figures}; round {best} is kept")
    facts = {
        "source": offered.spec.source,
        "threshold": offered.spec.threshold,
        "balance": offered.spec.balance,
        **offered.counts,
        "notes": list(offered.notes),
        "rounds": rounds,
        "ended": ended,
        "kept_round": best,
    }
    return kept, kept_rows, facts


def sentence(facts: dict[str, Any]) -> str:
    """Return the facts in a sentence, for the report."""
    figures = "; ".join(
        f"round {one['round']}: {one['taken']:,} taken, validation accuracy {one['validation_accuracy']:.4f}"
        for one in facts["rounds"]
    )
    return (
        f"pseudo-labels (threshold {facts['threshold']:g}): of {facts['rows']:,} rows without labels "
        f"{facts['offered']:,} were offered ({facts['in_validation_or_test']:,} that validation or test rows equal "
        f"were left out); {figures}; round {facts['kept_round']} is kept"
    )
