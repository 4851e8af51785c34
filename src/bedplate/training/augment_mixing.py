"""Augmentation that mixes rows with their targets: mixup and cutmix."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from bedplate.core.errors import InputError
from bedplate.training.augment import Augment, augments
from bedplate.training.augment_images import box_mask

Concentration = Annotated[float, Field(gt=0, le=100)]


def beta(rows: int, alpha: float, generator: Generator, device: torch.device) -> Tensor:
    """Draw [rows] numbers of the distribution Beta(alpha, alpha)."""
    one, two = torch._standard_gamma(torch.full((2, rows), alpha, device=device), generator=generator).double()
    share: Tensor = one / (one + two).clamp(min=1e-300)
    return share.float()


def _along(share: Tensor, like: Tensor) -> Tensor:
    return share.reshape(-1, *[1] * (like.ndim - 1))


def _mixed_targets(targets: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    mixed: Tensor = torch.lerp(targets[partner], targets, _along(share, targets).to(targets.dtype))
    return mixed


@augments.register("mixup")
def mixup(*, alpha: Concentration = 0.2) -> Augment:
    """Blend each row with another of its batch, and their targets alike (Zhang et al. 2018).

    The row's share is drawn from Beta(alpha, alpha). Categories can't be blended: each cell comes from the other row
    with that row's share as its chance.
    """

    def augment(features: list[Tensor], targets: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor]:
        rows, device = len(targets), targets.device
        partner = torch.randperm(rows, generator=generator, device=device)
        share = beta(rows, alpha, generator, device)
        mixed = []
        for values in features:
            other, part = values[partner], _along(share, values)
            if values.dtype == torch.int64:
                own = torch.rand(values.shape, generator=generator, device=device) < part
                mixed.append(torch.where(own, values, other))
            else:
                blend = torch.lerp(other.float(), values.float(), part)
                mixed.append(blend.round_().to(torch.uint8) if values.dtype == torch.uint8 else blend)
        return mixed, _mixed_targets(targets, partner, share)

    return Augment("mix", augment)


@augments.register("cutmix")
def cutmix(*, alpha: Concentration = 1.0) -> Augment:
    """Paste a box of another image of the batch into each image, and mix the targets by area (Yun et al. 2019)."""

    def augment(features: list[Tensor], targets: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor]:
        images = features[0]
        if images.ndim != 4:
            raise InputError("cutmix is for images", where="training.augment", hint="`mixup` takes tables, too")
        partner = torch.randperm(len(targets), generator=generator, device=targets.device)
        side = (1 - beta(len(targets), alpha, generator, targets.device)).sqrt()
        high, wide = (side * images.shape[1]).long(), (side * images.shape[2]).long()
        box = box_mask(images, high, wide, generator)
        mixed = torch.where(box[..., None], images[partner], images)
        share = 1 - box.float().mean((1, 2))  # boxes are cut off at the edges, so the true area counts
        return [mixed, *features[1:]], _mixed_targets(targets, partner, share)

    return Augment("mix", augment)
