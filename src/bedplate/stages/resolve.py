"""Resolve a recipe: find it, load its plug-ins, check what its parts are given, and write every default out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml

from bedplate.codecs.chat import ROLES, ChatTemplate
from bedplate.compression import methods
from bedplate.core.errors import BedplateError, InputError, RecipeError, did_you_mean, listing
from bedplate.core.registry import Registry
from bedplate.data.language_spec import of_language
from bedplate.data.pair_pool import is_parallel
from bedplate.data.shards import is_pattern
from bedplate.evaluation.metrics import CLASSIFICATION, TEXTS, within_range
from bedplate.models import models
from bedplate.objectives import objectives
from bedplate.recipe.load import Raw, load
from bedplate.recipe.schema import Part, PretrainSpec, Recipe, TrainingSpec
from bedplate.stages.plugins import load_plugins
from bedplate.stages.pretrained import with_checkpoint
from bedplate.tasks import TASKS, Task, get_task
from bedplate.tasks.metrics import metrics_of
from bedplate.training import augments, optimizers, parts_of, schedules
from bedplate.training.augment import kind_of

LANGUAGE_METHODS = ["int8-dynamic", "int8-weights"]
"""The variants that a language model tries where the recipe doesn't say."""


@dataclass(frozen=True)
class Resolved:
    """A recipe with every default written out; `base` is the folder that its paths start from."""

    recipe: Recipe
    task: Task
    path: Path
    base: Path
    plugins: dict[str, str]


def recipes_folder() -> Path:
    """Return the folder of the recipes that come with Bedplate."""
    packaged = Path(str(files("bedplate"))) / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with Bedplate: `task/name` → path."""
    folder = recipes_folder()
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.glob("*/*.yaml"))}


def find_recipe(text: str) -> Path:
    """Return the file that a path, or a shipped recipe's name (`digits`, `image-classification/digits`), stands for."""
    path = Path(text).expanduser()
    if path.is_file():
        return path
    shipped = shipped_recipes()
    for name, file in shipped.items():
        if text in (name, name.partition("/")[2]):
            return file
    if path.is_dir():
        raise InputError(
            "a folder is not a recipe",
            where=text,
            expected="a YAML file",
            hint="`bedplate init DATA` writes one for your data",
        )
    names = [
        *shipped,
        *(name.partition("/")[2] for name in shipped),
        *(p.name for p in path.parent.glob("*.y*ml") if path.parent.is_dir()),
    ]
    raise InputError(
        "no such recipe",
        where=text,
        expected="a YAML file, or a name that `bedplate recipes` lists",
        hint=did_you_mean(text, names),
    )


def _check_part(raw: Any, registry: Registry[Any], where: str) -> list[BedplateError]:
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        return []
    return registry.problems(raw["name"], {key: value for key, value in raw.items() if key != "name"}, where)


def check_parts(raw: Raw) -> Iterable[BedplateError]:
    """Find problems with the registered parts that a raw recipe names: unknown names, arguments and types."""
    found = _check_part(raw.get("model"), models, "model") + _check_part(raw.get("objective"), objectives, "objective")
    training = raw.get("training")
    if isinstance(training, dict):
        for key, registry in (("optimizer", optimizers), ("schedule", schedules)):
            found += _check_part(training.get(key), registry, f"training.{key}")
        given = training.get("augment")
        for index, part in enumerate(given if isinstance(given, list) else [given]):
            found += _check_part(part, augments, f"training.augment{f'.{index}' if isinstance(given, list) else ''}")
    compression = raw.get("compression")
    given = compression.get("methods") if isinstance(compression, dict) else None
    for index, name in enumerate(given if isinstance(given, list) else ()):
        found += _check_part({"name": name}, methods, f"compression.methods.{index}")
    return found + check_combinations(raw)


def check_combinations(raw: Raw) -> list[BedplateError]:
    """Find keys that are each fine but don't go together."""
    found: list[BedplateError] = []
    data, task = raw.get("data"), TASKS.get(str(raw.get("task")))
    if isinstance(data, dict):
        source, several = data.get("source"), data.get("files")
        if (source is None) == (several is None):
            found.append(InputError("say where the data is, once", where="data", expected="either `source` or `files`"))
        found += check_talks(data.get("text"), task)
        split = data.get("split")
        own = task is not None and task.payload == "series"  # whose times data.series names
        if isinstance(split, dict) and split.get("by") in ("group", "time") and not split.get("column") and not own:
            found.append(InputError(f"a split by {split['by']} needs `column`", where="data.split"))
        if (
            isinstance(split, dict)
            and isinstance(split.get("validation"), float)
            and isinstance(split.get("test"), float)
            and split["validation"] + split["test"] >= 0.9
        ):
            found.append(
                InputError(
                    "nothing much is left to train on", where="data.split", expected="validation + test below 0.9"
                )
            )
        if isinstance(split, dict) and split.get("test") == 0 and not (task and task.answer == "tokens"):
            found.append(
                InputError("nothing is left to judge the model on", where="data.split.test", expected="above 0")
            )
        embedded = {
            "digits": "image",
            "mnist": "image",
            "fashion-mnist": "image",
            "cifar10-jpeg": "image",
            "breast-cancer": "table",
            "diabetes": "table",
            "wine": "table",
            "imdb": "text",
        }
        if task and isinstance(source, str) and embedded.get(source, task.payload) != task.payload:
            found.append(
                InputError(
                    f"'{source}' is no data for {task.name}", where="data.source", expected=f"a {task.payload} source"
                )
            )
        bare = isinstance(source, str) and source not in embedded
        if task and task.payload in ("series", "table") and not data.get("target") and (bare or several):
            found.append(InputError(f"a {task.payload} needs `target`: the column to predict", where="data"))
    if isinstance(data, dict) and task and data.get("label_separator") is not None and task.answer != "labels":
        hint = "for several labels a row, task: multi-label-classification"
        found.append(InputError("a row has one label only", where="data.label_separator", hint=hint))
    if isinstance(data, dict) and task and data.get("label_columns") is not None:
        if task.answer != "labels":
            hint = "name the one column: data.target"
            found.append(InputError("a row has one label only", where="data.label_columns", hint=hint))
        elif data.get("target") is not None or data.get("label_separator") is not None:
            other = "target" if data.get("target") is not None else "label_separator"
            found.append(
                InputError(f"either `label_columns` or `{other}`", where="data", hint="a column a label, or one of all")
            )
    if isinstance(data, dict) and task and data.get("positive") is not None and task.answer == "labels":
        found.append(InputError("labels of which a row has several are each there or not", where="data.positive"))
    compression = raw.get("compression")
    asked = compression.get("methods") if isinstance(compression, dict) else None
    if task and task.answer == "tokens" and isinstance(asked, list) and any("static" in str(name) for name in asked):
        found.append(
            InputError(
                "a graph that carries a past has no fixed ranges to quantise by", where="compression.methods",
                expected=listing(LANGUAGE_METHODS), received=listing(map(str, asked)),
            )
        )  # fmt: skip
    evaluation = raw.get("evaluation")
    if task and task.primary not in TEXTS and isinstance(evaluation, dict) and evaluation.get("beams", 1) != 1:
        found.append(
            InputError(
                "only texts that are answered by texts have beams", where="evaluation.beams",
                hint="leave it out; `bedplate predict --beams` asks a language model for them",
            )
        )  # fmt: skip
    known = metrics_of(task) if task else CLASSIFICATION
    gate = raw.get("gate")
    for bound, metrics in gate.items() if task and isinstance(gate, dict) else ():
        for name, value in metrics.items() if isinstance(metrics, dict) else ():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in known and number and within_range(name, value) != value:
                found.append(
                    InputError(
                        f"{name} is never so", where=f"gate.{bound}.{name}",
                        expected=f"a value that it can have, such as {within_range(name, value):g}",
                        received=f"{value:g}",
                    )
                )  # fmt: skip
            if name not in known:
                found.append(
                    InputError(
                        f"unknown metric '{name}'",
                        where=f"gate.{bound}.{name}",
                        expected=f"one of {listing(known)}",
                        hint=did_you_mean(str(name), known),
                    )
                )
    return found + check_training(raw.get("training"), task)


def check_talks(text: Any, task: Task | None) -> list[BedplateError]:
    """Find keys of `data.text` that are for talks where there are none, and templates that don't show a message."""
    found: list[BedplateError] = []
    if not isinstance(text, dict):
        return found
    for key in ("messages", "template"):
        if text.get(key) is not None and task and task.primary not in TEXTS:
            found.append(InputError("only text-to-text learns talks", where=f"data.text.{key}", hint="leave it out"))
    if text.get("template") is not None and text.get("messages") is None:
        found.append(
            InputError(
                "only talks have a template", where="data.text.template", hint="name their column as data.text.messages"
            )
        )
    template = text["template"] if isinstance(text.get("template"), dict) else {}
    for role in ROLES:
        try:
            if isinstance(template.get(role), str):
                ChatTemplate(**{role: template[role]})
        except InputError as error:
            error.where = f"data.text.template.{role}"
            found.append(error)
    return found


def check_training(training: Any, task: Task | None) -> list[BedplateError]:
    """Find keys of `training` that don't go together."""
    found: list[BedplateError] = []
    if not isinstance(training, dict):
        return found
    payload = task.payload if task else None
    if training.get("device") == "cuda" and not torch.cuda.is_available():
        found.append(
            InputError("torch finds no GPU here", where="training.device", expected="auto or cpu", received="cuda")
        )
    most = 4 * (os.cpu_count() or 1)
    if isinstance(training.get("threads"), int) and training["threads"] > most:
        found.append(
            InputError(
                "more threads than this machine can use",
                where="training.threads",
                expected=f"at most {most}, four for each processor",
                received=str(training["threads"]),
                hint="leave it out: as many as the machine grants",
            )
        )
    if type(training.get("epochs")) is int and training["epochs"] == 0 and not training.get("start"):
        found.append(
            InputError(
                "nothing is trained, and there are no weights to take",
                where="training.epochs",
                expected="1 or more, or training.start",
                received="0",
            )
        )
    given = training.get("augment")
    for index, part in enumerate(given if isinstance(given, list) else [given]):
        if payload and isinstance(part, dict) and part.get("name") in augments.names():
            kind = kind_of(augments.get(part["name"]))
            if kind not in ("mix", payload):
                right = [name for name, factory in augments.parts() if kind_of(factory) in ("mix", payload)]
                found.append(
                    InputError(
                        f"augmentation '{part['name']}' is for {kind}s",
                        where=f"training.augment{f'.{index}' if isinstance(given, list) else ''}",
                        expected=f"one of {listing(right)}" if right else "none",
                    )
                )
    optimizer, schedule = training.get("optimizer"), training.get("schedule")
    averaging = isinstance(optimizer, dict) and optimizer.get("name") == "schedule-free-adamw"
    if averaging and isinstance(schedule, dict) and schedule.get("name") not in (None, "constant"):
        found.append(
            InputError(
                "a schedule-free optimiser takes no falling schedule",
                where="training.schedule",
                expected="constant (with warmup), or nothing",
                received=str(schedule["name"]),
            )
        )
    if averaging and training.get("ema"):
        found.append(InputError("a schedule-free optimiser averages by itself", where="training.ema", hint="remove it"))
    pretrain = training.get("pretrain")
    if task and pretrain is not None and (task.payload != "text" or task.answer not in ("classes", "labels", "vector")):
        found.append(
            InputError(
                "masked-language pre-training is for texts with classes, labels or vectors", where="training.pretrain",
                expected="task: text-classification, multi-label-classification or text-embedding", received=task.name,
                hint="remove it",
            )
        )  # fmt: skip
    if pretrain is not None and training.get("epochs") == 0:
        found.append(
            InputError("nothing is trained after the pre-training", where="training.epochs", expected="1 or more")
        )
    if task and task.answer != "classes" and training.get("pseudo_labels") is not None:
        found.append(InputError("pseudo-labels are for classes", where="training.pseudo_labels", hint="remove it"))
    if task and task.answer != "classes" and training.get("sampling") == "balanced":
        found.append(InputError("balanced sampling is for classes", where="training.sampling", hint="remove it"))
    return found


def _written_out(part: Part, registry: Registry[Any]) -> Part:
    """Return a part with the defaults of its own arguments written out."""
    defaults = {key: p.default for key, p in registry.arguments(part.name).items() if p.default is not p.empty}
    return Part(name=part.name, **{**defaults, **part.arguments})


def _written_out_augment(augment: Part | list[Part] | None) -> Part | list[Part] | None:
    if isinstance(augment, list):
        return [_written_out(part, augments) for part in augment]
    return augment and _written_out(augment, augments)


def _schedule(training: TrainingSpec) -> Part:
    """Return the schedule asked for, or the one that the optimiser wants where nothing was said."""
    if training.optimizer.name == "schedule-free-adamw" and "schedule" not in training.model_fields_set:
        return Part(name="constant", warmup=0.05)
    return training.schedule


def _pretrain(training: TrainingSpec) -> PretrainSpec | None:
    """Return the pre-training with its rate written out: weights that know something are moved more gently."""
    spec = training.pretrain
    if spec is None or spec.lr is not None:
        return spec
    return spec.model_copy(update={"lr": 1e-4 if training.start else 5e-4})


def resolve(text: str, overrides: Sequence[str] = ()) -> Resolved:
    """Return the resolved recipe that a path or shipped name, with `--set` overrides, stands for.

    Raises:
        RecipeError: all problems at once, before any data is read.
    """
    path = find_recipe(text)
    base = path.resolve().parent
    plugins: dict[str, str] = {}

    def check(raw: Raw) -> Iterable[BedplateError]:
        given = raw.get("plugins")
        if isinstance(given, list) and all(isinstance(item, str) for item in given):
            try:
                plugins.update(load_plugins(given, base))
            except InputError as error:
                return [
                    InputError(
                        error.what,
                        where="plugins",
                        received=f"{error.where}: {error.received or ''}".rstrip(": "),
                        hint=error.hint,
                    )
                ]
        return check_parts(raw)

    recipe = load(path, overrides=overrides, check=(check,))
    task = get_task(recipe.task)
    recipe = with_checkpoint(recipe, task, base, path)
    model = _written_out(recipe.model or Part(name=task.model), models)
    objective_name = "perceptron" if model.name == "perceptron" and recipe.objective is None else task.objective
    objective = _written_out(recipe.objective or Part(name=objective_name), objectives)
    made = objectives.get(objective.name)(**objective.arguments)
    kind = made.kind
    mixing = [part.name for part in parts_of(recipe.training.augment) if kind_of(augments.get(part.name)) == "mix"]
    if mixing and not made.soft:
        raise RecipeError(
            [
                InputError(
                    f"'{mixing[0]}' gives mixed targets, which objective '{objective.name}' doesn't take",
                    where=f"{path} training.augment",
                    hint="use cross-entropy, squared-error or huber",
                )
            ]
        )
    # A forecast is numbers: whoever minimises the error of one minimises that of several.
    also = {"forecast": ["number"], "tags": ["classes"] if made.words else []}.get(task.answer, [])
    if kind not in ("any", task.answer, *also):
        raise RecipeError(
            [
                InputError(
                    f"objective '{objective.name}' is for {kind}",
                    where=f"{path} objective.name",
                    expected=f"one for {task.answer}",
                    hint=f"'{task.objective}' is the default of {task.name}",
                )
            ]
        )
    training = recipe.training.model_copy(
        update={
            "optimizer": _written_out(recipe.training.optimizer, optimizers),
            "schedule": _written_out(_schedule(recipe.training), schedules),
            "augment": _written_out_augment(recipe.training.augment),
            "pretrain": _pretrain(recipe.training),
        }
    )
    data = recipe.data
    compression = recipe.compression
    if task.answer == "tokens":
        data = of_language(data)
        if "methods" not in compression.model_fields_set:
            compression = compression.model_copy(update={"methods": list(LANGUAGE_METHODS)})
    if task.payload == "series" and "by" not in data.split.model_fields_set:  # random is what others mean by nothing
        data = data.model_copy(update={"split": data.split.model_copy(update={"by": "time"})})
    recipe = recipe.model_copy(
        update={"data": data, "model": model, "objective": objective, "training": training, "compression": compression}
    )
    return Resolved(recipe, task, path, base, plugins)


def portable(resolved: Resolved) -> Recipe:
    """Return the resolved recipe with its local paths made absolute, so that it runs from any folder."""

    def absolute(text: str | None) -> str | None:
        if text is None or text.startswith("$"):
            return text
        path = resolved.base / Path(text).expanduser()
        if (is_pattern(text) or is_parallel(text)) and not path.exists():
            return str(path.parent.resolve() / path.name)
        return str(path.resolve()) if path.exists() else text

    data = resolved.recipe.data
    files_spec = data.files and data.files.model_copy(
        update={key: absolute(value) for key, value in data.files.model_dump().items()}
    )
    text = data.text.model_copy(update={"tokenizer": absolute(data.text.tokenizer)})
    data = data.model_copy(update={"source": absolute(data.source), "files": files_spec, "text": text})
    plugins = [os.fspath((resolved.base / Path(text).expanduser()).resolve()) for text in resolved.recipe.plugins]
    training = resolved.recipe.training
    start = training.start and training.start.model_copy(update={"weights": absolute(training.start.weights)})
    pseudo = training.pseudo_labels
    pseudo = pseudo and pseudo.model_copy(update={"source": absolute(pseudo.source)})
    pretrain = training.pretrain
    pretrain = pretrain and pretrain.model_copy(update={"texts": absolute(pretrain.texts)})
    training = training.model_copy(update={"start": start, "pseudo_labels": pseudo, "pretrain": pretrain})
    return resolved.recipe.model_copy(update={"data": data, "plugins": plugins, "training": training})


def comment_of(path: Path) -> str:
    """Return a recipe's first comment line, without its mark."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return (
        first.lstrip("# ")
        if first.startswith("#")
        else str(yaml.safe_load(path.read_text(encoding="utf-8")).get("name", ""))
    )
