"""The data stage: read, split and describe; nothing is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bedplate.codecs import from_contract
from bedplate.core.console import Console
from bedplate.core.errors import DataError, InputError, RecipeError, did_you_mean, listing
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.data.sentences import with_counted_transitions
from bedplate.data.tables import counted
from bedplate.objectives import objectives
from bedplate.stages.resolve import Resolved

FEW = 30
"""Rows; of fewer a rate's interval is wider than a third."""


def _check_classes(dataset: Dataset) -> None:
    """Refuse training rows of one class: nothing can be learnt from them, whatever the other splits hold."""
    if dataset.answers.labels is None:
        return
    classes, counts = np.unique(dataset.train.targets, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            "the training rows all have one class",
            where=dataset.name,
            expected="rows of at least two classes after splitting",
            received=f"{counts.sum():,} rows of '{dataset.answers.labels[classes[0]]}'",
            hint="equal inputs stay on one side of the split: give rows with more distinct inputs, "
            "another split, or another data.split fraction",
        )


def _check_stream(resolved: Resolved) -> None:
    """Refuse ways of training that need every training row at once, where the rows are streamed."""
    training = resolved.recipe.training
    if resolved.recipe.data.stream is None:
        return
    wants = {
        "training.sampling": training.sampling == "balanced",
        "training.pseudo_labels": training.pseudo_labels is not None,
    }
    problems = [
        InputError("this needs all training rows in memory", where=f"{resolved.path} {key}",
                   hint=f"leave out {key}, or data.stream")
        for key, given in wants.items() if given
    ]  # fmt: skip
    if problems:
        raise RecipeError(list(problems))


def _as_learnt(dataset: Dataset, resolved: Resolved) -> Dataset:
    """Return the dataset with the quantiles of a forecast, or the transitions of tags, that the objective asks for."""
    part = resolved.recipe.objective
    assert part is not None
    objective = objectives.get(part.name)(**part.arguments)
    if dataset.answers.columns is not None:
        return replace(dataset, answers=replace(dataset.answers, levels=objective.levels))
    if dataset.answers.tags is not None and objective.transitions:
        return with_counted_transitions(dataset)
    return dataset


def _vectors(resolved: Resolved) -> int:
    """Return how many numbers a vector has: as the recipe says, or as a token's vector has in the model."""
    recipe = resolved.recipe
    assert recipe.model is not None
    size = recipe.embedding.size or recipe.model.arguments.get("size")
    if not isinstance(size, int):
        raise RecipeError(
            [
                InputError(
                    f"model '{recipe.model.name}' has no size to take", where=f"{resolved.path} embedding.size",
                    expected="how many numbers a vector has",
                )
            ]
        )  # fmt: skip
    return size


def _within_places(dataset: Dataset, resolved: Resolved, console: Console) -> Dataset:
    """Return the data with texts read no further than the model has places for, where the recipe leaves it open."""
    recipe, codec = resolved.recipe, dataset.codec
    places = recipe.model.arguments.get("positions") if recipe.model else None
    length = codec.feature_spec().get("length", 0) if codec.kind == "text" else 0
    if recipe.data.text.length is not None or not isinstance(places, int) or length <= places:
        return dataset
    console.detail(f"texts are read up to {places} tokens: the model has places for no more")
    return replace(dataset, codec=from_contract({**codec.contract(), "length": places}))


def answers_of(dataset: Dataset) -> str:
    """Return what is answered, in words."""
    answers = dataset.answers
    if answers.labels:
        return f"{len(answers.labels)} classes of {answers.target}"
    if answers.tags is not None:
        return f"{len(answers.tags)} tags: {listing(answers.tags)}"
    if answers.many is not None:
        return f"any of {len(answers.many)} labels: {listing(answers.many)}"
    if answers.columns is not None:
        quantiles = f", {len(answers.levels)} quantiles each" if answers.levels else ""
        return f"{answers.horizon} steps of {listing(answers.columns, 8)}{quantiles}"
    if answers.dimensions:
        return f"a vector of {answers.dimensions} numbers, judged by {answers.target}"
    if answers.sizes:
        return f"the next of {len(answers.sizes):,} tokens"
    return f"a number: {answers.target}"


def _few(dataset: Dataset) -> list[str]:
    """Return what is to be said of splits that judge by few rows."""
    parts = {
        "validation": (len(dataset.validation), "choose the epoch"),
        "test": (len(dataset.test), "judge the model"),
    }
    return [
        f"only {counted(rows, f'{name} row')} {purpose}: too few to tell models apart; give more data, or a larger "
        f"data.split.{name}"
        for name, (rows, purpose) in parts.items()
        if rows < FEW
    ]


def load_data(resolved: Resolved, console: Console) -> Dataset:
    """Return the recipe's data, ready to train on, and say what was found."""
    recipe = resolved.recipe
    source = recipe.data.source or (recipe.data.files.train if recipe.data.files else "")
    console.stage("data", source)
    said: set[str] = set()

    def announce(text: str) -> None:
        said.add(text)
        console.detail(text)

    _check_stream(resolved)
    dataset = load_dataset(recipe.data, recipe.task, recipe.seed, base=resolved.base, announce=announce)
    _check_classes(dataset)
    dataset = replace(dataset, notes=(*dataset.notes, *_few(dataset)))
    dataset = _as_learnt(dataset, resolved)
    if dataset.answers.dimensions:
        dataset = replace(dataset, answers=replace(dataset.answers, dimensions=_vectors(resolved)))
    dataset = _within_places(dataset, resolved, console)
    sizes = (
        f"{dataset.training_rows:,} training, {len(dataset.validation):,} validation, {len(dataset.test):,} test rows"
    )
    console.detail(f"{sizes}; {answers_of(dataset)}")
    for name in recipe.evaluation.slices or ():
        if name not in dataset.test.slices:
            raise RecipeError(
                [
                    InputError(
                        f"there are no slices by '{name}'",
                        where=f"{resolved.path} evaluation.slices",
                        expected=f"one of {listing(dataset.test.slices)}" if dataset.test.slices else "none",
                        hint=did_you_mean(name, dataset.test.slices),
                    )
                ]
            )
    for note in dataset.notes:
        if note not in said:
            console.detail(f"note: {note}")
    return dataset
