"""Softmax regression and linear regression: one affine map of the features."""

from __future__ import annotations

from torch import Tensor, nn

from bedplate.models.layers import Flat
from bedplate.models.registry import Inputs, Outputs, models


class Linear(nn.Module):
    """scores = W · features + b, with categories one-hot; W and b start at zero."""

    def __init__(self, inputs: Inputs, outputs: Outputs) -> None:
        super().__init__()
        self.flat = Flat(inputs, embed=False, bins=False)
        self.head = nn.Linear(self.flat.size, outputs.width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, image: Tensor | None = None, numeric: Tensor | None = None, categories: Tensor | None = None
    ) -> Tensor:
        """Return scores [rows, width]."""
        out: Tensor = self.head(self.flat(image, numeric, categories))
        return out


@models.register("linear")
def linear(inputs: Inputs, outputs: Outputs) -> nn.Module:
    """Return softmax regression (classes) or linear regression (a number)."""
    return Linear(inputs, outputs)
