"""Augmentation of a table's rows: noise on its numbers, and cells that go missing."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from bedplate.training.augment import Augment, augments

MISSING_CATEGORY = 1
"""The code of a missing category (`codecs.table`)."""


@augments.register("noise")
def noise(*, std: Annotated[float, Field(ge=0, le=10)] = 0.05) -> Augment:
    """Add normal noise to the standardised numbers; `std` is in their standard deviations."""

    def augment(features: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        numeric = features.get("numeric")
        if numeric is None:
            return features
        drawn = torch.randn(numeric.shape, generator=generator, device=numeric.device)
        return {**features, "numeric": numeric + std * drawn}

    return Augment("table", augment)


@augments.register("mask")
def mask(*, share: Annotated[float, Field(ge=0, lt=1)] = 0.1) -> Augment:
    """Take away the share `share` of the cells: a number becomes its mean (0), a category becomes missing."""

    def augment(features: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        changed = {}
        for name, values in features.items():
            gone = torch.rand(values.shape, generator=generator, device=values.device) < share
            changed[name] = values.masked_fill(gone, MISSING_CATEGORY if name == "categories" else 0.0)
        return changed

    return Augment("table", augment)
