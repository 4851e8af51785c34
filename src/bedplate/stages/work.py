"""What every stage works on: the resolved recipe, the data, the folder, and the fingerprints that say what is done."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from bedplate.core.arrays import Arrays
from bedplate.core.console import Console
from bedplate.core.hashing import fingerprint
from bedplate.core.machine import threads_granted
from bedplate.core.seeds import derive
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.unlabelled import source_digest
from bedplate.models import Network, Outputs, build, inputs_from_spec
from bedplate.recipe.load import recipe_fingerprint, to_dict
from bedplate.stages.folder import RunFolder
from bedplate.stages.resolve import Resolved
from bedplate.training import weights_digest
from bedplate.training.start import read_weights, weights_path

_LATER = ("evaluation", "compression", "gate", "serving")
"""The recipe's sections that don't touch the weights."""


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
        """Return the SHA-256 of all that decides a stage's result: the recipe's part up to it, plug-ins, data."""
        recipe = to_dict(self.recipe)
        needed = {"train": 0, "evaluate": 1, "compress": 2, "pack": 4}[stage]
        for key in _LATER[needed:]:
            del recipe[key]
        del recipe["name" if stage != "pack" else "seed"]
        del recipe["search"]
        # Who does the work doesn't change what comes of it; that the count is equal is asked where a run is resumed.
        del recipe["training"]["workers"]
        data = [self.dataset.fingerprint, self.dataset.split_fingerprint, *self._started_from, *self._unlabelled]
        return fingerprint({"recipe": recipe, "seed": self.recipe.seed, "plugins": self.resolved.plugins, "data": data})

    @cached_property
    def _started_from(self) -> list[str]:
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
    def outputs(self) -> Outputs:
        """What the model answers, with the training target's mean and standard deviation for a number."""
        if self.dataset.answers.labels is not None:
            counts = np.bincount(self.dataset.train.targets, minlength=len(self.dataset.answers.labels))
            return Outputs(len(counts), counts=tuple(counts.tolist()))
        targets = np.asarray(self.dataset.train.targets, np.float64)
        return Outputs(None, float(targets.mean()), float(targets.std()) or 1.0)

    def build(self) -> Network:
        """Return the freshly initialised network."""
        assert self.recipe.model is not None
        inputs = inputs_from_spec(self.dataset.codec.feature_spec())
        return build(
            self.recipe.model.name,
            self.recipe.model.arguments,
            inputs,
            self.outputs,
            derive(self.recipe.seed, "weights") % 2**31,
        )

    @property
    def model_json(self) -> dict[str, Any]:
        """What is needed to build the network again from its weights."""
        assert self.recipe.model is not None
        outputs = {"classes": self.outputs.classes, "mean": self.outputs.mean, "std": self.outputs.std}
        return {
            "name": self.recipe.model.name,
            "arguments": self.recipe.model.arguments,
            "inputs": self.dataset.codec.feature_spec(),
            "outputs": outputs,
            "plugins": self.resolved.plugins,
        }
