"""From an experiment to its cells: one run each of an arm with a seed (and a fold), every recipe checked beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.core.errors import BedplateError, InputError, RecipeError, did_you_mean
from bedplate.core.hashing import fingerprint
from bedplate.experiments.spec import ExperimentSpec, Overrides, arms_of, reference_of
from bedplate.recipe.load import to_dict
from bedplate.recipe.schema import Recipe
from bedplate.stages.resolve import Resolved, resolve
from bedplate.tasks.metrics import metrics_of

_PARTS = ("model", "objective", "training.optimizer", "training.schedule", "training.augment")


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of an experiment: an arm, a seed, a fold (None without folds), and its recipe."""

    arm: str
    seed: int
    fold: int | None
    resolved: Resolved
    folder: str
    until: str = "evaluate"

    @property
    def label(self) -> str:
        """The cell for people."""
        return f"{self.arm}, seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold + 1}")

    @property
    def key(self) -> tuple[int, int]:
        """What a pair of runs shares."""
        return self.seed, -1 if self.fold is None else self.fold

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what decides the run's result, but for the data's content."""
        recipe = to_dict(self.resolved.recipe)
        for key in () if self.until == "pack" else ("name", "compression", "gate", "serving"):
            del recipe[key]
        recipe.pop("search", None)
        return fingerprint({"recipe": recipe, "until": self.until, "plugins": self.resolved.plugins})

    @property
    def data_key(self) -> str:
        """Equal for cells that read the same rows in the same split, and answer with as many numbers."""
        recipe = self.resolved.recipe
        seed = recipe.seed if recipe.data.split.seed is None else recipe.data.split.seed
        data = {**recipe.data.model_dump(mode="json"), "seed": seed}
        told = {"data": data, "task": recipe.task, "base": str(self.resolved.base)}
        if recipe.objective is not None and self.resolved.task.answer in ("forecast", "tags"):
            told["objective"] = recipe.objective.model_dump(mode="json")  # it decides on quantiles, or transitions
        return fingerprint(told)


@dataclass(frozen=True)
class Matrix:
    """All cells of an experiment in the order in which they run; `metric` is what arms are compared by.

    `instead_of` is the metric that was asked for, where arms can't be compared by it.
    """

    spec: ExperimentSpec
    arms: list[str]
    reference: str
    metric: str
    cells: list[Cell]
    instead_of: str | None = None

    def of(self, arm: str) -> list[Cell]:
        """Return an arm's cells."""
        return [cell for cell in self.cells if cell.arm == arm]


def _text(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


def _locate(text: str, base: Path) -> str:
    """Return a recipe's path, taken from the experiment's folder where it lies there; else the text as it is."""
    beside = base / Path(text).expanduser()
    return str(beside) if beside.is_file() else text


def _named_parts(recipe: str, overrides: Overrides) -> list[str]:
    """Return the names of parts of which only an argument is overridden, as overrides.

    So that `model.dropout: 0.1` keeps the recipe's model, however the recipe writes it (`model: cnn`, or not at all).
    """
    touched = [part for part in _PARTS if any(key.startswith(part + ".") for key in overrides)]
    touched = [part for part in touched if part not in overrides and f"{part}.name" not in overrides]
    if not touched:
        return []
    found = []
    resolved = resolve(recipe).recipe
    for part in touched:
        value: Any = resolved
        for step in part.split("."):
            value = getattr(value, step)
        if value is not None and hasattr(value, "name"):
            found.append(_text(f"{part}.name", value.name))
    return found


def _overrides(recipe: str, own: Overrides, further: Sequence[str]) -> list[str]:
    """Return an arm's overrides as `key.path=value` texts; baselines are fitted only where someone asks for them."""
    found = [*_named_parts(recipe, own), *(_text(key, value) for key, value in own.items()), *further]
    asked = any(text.startswith(("evaluation.baselines", "evaluation=")) for text in found)
    return found if asked else [*found, "evaluation.baselines=false"]


def folder_names(arms: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each arm: plain characters, no two alike (in upper or lower case)."""
    found: dict[str, str] = {}
    for arm in arms:
        plain = re.sub(r"[^A-Za-z0-9._=-]+", "-", arm).strip("-.").lower()[:60] or "arm"
        name, number = plain, 2
        while name in found.values():
            name, number = f"{plain}-{number}", number + 1
        found[arm] = name
    return found


def build_matrix(spec: ExperimentSpec, base: Path, overrides: Sequence[str] = (), name: str = "experiment") -> Matrix:
    """Return every cell with its resolved recipe; nothing is read or trained.

    Args:
        spec: the experiment.
        base: the folder that paths of recipes start from.
        overrides: further `key.path=value` texts for every arm's recipe.
        name: what to call the experiment in messages.

    Raises:
        RecipeError: with every problem of every arm.
    """
    arms = arms_of(spec)
    problems: list[BedplateError] = []
    found: dict[str, tuple[str, list[str], Recipe]] = {}
    for arm, (recipe, own) in arms.items():
        text = _locate(recipe, base)
        try:
            plain = _overrides(text, {**spec.overrides, **own}, overrides)
            found[arm] = text, plain, resolve(text, plain).recipe
            if found[arm][2].training.batch_size == "auto":
                problems.append(
                    InputError(
                        "an experiment needs a batch size that stays", where=f"{name} arm '{arm}'",
                        received="training.batch_size: auto", hint="give a number",
                    )
                )  # fmt: skip
        except RecipeError as error:
            problems += [_at(problem, name, arm) for problem in error.problems]
        except InputError as error:
            problems.append(_at(error, name, arm))
    if problems:
        raise RecipeError(problems)
    # One split for all arms, whatever seeds their recipes name: else pairs would not share their rows.
    steady = found[reference_of(spec)][2].seed
    folders = folder_names(list(arms))
    cells: dict[tuple[int, int, int], Cell] = {}
    for place, (arm, (text, plain, recipe_)) in enumerate(found.items()):
        own_split = recipe_.data.split.seed
        for at, seed in enumerate(spec.seed_list):
            for fold in range(spec.folds) if spec.folds else (None,):
                split = seed if spec.resplit or spec.folds else steady
                given = [f"seed={seed}", f"data.split.seed={split if own_split is None else own_split}"]
                if fold is not None:
                    given += [f"data.split.folds={spec.folds}", f"data.split.fold={fold}"]
                where = f"cells/{folders[arm]}/seed-{seed}" + ("" if fold is None else f"-fold-{fold}")
                cells[(at, fold or 0, place)] = Cell(
                    arm, seed, fold, resolve(text, [*plain, *given]), where, spec.until
                )
    ordered = [cells[key] for key in sorted(cells)]
    first_of: dict[str, int] = {}
    for place, cell in enumerate(ordered):
        first_of.setdefault(cell.data_key, place)
    # Cells of the same rows run one after the other, so that the data is read once.
    ordered.sort(key=lambda cell: first_of[cell.data_key])
    metric = _metric(spec, ordered, name)
    if metric in ("loss", "perplexity") and len({_vocabulary(cell.resolved.recipe) for cell in ordered}) > 1:
        return Matrix(spec, list(arms), reference_of(spec), "bits_per_byte", ordered, metric)
    return Matrix(spec, list(arms), reference_of(spec), metric, ordered)


def _vocabulary(recipe: Recipe) -> str:
    """Return what decides a language model's tokens; a loss of one token compares only where these are the same.

    Seeds don't count: arms are compared seed by seed.
    """
    data, text = recipe.data, recipe.data.text
    learnt_on = data.model_dump(mode="json", include={"source", "files", "split"})
    learnt_on["split"] = {key: value for key, value in learnt_on["split"].items() if key not in ("seed", "fold")}
    limit = data.limit if recipe.task == "text-to-text" else None  # a plain text's tokens are learnt before its limit
    return fingerprint([text.tokenizer, text.tokens, text.size, text.lower, learnt_on, limit])


def _at(problem: BedplateError, name: str, arm: str) -> BedplateError:
    where = (problem.where or "").removeprefix("--set ")
    return InputError(
        problem.what, where=f"{name} arm '{arm}': {where}".rstrip(": "), expected=problem.expected,
        received=problem.received, hint=problem.hint,
    )  # fmt: skip


def _metric(spec: ExperimentSpec, cells: list[Cell], name: str) -> str:
    """Return the metric, after checking that every arm's task has it."""
    tasks = {cell.resolved.recipe.task: cell.resolved.task for cell in cells}
    kinds = {task.answer for task in tasks.values()}
    if len(kinds) > 1:
        raise RecipeError(
            [InputError("arms of two kinds can't be compared", where=name, received=" and ".join(sorted(tasks)))]
        )
    shared = [metrics_of(task) for task in tasks.values()]
    known = tuple(name for name in shared[0] if all(name in others for others in shared))
    if spec.metric is not None and spec.metric not in known:
        raise RecipeError(
            [InputError(f"{next(iter(tasks))} has no '{spec.metric}'", where=f"{name} metric",
                        expected=f"one of {', '.join(known)}", hint=did_you_mean(spec.metric, known))]
        )  # fmt: skip
    if spec.ensemble and any(task.payload in ("sentence", "text") for task in tasks.values()):
        raise RecipeError(
            [InputError("models of texts aren't joined to an ensemble yet", where=f"{name} ensemble",
                        hint="leave the ensemble out; the members are there")]
        )  # fmt: skip
    if spec.ensemble and spec.ensemble.combine == "vote" and kinds != {"classes"}:
        raise RecipeError([InputError("numbers can't vote", where=f"{name} ensemble.combine", expected="average")])
    return spec.metric or next(iter(tasks.values())).primary
