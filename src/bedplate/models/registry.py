"""The registry of models, and what a model's function is given.

A model is a plain function `f(inputs, outputs, *, …) -> nn.Module`. What a recipe may set are its keyword-only
arguments. The module's `forward` takes normalised features and returns raw scores:

- images: one float tensor [rows, channels, height, width], standardised by the training pixels;
- texts: one int32 tensor `tokens` [rows, length], filled up with 0 to the longest row of the batch;
- sentences: `tokens` and `shapes`, int32 [rows, words], and `letters`, uint8 [rows, words, letters], filled up with 0
  likewise;
- series: one float tensor `history` [rows, length, columns], each column standardised by its training rows, and
  `calendar` [rows, features] beside it where the recipe names cycles;
- tables: `numeric` float [rows, F] and `categories` int64 [rows, C], each only if the table has such columns.

It returns [rows, outputs.width]: logits for classes, a vector, the standardised target for a number, and for a forecast
the standardised values of every step (of every quantile of every step), their columns side by side. A tagger returns
[rows, words, outputs.width]: logits for each word's tags. What answers token by token returns [rows, length,
outputs.width] and is `Stepwise`, so that generating needn't read the past again. What gives each token of a text a
state that sees both sides is an `Encoder`, and can be pre-trained on texts without labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

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
    """Token numbers: how many there are, 0 for padding, and the longest row.

    `shift` is how far they lie above the tokenizer's own. `separator` stands between a text and its answer, where rows
    are pairs of these.
    """

    vocabulary: int
    length: int
    shift: int = 0
    separator: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order."""
        return ("tokens",)


@dataclass(frozen=True)
class SentenceInput:
    """Words, their shapes and letters: how many numbers each has, 0 for padding and 1 for what is unknown.

    `letters` are read of each word.
    """

    vocabulary: int
    shapes: int
    alphabet: int
    letters: int

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order."""
        return ("tokens", "shapes", "letters")


@dataclass(frozen=True)
class SeriesInput:
    """The latest `length` steps of some columns; `mean` and `std` (one a column) standardise them inside the graph.

    `calendar` is how many features of the latest step's time come with them, in -1..1; 0: none.
    """

    length: int
    columns: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    calendar: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that the network takes, in order."""
        return ("history", "calendar") if self.calendar else ("history",)


@runtime_checkable
class Stepwise(Protocol):
    """A module that answers token by token and can go on from what it computed before.

    Attributes:
        past: the shape of one row's tensors of the past, by name; -1 stands for how many tokens there were.
    """

    past: dict[str, tuple[int, ...]]

    def step(self, tokens: Tensor, length: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return scores [rows, new, width] and what the new tokens add to the past.

        Args:
            tokens: the new ones, int32 [rows, new].
            length: how many tokens of the past are each row's own, int32 [rows]; behind them it is filled up.
            past: in the order of the attribute, the row axis before.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """A module that reads a text both ways and gives each of its tokens a state, which can be pre-trained alone."""

    @property
    def vectors(self) -> Tensor:
        """The tokens' own vectors [vocabulary, size], a parameter of the module; row 0 is padding's."""
        ...

    def states(self, tokens: Tensor) -> Tensor:
        """Return a state for every token, float [rows, length, size]; what stands at padding means nothing.

        Args:
            tokens: int32 [rows, length], each row filled up with 0.
        """
        ...


Inputs = ImageInput | SentenceInput | SeriesInput | TableInput | TextInput
PADDED = (SentenceInput, TextInput)
"""Rows of any length, filled up with 0 to the longest one of a batch; the first tensor says where a row ends."""


@dataclass(frozen=True)
class Outputs:
    """What the model answers: one score a class, a vector, or (neither) numbers with their training mean and spread.

    `counts` are the training rows (of a tagger, words) of each class, where they are known. `shape` is () for one
    number, and (steps, columns) for a forecast, whose `mean` and `std` are one a column; `levels` are its quantiles, if
    any. `vector` is how many numbers a vector has, and `normalise` whether its length is 1. With `sequence` there is
    one score a class at every token: what comes next. `tags` are those that a tagger's words may have, and
    `transitions` (tags + 1 × tags) what following which is worth, as `codecs.tags` has them. `many` is how many labels
    there are where a row has any number of them, a score each; the last of the `counts` is then that of all rows.
    """

    classes: int | None = None
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    counts: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    vector: int = 0
    normalise: bool = True
    sequence: bool = False
    tags: tuple[str, ...] = ()
    transitions: tuple[tuple[float, ...], ...] = ()
    many: int = 0

    @property
    def labels(self) -> int | None:
        """How many labels a row may have; None where its answer is none of some labels."""
        return None if self.sequence else self.classes

    @property
    def width(self) -> int:
        """How many columns the module returns."""
        one = self.classes or self.many or self.vector or len(self.tags)
        return one or math.prod(self.shape) * max(1, len(self.levels))

    @property
    def name(self) -> str:
        """The name of the graph's output."""
        if self.vector:
            return "embedding"
        if self.sequence:
            return "logits"
        if self.tags:
            return "tag_probabilities"
        if self.many:
            return "label_probabilities"
        return "probabilities" if self.classes else "forecast" if self.shape else "value"

    @property
    def labelled(self) -> bool:
        """Whether targets are class indices: a vector's rows have them, too."""
        return bool(self.classes or self.vector)

    @property
    def spread(self) -> float:
        """What a difference of one in a standardised answer is, in the target's units; the largest of several."""
        return max(self.std) if isinstance(self.std, tuple) else self.std

    def to_json(self) -> dict[str, Any]:
        """Return what builds the same again, the counts left out."""
        told: dict[str, Any] = {"classes": self.classes, "mean": self.mean, "std": self.std}
        told |= {"shape": list(self.shape)} if self.shape else {}
        told |= {"vector": self.vector, "normalise": self.normalise} if self.vector else {}
        told |= {"many": self.many} if self.many else {}
        told |= {"sequence": True} if self.sequence else {}
        told |= {"tags": list(self.tags), "transitions": [list(row) for row in self.transitions]} if self.tags else {}
        return told | ({"levels": list(self.levels)} if self.levels else {})

    @classmethod
    def from_json(cls, told: Mapping[str, Any], counts: Sequence[int] = ()) -> Outputs:
        """Rebuild from `to_json()`."""
        mean, std = (tuple(one) if isinstance(one, list | tuple) else one for one in (told["mean"], told["std"]))
        shape, levels = (tuple(told.get(name, ())) for name in ("shape", "levels"))
        vector, normalise = int(told.get("vector", 0)), bool(told.get("normalise", True))
        sequence, tags = bool(told.get("sequence")), tuple(told.get("tags", ()))
        transitions = tuple(tuple(row) for row in told.get("transitions", ()))
        return cls(
            told["classes"], mean, std, tuple(counts), shape, levels, vector, normalise, sequence, tags, transitions,
            int(told.get("many", 0)),
        )  # fmt: skip


def inputs_from_spec(spec: dict[str, Any]) -> Inputs:
    """Return the inputs that a codec's `feature_spec()` describes."""
    if spec["kind"] == "image":
        return ImageInput(spec["height"], spec["width"], spec["channels"], tuple(spec["mean"]), tuple(spec["std"]))
    if spec["kind"] == "table":
        return TableInput(spec["numeric"], tuple(spec["categories"]), tuple(tuple(e) for e in spec["edges"]))
    if spec["kind"] in ("language", "text"):
        return TextInput(spec["vocabulary"], spec["length"], spec.get("shift", 0), spec.get("separator"))
    if spec["kind"] == "sentence":
        return SentenceInput(spec["vocabulary"], spec["shapes"], spec["alphabet"], spec["letters"])
    if spec["kind"] == "series":
        mean, std = tuple(spec["mean"]), tuple(spec["std"])
        return SeriesInput(spec["length"], spec["columns"], mean, std, int(spec.get("calendar", 0)))
    raise InputError(f"no model knows features of kind '{spec['kind']}'")


def forecast_of(inputs: Inputs, outputs: Outputs, model: str) -> tuple[SeriesInput, int, int]:
    """Return a series' features with how many numbers a column are answered, and the columns; refuse others.

    The numbers are the steps, one after the other, or each step's quantiles side by side.
    """
    only(inputs, SeriesInput, model)
    assert isinstance(inputs, SeriesInput)
    if len(outputs.shape) != 2:
        raise InputError(f"model '{model}' forecasts", where="model.name", hint="set task: forecasting")
    steps, columns = outputs.shape
    return inputs, steps * max(1, len(outputs.levels)), columns


def only(inputs: Inputs, kind: type, model: str) -> None:
    """Refuse features that a model isn't made for."""
    if not isinstance(inputs, kind):
        wanted = {
            ImageInput: "images", SentenceInput: "sentences", SeriesInput: "series", TableInput: "tables",
            TextInput: "texts",
        }[kind]  # fmt: skip
        hint = (
            "`bag`, `text-cnn`, `lstm`, `gru`, `rnn`, `bert`, `transformer-encoder` and `-decoder` take texts"
            if isinstance(inputs, TextInput)
            else "`dlinear` and `tcn` take series"
            if isinstance(inputs, SeriesInput)
            else "`bilstm-tagger` takes sentences"
            if isinstance(inputs, SentenceInput)
            else "`mlp` and `linear` take both"
        )
        raise InputError(f"model '{model}' is for {wanted}", where="model.name", hint=hint)


models: Registry[Callable[..., nn.Module]] = Registry("model")
