"""A new model in one file: a gated multi-layer perceptron for tables, after Liu et al. 2021, "Pay Attention to MLPs".

This is all that a researcher writes. `plugins: [./gated_mlp.py]` in a recipe makes `gated-mlp` a model like any other:
it is planned, trained, resumed, evaluated, compressed, packed, served and watched.
"""

import torch
from torch import Tensor, nn

import bedplate as bp


class GatedBlock(nn.Module):
    """x + W_out · (a ⊙ sigmoid(g)), with a and g two halves of one linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        a, gate = self.inner(self.norm(x)).chunk(2, dim=1)
        return x + self.out(a * torch.sigmoid(gate))


class GatedMLP(nn.Module):
    def __init__(self, numeric: int, categories: tuple[int, ...], width: int, depth: int, out: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(numeric, width) if numeric else None
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in categories)
        self.blocks = nn.Sequential(*(GatedBlock(width) for _ in range(depth)))
        self.head = nn.Linear(width, out)

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        parts = [] if numeric is None or self.numbers is None else [self.numbers(numeric)]
        if categories is not None:
            parts += [table(categories[:, k]) for k, table in enumerate(self.tables)]
        return self.head(self.blocks(torch.stack(parts).sum(0)))


@bp.register_model("gated-mlp")
def gated_mlp(inputs, outputs, *, width: int = 64, depth: int = 2) -> nn.Module:
    """Return a gated MLP: each column is mapped to `width` units, and their sum goes through `depth` blocks."""
    if not hasattr(inputs, "numeric"):
        raise bp.InputError("gated-mlp is for tables", where="model.name")
    return GatedMLP(inputs.numeric, inputs.categories, width, depth, outputs.width)
