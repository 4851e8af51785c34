"""Augmentation of images: moved, mirrored."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bedplate.training.augment import ImageAugment, augments


@augments.register("shift-flip")
def shift_flip(*, shift: Annotated[int, Field(ge=0, le=64)] = 2, flip: bool = False) -> ImageAugment:
    """Move each image by up to `shift` pixels each way (zeros come in at the edges), and mirror half of them.

    Args:
        shift: most pixels moved in each direction.
        flip: also mirror left and right with probability one half.
    """

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        rows, height, width, channels = images.shape
        device = images.device
        if shift:
            padded = images.new_zeros(rows, height + 2 * shift, width + 2 * shift, channels)
            padded[:, shift : shift + height, shift : shift + width] = images
            top, left = torch.randint(0, 2 * shift + 1, (2, rows, 1), generator=generator, device=device)
            y = (top + torch.arange(height, device=device))[:, :, None]
            x = (left + torch.arange(width, device=device))[:, None, :]
            images = padded[torch.arange(rows, device=device)[:, None, None], y, x]
        if flip:
            mirrored = torch.rand(rows, generator=generator, device=device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        return images

    return augment
