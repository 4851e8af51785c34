"""What every stage works on: the resolved recipe, the data, the folder, and the fingerprints that say what is done."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bedplate.core.arrays import Arrays
from bedplate.core.console import Console
from bedplate.core.errors import RunError, listing
from bedplate.core.files import read_json
from bedplate.core.hashing import fingerprint
from bedplate.core.machine import threads_granted
from bedplate.core.seeds import derive
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.unlabelled import source_digest
from bedplate.models import Inputs, Network, Outputs, build, inputs_from_spec
from bedplate.recipe.load import recipe_fingerprint, to_dict
from bedplate.stages.folder import RunFolder
from bedplate.stages.resolve import Resolved
from bedplate.training import weights_digest
from bedplate.training.start import read_weights, weights_path

_LATER = ("evaluation", "compression", "gate", "serving")
"""The recipe's sections that don't touch the weights."""


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Return a JSON tree's leaves by dotted path; lists are leaves."""
    if not isinstance(tree, dict):
        return {path: tree}
    found: dict[str, Any] = {}
    for name, item in tree.items():
        found |= _flat(item, f"{path}.{name}" if path else name)
    return found


@dataclass
class Work:
    """One run under way."""

    resolved: Resolved
    dataset: Dataset
    folder: RunFolder
    console: Console
    started: float = field(default_factory=time.monotonic)
    """The clock (`time.monotonic`) when the command, or the call from Python, began."""

    def __post_init__(self) -> None:
        self.recipe = self.resolved.recipe
        self.task = self.resolved.task

    @cached_property
    def threads(self) -> int:
        """How many threads training uses."""
        return self.recipe.training.threads or threads_granted()

    def fingerprint(self, stage: str) -> str:
        """Return the SHA-256 of all that decides a stage's result."""
        return fingerprint(self.decides(stage))

    def decides(self, stage: str) -> dict[str, Any]:
        """Return all that decides a stage's result, as JSON: the recipe's part up to it, plug-ins, digests of data."""
        recipe = to_dict(self.recipe)
        needed = {"train": 0, "evaluate": 1, "compress": 2, "pack": 4}[stage]
        for key in _LATER[needed:]:
            del recipe[key]
        del recipe["name" if stage != "pack" else "seed"]
        del recipe["search"]
        # Who does the work doesn't change what comes of it; that the count is equal is asked where a run is resumed.
        del recipe["training"]["workers"]
        data = {
            "the data": self.dataset.fingerprint,
            "the split": self.dataset.split_fingerprint,
            "the starting weights": self.started_from,
            "the rows without labels": self._unlabelled,
            "the texts to pre-train on": self._pretrained_on,
        }
        return {**recipe, "seed": self.recipe.seed, "plug-ins": self.resolved.plugins, "digests": data}

    def check_same(self, path: Path) -> None:
        """Check that a training under way, whose `decides` lies at `path`, is this one; say what differs.

        Raises:
            RunError: recipe, plug-ins or data are others; it names each key with both values.
        """
        if not path.exists():
            return
        before, now = _flat(read_json(path)), _flat(self.decides("train"))
        changed = [
            key.removeprefix("digests.")
            if key.startswith(("digests.", "plug-ins."))
            else f"{key}: {before.get(key, 'nothing')}, now {now.get(key, 'nothing')}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise RunError(
                "this run was begun with another recipe or other data",
                where=str(self.folder.path),
                expected="what it was begun with",
                received=f"changed: {listing(changed, 6)}",
                hint="start again with --fresh, or put this run elsewhere with --out",
            )

    @cached_property
    def started_from(self) -> list[str]:
        """The SHA-256 of the weights that training begins with, if the recipe names some."""
        spec = self.recipe.training.start
        if spec is None:
            return []
        tensors = read_weights(weights_path(spec, self.resolved.base))
        return [weights_digest(tensors)]

    @cached_property
    def _unlabelled(self) -> list[str]:
        """The SHA-256 of the rows that pseudo-labels are for, if the recipe names some."""
        spec = self.recipe.training.pseudo_labels
        return [source_digest(spec.source, self.resolved.base)] if spec else []

    @cached_property
    def _pretrained_on(self) -> list[str]:
        """The SHA-256 of the texts without labels that are pre-trained on, if the recipe names some."""
        spec = self.recipe.training.pretrain
        return [source_digest(spec.texts, self.resolved.base)] if spec and spec.texts else []

    @property
    def recipe_fingerprint(self) -> str:
        """The SHA-256 of the resolved recipe."""
        return recipe_fingerprint(self.recipe)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a continued training to be bit-equal."""
        return {
            "recipe": self.fingerprint("train"),
            "torch version": torch.__version__,
            "number of threads": self.threads,
            "machine type": platform.machine(),
        }

    def sibling(self, resolved: Resolved, folder: RunFolder, console: Console) -> Work:
        """Return the work of another recipe on the same data, of which nothing is prepared twice."""
        made = Work(resolved, self.dataset, folder, console)
        made.__dict__["_feature_cache"] = self.__dict__.setdefault("_feature_cache", {})
        return made

    def features(self, rows: Rows) -> Arrays:
        """Return what the model reads of `rows`."""
        return self._features(id(rows), rows)

    def _features(self, key: int, rows: Rows) -> Arrays:
        cache: dict[int, Arrays] = self.__dict__.setdefault("_feature_cache", {})
        if key not in cache:
            cache[key] = self.dataset.codec.features(rows.inputs)
        return cache[key]

    @cached_property
    def inputs(self) -> Inputs:
        """What the model reads."""
        return inputs_from_spec(self.dataset.codec.feature_spec())

    @cached_property
    def outputs(self) -> Outputs:
        """What the model answers, with the training target's mean and standard deviation for a number."""
        if self.dataset.answers.sizes:
            return Outputs(len(self.dataset.answers.sizes), sequence=True)
        if self.dataset.answers.labels is not None:
            counts = np.bincount(self.dataset.train.targets, minlength=len(self.dataset.answers.labels))
            return Outputs(len(counts), counts=tuple(counts.tolist()))
        if self.dataset.answers.dimensions:
            return Outputs(vector=self.dataset.answers.dimensions, normalise=self.recipe.embedding.normalise)
        tags = self.dataset.answers.tags
        if tags is not None:
            found = self.dataset.train.targets
            counts = np.bincount(found[found >= 0], minlength=len(tags))
            transitions = self.dataset.answers.transitions
            return Outputs(counts=tuple(counts.tolist()), tags=tags, transitions=transitions)
        targets = np.asarray(self.dataset.train.targets, np.float64)
        if self.dataset.answers.columns is not None:  # scaled as what is read: a forecast goes on from it
            spec = self.dataset.codec.feature_spec()
            levels = self.dataset.answers.levels
            return Outputs(None, tuple(spec["mean"]), tuple(spec["std"]), shape=targets.shape[1:], levels=levels)
        return Outputs(None, float(targets.mean()), float(targets.std()) or 1.0)

    def build(self) -> Network:
        """Return the freshly initialised network."""
        assert self.recipe.model is not None
        return build(
            self.recipe.model.name,
            self.recipe.model.arguments,
            self.inputs,
            self.outputs,
            derive(self.recipe.seed, "weights") % 2**31,
        )

    @property
    def model_json(self) -> dict[str, Any]:
        """What is needed to build the network again from its weights."""
        assert self.recipe.model is not None
        return {
            "name": self.recipe.model.name,
            "arguments": self.recipe.model.arguments,
            "inputs": self.dataset.codec.feature_spec(),
            "outputs": self.outputs.to_json(),
            "plugins": self.resolved.plugins,
        }
