"""The measured choices of a sweep: made once, for the recipe itself, and shared by every trial and every process.

Trials that each measured for themselves would pay for it every time, and one that met a busy machine would be computed
otherwise than its neighbour.
"""

from __future__ import annotations

from typing import Any

import optuna
import yaml

from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.experiments.search_space import SearchSpace
from bedplate.objectives import objectives
from bedplate.recipe.schema import Recipe
from bedplate.stages.train import configured_torch, training_data
from bedplate.stages.work import Work
from bedplate.training.choices import choose

SHARED = ("device", "precision", "memory_format", "compile", "threads")
CHOICES = "choices"


def check_training(recipe: Recipe, space: SearchSpace, where: str) -> None:
    """Refuse what trials can't be compared under.

    Raises:
        InputError: a batch size of `auto` that is no part of the space: every trial would measure it anew, and have
            another learning rate; or no epochs.
    """
    if recipe.training.batch_size == "auto" and "training.batch_size" not in space.dimensions:
        raise InputError(
            "a sweep needs a batch size that stays",
            where=where,
            received="training.batch_size: auto",
            hint="give a number, or search it: `training.batch_size: 32..512:log`",
        )
    if recipe.training.epochs < 1:
        raise InputError("a sweep needs trials that train", where=where, expected="training.epochs of 1 or more")


def shared_choices(study: optuna.Study, work: Work, space: SearchSpace, console: Console) -> dict[str, Any]:
    """Return what the study's first process chose, measuring it if this is the first; what is searched is left out."""
    if CHOICES not in study.user_attrs:
        recipe = work.recipe
        assert recipe.objective is not None
        objective = objectives.get(recipe.objective.name)(**recipe.objective.arguments)
        spec = recipe.training
        if spec.batch_size == "auto":
            spec = spec.model_copy(update={"batch_size": type(spec)().batch_size})
        with configured_torch(work.threads):
            choices = choose(
                work.build(),
                objective,
                training_data(work),
                spec,
                seed=recipe.seed,
                threads=work.threads,
                announce=lambda text: console.detail(f"choice: {text}"),
            )
        study.set_user_attr(CHOICES, {key: choices.settled[key] for key in SHARED})
    stored = study.user_attrs[CHOICES]
    return {key: value for key, value in stored.items() if f"training.{key}" not in space.dimensions}


def with_choices(base: str, choices: dict[str, Any]) -> str:
    """Return the trials' YAML with the choices written in."""
    raw = yaml.safe_load(base)
    raw["training"].update(choices)
    return str(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110))
