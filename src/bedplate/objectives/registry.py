"""The registry of objectives, and what an objective is.

An objective is made by a plain function `f(*, …) -> Objective`; what a recipe may set are its keyword-only arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from bedplate.core.registry import Registry

Losses = dict[str, Tensor]
Loss = Callable[[nn.Module, list[Tensor], Tensor], Losses]
"""Takes (network, feature tensors in the network's order, targets) and returns named scalars; `loss` is minimised.

Targets are int64 class indices [rows] (of vectors, too), next tokens [rows, length], tags' numbers int16 [rows, words]
(negative beyond a row's end), whether each label is there, float32 [rows, labels], or standardised float32 values
[rows]."""


@dataclass(frozen=True)
class Step:
    """One update: a loss, and the parameters that it moves (None: all of them)."""

    loss: Loss
    parameters: Callable[[nn.Module], Iterable[nn.Parameter]] | None = None


@dataclass(frozen=True)
class Objective:
    """What is minimised: its steps are taken in order for every batch.

    Attributes:
        steps: the updates.
        kind: "classes", "labels", "number", "vector", "forecast", "tags", "tokens" or "any".
        soft: whether class targets may also come as probabilities [rows, classes], as mixup gives them.
        words: whether an objective for classes learns tags, too, word by word.
        transitions: whether the answer's transitions between tags are counted in the training sentences; else they only
            forbid what can't be.
        levels: the quantiles that a forecast's network answers; () for one number a step.
    """

    steps: tuple[Step, ...]
    kind: str = "any"
    soft: bool = False
    levels: tuple[float, ...] = ()
    words: bool = False
    transitions: bool = False


objectives: Registry[Callable[..., Objective]] = Registry("objective")
