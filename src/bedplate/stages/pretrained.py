"""Where training starts from a checkpoint of others, it decides what the recipe leaves open."""

from __future__ import annotations

import os
from pathlib import Path

from bedplate.core.errors import InputError, RecipeError
from bedplate.models.checkpoints import TOKENIZER, is_checkpoint, read_checkpoint
from bedplate.recipe.schema import Part, Recipe
from bedplate.tasks import Task
from bedplate.training.start import weights_path

_FREE = ("pooling", "dropout")
"""The model's arguments that a recipe may set otherwise than the checkpoint: no weight hangs on them."""


def with_checkpoint(recipe: Recipe, task: Task, base: Path, where: Path) -> Recipe:
    """Return the recipe with the checkpoint's model, sizes, tokenizer and length written where it says nothing.

    Without a checkpoint, or for another kind of data than texts, it is returned as it is.

    Raises:
        InputError: the checkpoint can't be read, or its architecture isn't known.
        RecipeError: the recipe contradicts it, or it brings no tokenizer and the recipe names none.
    """
    start = recipe.training.start
    if start is None or task.payload != "text" or not is_checkpoint(weights_path(start, base)):
        return recipe
    folder = weights_path(start, base)
    checkpoint = read_checkpoint(folder)
    model = recipe.model or Part(name=checkpoint.architecture.model)
    found = [
        InputError(
            f"the checkpoint has another {key}", where=f"{where} model.{key}", expected=str(wanted),
            received=str(given), hint="leave it out: the checkpoint decides",
        )
        for key, wanted, given in (
            ("name", checkpoint.architecture.model, model.name),
            *((key, value, model.arguments.get(key, value)) for key, value in checkpoint.arguments.items()),
        )
        if key not in _FREE and wanted != given
    ]  # fmt: skip
    text, embedding = recipe.data.text, recipe.embedding
    if text.tokenizer is None:
        if checkpoint.tokenizer is None:
            found.append(
                InputError(
                    f"the checkpoint brings no {TOKENIZER}", where=f"{where} data.text.tokenizer",
                    expected="the tokenizer that the weights were trained with", received="nothing",
                )
            )  # fmt: skip
        # Written as the weights are, so that a variable of the environment stays one.
        seen = (base / Path(os.path.expandvars(start.weights)).expanduser()).exists()
        text = text.model_copy(update={"tokenizer": f"{start.weights if seen else folder.resolve()}/{TOKENIZER}"})
    if task.answer == "tokens" and text.length is not None and text.length > checkpoint.places:
        found.append(
            InputError(
                "the checkpoint has fewer places", where=f"{where} data.text.length",
                expected=f"at most {checkpoint.places:,}", received=f"{text.length:,}",
            )
        )  # fmt: skip
    learnt = [key for key in ("tokens", "size") if getattr(text, key) is not None]
    if learnt:
        found.append(
            InputError(
                "the checkpoint's tokenizer isn't learnt", where=f"{where} data.text.{learnt[0]}", hint="leave it out"
            )
        )
    if found:
        raise RecipeError(list(found))
    if task.answer in ("tokens", "vector") and text.length is None:
        text = text.model_copy(update={"length": checkpoint.length})
    if checkpoint.modules and "normalise" not in embedding.model_fields_set:
        embedding = embedding.model_copy(update={"normalise": "Normalize" in checkpoint.modules})
    return recipe.model_copy(
        update={
            "model": Part(name=model.name, **{**checkpoint.arguments, **model.arguments}),
            "data": recipe.data.model_copy(update={"text": text}),
            "embedding": embedding,
        }
    )
