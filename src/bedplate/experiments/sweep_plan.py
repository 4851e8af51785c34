"""What a sweep will do: its space, objectives and name, checked before any data is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bedplate.core.console import Console
from bedplate.core.errors import InputError, RecipeError
from bedplate.core.hashing import fingerprint
from bedplate.evaluation.svg import number
from bedplate.experiments.search_space import SearchSpace, around, base_recipe, check_space, given_dimensions, suggest
from bedplate.experiments.sweep_choices import check_training
from bedplate.experiments.sweep_result import direction
from bedplate.recipe.load import load
from bedplate.recipe.search import SearchSpec
from bedplate.stages.resolve import Resolved, resolve

TOKENS_BY = frozenset(f"data.text.{name}" for name in ("tokens", "size", "tokenizer", "lower"))
"""What decides a text's tokens."""


@dataclass(frozen=True)
class Settled:
    """A sweep that is fully described, before any data is read."""

    resolved: Resolved
    base: str
    space: SearchSpace
    spec: SearchSpec
    objectives: Sequence[str]
    name: str

    @property
    def total(self) -> int:
        """How many trials there are to be: for a grid, all of its points and the recipe's own."""
        return 1 + len(self.space.grid()) if self.spec.sampler == "grid" else self.spec.trials

    @property
    def pruner(self) -> str:
        """The pruner's name; several objectives can't be compared midway."""
        several = len(self.objectives) > 1 or not self.objectives[0].startswith("validation_")
        return "none" if several else self.spec.pruner or "median"

    @property
    def epochs(self) -> int:
        """The most epochs that a trial may take."""
        dimension = self.space.dimensions.get("training.epochs")
        return int(max(dimension.grid())) if dimension else self.resolved.recipe.training.epochs


def settle(recipe: str, changes: Sequence[str] = (), space: Sequence[str] = ()) -> Settled:
    """Return the sweep that a recipe and the command line describe; everything is checked, and no data is read.

    Raises:
        RecipeError: with every problem of the recipe and the space.
    """
    extra = given_dimensions(space)
    resolved = resolve(recipe, changes)
    plain = load(resolved.path, overrides=changes)
    spec = plain.search or SearchSpec()
    base = base_recipe(plain, resolved)
    at = {key: f"search.space.{key}" for key in spec.space}
    load(resolved.path, overrides=changes, check=(lambda _: check_space(base, spec.space, at),))
    texts = {text.partition("=")[0].strip(): f"--space {text}" for text in space}
    problems = list(check_space(base, extra, texts))
    if problems:
        raise RecipeError(problems)
    dimensions = {**spec.space, **extra}
    made = around(resolved.recipe, base, dimensions or suggest(resolved, base), suggested=not dimensions)
    check_training(resolved.recipe, made, str(resolved.path))
    objectives: list[str] = [*spec.objectives] or [f"validation_{resolved.task.select}"]
    _check_objectives(resolved, spec, objectives)
    _check_tokens(resolved, made.dimensions)
    raw = yaml.safe_load(base)
    identity = fingerprint({"recipe": raw, "plugins": resolved.plugins, "space": made.to_json(), "by": objectives})
    return Settled(resolved, base, made, spec, objectives, f"{resolved.recipe.name}-{identity[:12]}")


def _check_objectives(resolved: Resolved, spec: SearchSpec, objectives: Sequence[str]) -> None:
    where = f"{resolved.path} search.objectives"
    here = {
        "classes": {"validation_accuracy"},
        "labels": {"validation_f1"},
        "tags": {"validation_accuracy", "validation_f1"},
    }
    given = here.get(resolved.task.answer, {"validation_rmse"})
    for absent in sorted({"validation_accuracy", "validation_f1", "validation_rmse"} - given):
        if absent in objectives:
            raise RecipeError([InputError(f"{resolved.task.name} has no {absent}", where=where)])
    if len(set(objectives)) < len(objectives):
        raise RecipeError([InputError("the same objective twice", where=where, received=", ".join(objectives))])
    if len(objectives) > 1 and spec.pruner not in (None, "none"):
        raise RecipeError(
            [
                InputError(
                    "trials with several objectives can't be stopped early",
                    where=f"{resolved.path} search.pruner",
                    expected="none",
                    received=spec.pruner,
                )
            ]
        )


def _check_tokens(resolved: Resolved, dimensions: Iterable[str]) -> None:
    """Refuse to search a language model's tokens: its loss is one of a token, and the shortest would win."""
    if resolved.task.answer != "tokens":
        return
    varied = [key for key in dimensions if key in TOKENS_BY]
    if varied:
        raise RecipeError(
            [
                InputError(
                    "trials with other tokens can't be ranked by the loss of a token",
                    where=f"{resolved.path} search.space",
                    received=", ".join(varied),
                    hint="compare tokens by `bedplate experiment`: it judges by bits a byte",
                )
            ]
        )


def announce(settled: Settled, console: Console) -> None:
    """Say what will be searched, and by what."""
    space = settled.space
    console.stage("space", "suggested from the recipe" if space.suggested else f"{len(space.dimensions)} settings")
    wide = max(map(len, space.dimensions))
    for key, dimension in space.dimensions.items():
        own = f"    recipe: {value_text(space.own[key])}" if key in space.own else ""
        words = ", ".join(map(value_text, dimension.grid())) if settled.spec.sampler == "grid" else dimension.words()
        console.detail(f"{key:<{wide}}  {words}{own}")
    for note in space.notes:
        console.detail(f"note: {note}")
    by = ", ".join(f"{name} ({'higher' if direction(name) == 'maximize' else 'lower'})" for name in settled.objectives)
    console.detail(f"by {by.replace('_', ' ')} is better; pruner: {settled.pruner}; the test rows are not looked at")


def value_text(value: Any) -> str:
    """Return a setting's value for people."""
    return number(value) if isinstance(value, float) else str(value)
