"""Layers that several models share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.models.registry import ImageInput, Inputs, SentenceInput, SeriesInput, TableInput

UNKNOWN_SHARE = 0.01

Activation = Literal["relu", "gelu", "tanh", "sigmoid"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

RISING = frozenset({"relu", "tanh", "sigmoid"})
"""Activations that never fall, so that a maximum may be taken before or after them."""


def activation_layer(name: str) -> nn.Module:
    """Return the activation called `name` (relu, gelu, tanh or sigmoid)."""
    if name == "relu":
        return nn.ReLU(inplace=True)  # what comes before it in these models needs no look back at its own result
    return _ACTIVATIONS[name]()


class PiecewiseLinear(nn.Module):
    """Encode each number by how far it reaches into each of its quantile bins (0..1 for inner bins).

    For a column with edges b_0 < … < b_T, component t is (x - b_{t-1}) / (b_t - b_{t-1}), clamped to 0..1, except that
    the first bin reaches down to -1 and the last up to 2, so that values outside still tell. Source: Gorishniy et al.
    2022, "On Embeddings for Numerical Features in Tabular Deep Learning", eq. 1.
    """

    columns: Tensor
    low: Tensor
    width: Tensor
    floor: Tensor
    ceiling: Tensor

    def __init__(self, edges: Sequence[Sequence[float]]) -> None:
        super().__init__()
        columns, low, width, floor, ceiling = [], [], [], [], []
        for column, values in enumerate(edges):
            bins = list(itertools.pairwise(values))
            for k, (start, end) in enumerate(bins):
                columns.append(column)
                low.append(start)
                width.append(end - start)
                floor.append(-1.0 if k == 0 else 0.0)
                ceiling.append(2.0 if k == len(bins) - 1 else 1.0)
        self.size = len(columns)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        for name, numbers in (("low", low), ("width", width), ("floor", floor), ("ceiling", ceiling)):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float32))

    def forward(self, numeric: Tensor) -> Tensor:
        """Map [rows, F] to [rows, bins of all columns]."""
        reached = (numeric.index_select(1, self.columns) - self.low) / self.width
        return torch.minimum(torch.maximum(reached, self.floor), self.ceiling)


class Flat(nn.Module):
    """Turn any features into one float vector a row: pixels, numbers, and each category one-hot or embedded.

    Args:
        inputs: the features.
        embed: False for one-hot categories; True for learned embeddings of size min(16, cardinality^0.56 * 1.6).
        bins: also give the piecewise linear encoding of the numbers.
    """

    def __init__(self, inputs: Inputs, *, embed: bool, bins: bool) -> None:
        super().__init__()
        self.embed = embed
        self.cardinalities: tuple[int, ...] = ()
        self.pieces: PiecewiseLinear | None = None
        if isinstance(inputs, ImageInput):
            self.size = inputs.channels * inputs.height * inputs.width
            return
        if not isinstance(inputs, TableInput):
            takes = {SentenceInput: "`bilstm-tagger` takes sentences", SeriesInput: "`dlinear` takes series"}.get(
                type(inputs), "`bag` takes texts"
            )
            raise InputError("this model is for images and tables", where="model.name", hint=takes)
        self.cardinalities = inputs.categories
        self.size = inputs.numeric
        if bins and any(len(edges) > 1 for edges in inputs.edges):
            self.pieces = PiecewiseLinear(inputs.edges)
            self.size += self.pieces.size
        if embed:
            sizes = [min(16, max(2, round(1.6 * n**0.56))) for n in self.cardinalities]
            self.tables = nn.ModuleList(
                nn.Embedding(n, size) for n, size in zip(self.cardinalities, sizes, strict=True)
            )
            for table in self.tables:
                assert isinstance(table, nn.Embedding)
                nn.init.normal_(table.weight, std=0.1)
            self.size += sum(sizes)
        else:
            self.size += sum(self.cardinalities)

    def forward(
        self, image: Tensor | None = None, numeric: Tensor | None = None, categories: Tensor | None = None
    ) -> Tensor:
        """Return [rows, size]."""
        if image is not None:
            return image.flatten(1)
        parts: list[Tensor] = []
        if numeric is not None:
            parts.append(numeric)
            if self.pieces is not None:
                parts.append(self.pieces(numeric))
        if categories is not None:
            for k, cardinality in enumerate(self.cardinalities):
                column = categories[:, k]
                if self.embed and self.training:
                    # Now and then "unknown", so that its embedding is learnt for categories that come up later.
                    hidden = torch.rand(len(column), device=column.device) < UNKNOWN_SHARE
                    column = torch.where(hidden, 0, column)
                if self.embed:
                    parts.append(self.tables[k](column))
                else:
                    parts.append(torch.nn.functional.one_hot(column, cardinality).to(torch.float32))
        return torch.cat(parts, dim=1)
