"""What is compressed: a run or bundle that can be trained on, or a sealed graph alone.

A bundle with weights, a registered model and its data gets the whole search. From any other only its graph can be
quantised: on its recipe's rows where it has one, else on its golden rows, against its own answers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from bedplate.bundle import Bundle, layout
from bedplate.compression.variants import FOUNDATION
from bedplate.core.arrays import take
from bedplate.core.console import Console
from bedplate.core.errors import InputError, RunError
from bedplate.data.dataset import Dataset
from bedplate.models import models
from bedplate.stages.compress_sealed import Sealed, golden_source
from bedplate.stages.compress_trained import Trained, calibration_rows
from bedplate.stages.data import load_data
from bedplate.stages.folder import MARKER, RunFolder
from bedplate.stages.resolve import resolve
from bedplate.stages.work import Work

Source = Trained | Sealed


def open_source(path: Path, console: Console, check: Callable[[Bundle], None] = lambda bundle: None) -> Source:
    """Open what is to be compressed.

    Args:
        path: a run's folder, or a bundle.
        console: where people read along.
        check: called with the bundle before its data is read; it raises where the rest would be in vain.

    Raises:
        InputError: its data isn't what it was trained on, or only a quantised graph is left of it.
        RunError: the run has no bundle.
    """
    bundle, recipe = _opened(path)
    check(bundle)
    if FOUNDATION not in bundle.variants:
        raise InputError(
            "only a quantised graph is left of this model", where=str(bundle.source),
            received=", ".join(bundle.variants),
            hint="a point of a front; compress the original, with a tighter budget",
        )  # fmt: skip
    if not {"recipe", "data"} <= set(bundle.lineage):
        why = "it was not trained here, so there is no recipe and no data"
        _check_graph_alone(bundle, why)
        return golden_source(bundle, why, console)
    known = _registered(bundle, recipe)
    work = _work(bundle, recipe, console, whole=known)
    _check_data(bundle, work.dataset)
    if work.dataset.stream is not None:
        raise InputError("streamed rows can't be distilled on", where="data.stream", hint="train on rows in memory")
    if not known:
        why = f"its model '{bundle.model['name']}' is not registered here"
    elif layout.WEIGHTS not in bundle.manifest.files:
        why = "it holds no weights"
    elif bundle.answers.many is not None:
        why = "what has several labels a row isn't distilled yet"
    else:
        return Trained(bundle, work)
    _check_graph_alone(bundle, why)
    console.detail(f"only the graph can be quantised: {why}")
    dataset = work.dataset
    return Sealed(
        bundle, console, dataset.answers, take(dataset.train.inputs, calibration_rows(work)), dataset.validation,
        dataset.test, work.recipe.compression.methods, work.recipe.seed, work.task.primary,
        (f"only the graph was quantised: {why}",), dataset.codec,
    )  # fmt: skip


def _check_graph_alone(bundle: Bundle, why: str) -> None:
    """Refuse a model that writes text: what is made of its graph must go on with texts as its network does."""
    if bundle.codec.kind == "language":
        raise InputError(
            "a model that writes text is searched with its network and its data alone", where=str(bundle.source),
            received=why, hint="compress the run, or the bundle, that it was trained as",
        )  # fmt: skip


def _registered(bundle: Bundle, recipe: Path | None) -> bool:
    """Return whether the bundle's model is known here, or a plug-in that would bring it lies where it should."""
    if bundle.model["name"] in models.names():
        return True
    paths = bundle.lineage["recipe"].get("plugins") or ()
    base = recipe.parent if recipe is not None else Path()
    return bool(paths) and all((base / Path(text).expanduser()).exists() for text in paths)


def _opened(source: Path) -> tuple[Bundle, Path | None]:
    """Return the bundle of a run's folder with its recipe, or a bundle alone."""
    if (source / MARKER).is_file():
        if not (source / "bundle").is_dir():
            raise RunError(
                "this run has no bundle to compress", where=str(source), hint="its gate said no, or it wasn't finished"
            )
        recipe = source / "recipe.yaml"
        return Bundle.open(source / "bundle"), recipe if recipe.is_file() else None
    return Bundle.open(source), None


def _work(bundle: Bundle, recipe: Path | None, console: Console, *, whole: bool) -> Work:
    """Return the recipe's work; without its own model where that isn't known here."""
    with tempfile.TemporaryDirectory() as scratch:
        if recipe is None or not whole:
            told = dict(bundle.lineage["recipe"])
            if not whole:
                told = {key: value for key, value in told.items() if key not in ("model", "objective", "plugins")}
            recipe = Path(scratch) / "recipe.yaml"
            recipe.write_text(yaml.safe_dump(told), encoding="utf-8")
        resolved = resolve(str(recipe), _elsewhere(recipe, console))
        return Work(resolved, load_data(resolved, console), RunFolder(Path(scratch)), console)


def _elsewhere(recipe: Path, console: Console) -> list[str]:
    """Return what must change of a recipe whose training was settled on another machine than this one."""
    training = yaml.safe_load(recipe.read_text(encoding="utf-8")).get("training") or {}
    changes = []
    if training.get("device") == "cuda" and not torch.cuda.is_available():
        changes.append("training.device=cpu")
        console.detail("note: it was trained on a GPU, which isn't here: students learn on the CPU, and slowly")
    if isinstance(training.get("threads"), int) and training["threads"] > (os.cpu_count() or 1):
        changes.append("training.threads=null")
    return changes


def _check_data(bundle: Bundle, dataset: Dataset) -> None:
    sealed = bundle.lineage["data"]
    for key, now in (("fingerprint", dataset.fingerprint), ("split_fingerprint", dataset.split_fingerprint)):
        if sealed[key] != now:
            raise InputError(
                "the data isn't what this bundle was trained on",
                where=dataset.name,
                expected=f"{key.replace('_', ' ')} {sealed[key][:12]}",
                received=now[:12],
                hint="compression needs the rows of training, validation and test as they were",
            )
