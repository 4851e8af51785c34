"""The registry of models, and what a model's function is given.

A model is a plain function `f(inputs, outputs, *, …) -> nn.Module`. What a recipe may set are its keyword-only
arguments. The module's `forward` takes normalised features and returns raw scores:

- images: one float tensor [rows, channels, height, width], standardised by the training pixels;
- texts: one int32 tensor `tokens` [rows, length], filled up with 0 to the longest row of the batch;
- tables: `numeric` float [rows, F] and `categories` int64 [rows, C], each only if the table has such columns.

It returns [rows, outputs.width]: logits for classes, the standardised target for a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from bedplate.core.errors import InputError
from bedplate.core.registry import Registry


@dataclass(frozen=True)
class ImageInput:
    """Images of one size; `mean` and `std` (one a channel, in 0..255) standardise them inside the graph."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order."""
        return ("image",)


@dataclass(frozen=True)
class TableInput:
    """Table features: `numeric` standardised columns, one cardinality a category, quantile edges a numeric column."""

    numeric: int
    categories: tuple[int, ...]
    edges: tuple[tuple[float, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order; empty ones are left out."""
        return (("numeric",) if self.numeric else ()) + (("categories",) if self.categories else ())


@dataclass(frozen=True)
class TextInput:
    """Token numbers: how many there are, 0 for padding and 1 for what is unknown, and the longest row."""

    vocabulary: int
    length: int

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order."""
        return ("tokens",)


Inputs = ImageInput | TableInput | TextInput


@dataclass(frozen=True)
class Outputs:
    """What the model answers: one score a class, or (classes=None) one number with the target's mean and std.

    `counts` are the training rows of each class, where they are known.
    """

    classes: int | None = None
    mean: float = 0.0
    std: float = 1.0
    counts: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """How many columns the module returns."""
        return self.classes or 1


def inputs_from_spec(spec: dict[str, Any]) -> Inputs:
    """Return the inputs that a codec's `feature_spec()` describes."""
    if spec["kind"] == "image":
        return ImageInput(spec["height"], spec["width"], spec["channels"], tuple(spec["mean"]), tuple(spec["std"]))
    if spec["kind"] == "table":
        return TableInput(spec["numeric"], tuple(spec["categories"]), tuple(tuple(e) for e in spec["edges"]))
    if spec["kind"] == "text":
        return TextInput(spec["vocabulary"], spec["length"])
    raise InputError(f"no model knows features of kind '{spec['kind']}'")


def only(inputs: Inputs, kind: type, model: str) -> None:
    """Refuse features that a model isn't made for."""
    if not isinstance(inputs, kind):
        wanted = {ImageInput: "images", TableInput: "tables", TextInput: "texts"}[kind]
        hint = (
            "`bag`, `text-cnn`, `lstm`, `gru`, `rnn` and `transformer-encoder` take texts"
            if isinstance(inputs, TextInput)
            else "`mlp` and `linear` take both"
        )
        raise InputError(f"model '{model}' is for {wanted}", where="model.name", hint=hint)


models: Registry[Callable[..., nn.Module]] = Registry("model")
