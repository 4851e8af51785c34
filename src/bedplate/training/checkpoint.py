"""Checkpoints: one safetensors file holds everything, and appears whole or not at all. No pickle.

Tensors are stored under their path in the state tree; all else (numbers, texts, the tree's shape) is JSON in the file's
header.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bedplate.core.errors import RunError
from bedplate.core.files import write_bytes

FORMAT = 2
_TENSOR = "__tensor__"


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` with each tensor replaced by a reference, and collect the tensors."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().contiguous().clone()
        return {_TENSOR: path}
    if isinstance(value, dict):
        return {"__dict__": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{k}", tensors) for k, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint can't hold {type(value).__name__} at {path}")


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _join(item, tensors) for key, item in value["__dict__"]}
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    return value


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a tree of tensors, numbers, texts, lists and dicts to `path`, atomically."""
    tensors: dict[str, Tensor] = {}
    tree = _split(state, "", tensors)
    write_bytes(path, save(tensors, {"bedplate": json.dumps({"format": FORMAT, "tree": tree})}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        RunError: the file is damaged or of another format.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["bedplate"])
        if header["format"] != FORMAT:
            raise RunError(
                "the checkpoint is of another format",
                where=str(path),
                expected=str(FORMAT),
                received=str(header["format"]),
            )
        state: dict[str, Any] = _join(header["tree"], tensors)
        return state
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise RunError(
            "the checkpoint can't be read", where=str(path), received=str(error), hint="start again with --fresh"
        ) from error


def weights_digest(state: dict[str, Tensor]) -> str:
    """Return the SHA-256 of a module's state: equal digests mean bit-equal weights."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
