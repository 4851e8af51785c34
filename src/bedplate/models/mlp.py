"""The multi-layer perceptron, with learned embeddings for categories and piecewise linear encodings of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from bedplate.models.layers import Activation, Flat, activation_layer
from bedplate.models.linear import Linear
from bedplate.models.registry import Inputs, Outputs, models


class MLP(nn.Module):
    """Features → (linear → [batch norm] → activation → dropout) × len(hidden) → linear."""

    def __init__(
        self,
        flat: Flat,
        width: int,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        batch_norm: bool,
        wide: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.flat = flat
        layers: list[nn.Module] = []
        size = flat.size
        for units in hidden:
            layers.append(nn.Linear(size, units))
            if batch_norm:
                layers.append(nn.BatchNorm1d(units))
            layers.append(activation_layer(activation))
            if dropout:
                layers.append(nn.Dropout(dropout))
            size = units
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(size, width)
        self.wide = wide

    def forward(
        self, image: Tensor | None = None, numeric: Tensor | None = None, categories: Tensor | None = None
    ) -> Tensor:
        """Return scores [rows, width]."""
        out: Tensor = self.head(self.hidden(self.flat(image, numeric, categories)))
        return out if self.wide is None else out + self.wide(image, numeric, categories)


@models.register("mlp")
def mlp(
    inputs: Inputs,
    outputs: Outputs,
    *,
    hidden: list[Annotated[int, Field(ge=1)]] = [256, 128],  # noqa: B006 - read only
    activation: Activation = "relu",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    batch_norm: bool = False,
    bins: bool = True,
    wide: bool = False,
) -> nn.Module:
    """Return a multi-layer perceptron.

    Args:
        inputs: images are flattened; a table's categories are embedded.
        outputs: classes or a number.
        hidden: units of each hidden layer.
        activation: relu, gelu, tanh or sigmoid.
        dropout: share of hidden units dropped in training, 0 to 1.
        batch_norm: normalise each hidden layer over the batch.
        bins: encode a table's numbers piecewise linearly beside their standardised value.
        wide: add a linear model of the features to the output (Cheng et al. 2016, "Wide & Deep Learning"); it helps
            where rows are few.
    """
    return MLP(
        Flat(inputs, embed=True, bins=bins),
        outputs.width,
        hidden,
        activation,
        dropout,
        batch_norm,
        Linear(inputs, outputs) if wide else None,
    )
