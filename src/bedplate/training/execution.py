"""How a step is computed on this machine: device, precision, memory layout, compilation. Not what is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from bedplate.models import Network
from bedplate.recipe.schema import TrainingSpec

DEFAULT_BATCH_SIZE = 128


@dataclass(frozen=True)
class Execution:
    """The settled choices.

    Attributes:
        device: "cpu" or "cuda".
        precision: "fp32", or "bf16": matrix products and convolutions in bfloat16 (autocast), weights, gradients and
            optimiser in float32, so that no loss scaling is needed.
        memory_format: of images and convolutions: "contiguous" (NCHW) or "channels_last" (NHWC).
        compile: whether the network goes through torch.compile.
    """

    device: str = "cpu"
    precision: str = "fp32"
    memory_format: str = "contiguous"
    compile: bool = False

    def but(self, **changes: Any) -> Execution:
        """Return a copy with some choices changed."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the choices as the recipe writes them."""
        return asdict(self)

    def prepare(self, network: Network) -> Network:
        """Move the network's weights to the device and into the layout, in place."""
        layout = torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format
        network.memory_format = layout
        moved: Network = network.to(device=self.device)
        for parameter in moved.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        return moved

    def callable(self, network: Network) -> nn.Module:
        """Return what the objective calls: the network itself, or its compiled form with the same weights."""
        return cast("nn.Module", torch.compile(network)) if self.compile else network

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in the precision."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            yield


def plain(spec: TrainingSpec) -> TrainingSpec:
    """Return the spec with every `auto` settled without measuring: CPU, float32, NCHW, not compiled, 128 rows."""
    settled = {"device": "cpu", "precision": "fp32", "memory_format": "contiguous", "compile": False}
    settled["batch_size"] = DEFAULT_BATCH_SIZE
    return spec.model_copy(update={key: value for key, value in settled.items() if getattr(spec, key) == "auto"})


def execution_of(spec: TrainingSpec) -> Execution:
    """Return the settled spec's choices."""
    return Execution(spec.device, spec.precision, spec.memory_format, bool(spec.compile))


def rows_a_step(spec: TrainingSpec) -> int:
    """Return the rows of one optimiser step of a settled spec."""
    assert spec.batch_size != "auto"
    return spec.batch_size * spec.accumulate
