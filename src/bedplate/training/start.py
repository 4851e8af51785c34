"""Weights to begin with: found in a file, renamed, matched to the model, and a report of what matched and what didn't.

A bundle, a run's folder, a checkpoint's and a .safetensors file hold tensors and nothing else. Any other
file is taken for a PyTorch state dict and read with `weights_only=True`, so that nothing in it is executed.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # the error alone; nothing is unpickled here
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bedplate.bundle import Bundle
from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.models import Network, TextInput
from bedplate.models.checkpoints import fitted, is_checkpoint, read_checkpoint
from bedplate.recipe.schema import StartSpec

_WRAPPED = ("state_dict", "model_state_dict", "model", "net")
"""Under which keys training scripts usually put the state dict among other things."""
_PREFIXES = ("module.", "_orig_mod.", "body.")
"""What DataParallel, torch.compile and Bedplate's own network put before every name."""


@dataclass(frozen=True)
class Started:
    """What was found for the model.

    Attributes:
        source: where the weights came from.
        matched: the model's names that were loaded.
        missing: the model's names that the file doesn't hold; they keep their fresh weights.
        unused: the file's names (after renaming) that the model doesn't have.
        reshaped: names whose shapes differ, with (the model's, the file's); they keep their fresh weights.
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: dict[str, tuple[list[int], list[int]]]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "source": self.source,
            "matched": list(self.matched),
            "missing": list(self.missing),
            "unused": list(self.unused),
            "reshaped": {name: {"model": a, "file": b} for name, (a, b) in self.reshaped.items()},
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        said = [f"{len(self.matched)} of {len(self.matched) + len(self.missing) + len(self.reshaped)} tensors matched"]
        said += [f"not in the file: {listing(self.missing)}"] if self.missing else []
        said += [f"not in the model: {listing(self.unused)}"] if self.unused else []
        said += [
            f"another shape: {name} is {wanted} in the model, {found} in the file"
            for name, (wanted, found) in self.reshaped.items()
        ]
        return said


def weights_path(spec: StartSpec, base: Path) -> Path:
    """Return where the weights lie: seen from the recipe's folder or, if nothing lies there, from the present one.

    `$NAME` stands for an environment variable.
    """
    path = Path(os.path.expandvars(spec.weights)).expanduser()
    return path if not (base / path).exists() and path.exists() else base / path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a bundle, a run, a safetensors file or a PyTorch state dict, by name.

    Raises:
        InputError: there is no such file, it can't be read, or it holds no tensors.
    """
    if not path.exists():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        unset = next((part for part in path.parts if part.startswith("$")), None)
        raise InputError(
            "no such weights",
            where=f"training.start.weights: {path}",
            expected="a path seen from the recipe's folder, or from the present one",
            hint=f"{unset} isn't set in the environment" if unset else did_you_mean(path.name, near),
        )
    if path.is_dir():
        found: Mapping[str, Any] = _of_folder(path)
    elif path.suffix == ".safetensors":
        found = _of_safetensors(path)
    else:
        found = _of_state_dict(path)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError("the file holds no weights", where=f"training.start.weights: {path}")
    return tensors


def _of_folder(path: Path) -> Mapping[str, Any]:
    for inside in (path / "bundle", path):
        if (inside / "manifest.json").is_file():
            return {name: torch.from_numpy(array.copy()) for name, array in Bundle.open(inside).weights().items()}
    if is_checkpoint(path):
        return read_checkpoint(path).weights()
    trained = path / "train" / "weights.safetensors"
    if trained.is_file():
        return _of_safetensors(trained)
    raise InputError(
        "the folder holds no weights",
        where=f"training.start.weights: {path}",
        expected="a bundle, a run whose training is done, or a checkpoint's config.json and model.safetensors",
    )


def _of_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            "the weights can't be read", where=f"training.start.weights: {path}", received=str(error)
        ) from error


def _of_state_dict(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's make; whether it can be read is told below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are none of its own
        foreign = isinstance(error, UnpicklingError) and "weights_only" in str(error)
        first = "objects other than tensors" if foreign else (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(
            "the weights can't be read",
            where=f"training.start.weights: {path}",
            expected="a bundle, a run, a .safetensors file, or a PyTorch state dict of tensors only",
            received=first,
            hint="objects other than tensors are refused: save `model.state_dict()`",
        ) from error
    while isinstance(found, dict) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[key] for key in _WRAPPED if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    return found if isinstance(found, dict) else {}


def renamed(tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors under the names that the key map gives them; usual prefixes are dropped first.

    Raises:
        InputError: an expression can't be read, or two tensors get one name.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = name
        for prefix in _PREFIXES:
            new = new.removeprefix(prefix)
        for pattern, replacement in keys.items():
            try:
                new = re.sub(pattern, replacement, new)
            except (re.error, IndexError) as error:
                raise InputError(
                    "not a regular expression",
                    where="training.start.keys",
                    received=f"{pattern!r} → {replacement!r}: {error}",
                ) from error
        if new in found:
            raise InputError("two weights get one name", where="training.start.keys", received=f"{new} (from {name})")
        found[new] = tensor
    return found


@torch.no_grad()
def start_from(network: Network, spec: StartSpec, base: Path) -> Started:
    """Load the weights that the recipe names into the network's module, and say what matched.

    Args:
        network: changed in place.
        spec: the recipe's `training.start`.
        base: the folder that its path starts from.

    Raises:
        InputError: nothing matched, or (strict) not everything did.
    """
    path = weights_path(spec, base)
    found = renamed(read_weights(path), spec.keys)
    if is_checkpoint(path) and isinstance(network.inputs, TextInput):
        inputs = network.inputs
        places = inputs.length if network.outputs.sequence else None
        found = fitted(found, inputs.vocabulary, inputs.shift, f"data.text.tokenizer and {path}", places)
    wanted = network.body.state_dict()
    reshaped = {
        name: (list(wanted[name].shape), list(found[name].shape))
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    }
    matched = tuple(name for name in wanted if name in found and name not in reshaped)
    # A counter that older files lack, and that nothing is computed from while momentum is set.
    missing = tuple(name for name in wanted if name not in found and not name.endswith("num_batches_tracked"))
    unused = tuple(name for name in found if name not in wanted and name not in ("mean", "std"))
    started = Started(str(path), matched, missing, unused, reshaped)
    if not matched or (spec.strict and (missing or reshaped or unused)):
        raise InputError(
            "not all weights match" if matched else "no weight matches",
            where=f"training.start.weights: {path}",
            expected=f"names like {listing(list(wanted)[:6])}",
            received=f"{listing(list(found)[:6])}" if not matched else "; ".join(started.lines()),
            hint="training.start.keys renames: regular expression → replacement",
        )
    for name in matched:
        wanted[name].copy_(found[name])
    return started
