"""Augmentation of images: moved, mirrored, rotated, cropped, cut out, recoloured.

All take and give uint8 [rows, height, width, channels]; every row has draws of its own.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from bedplate.training.augment import ImageAugment, augments

Share = Annotated[float, Field(ge=0, le=1)]


def uniform(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """Return one number of [low, high) for each row."""
    return torch.rand(len(images), generator=generator, device=images.device) * (high - low) + low


@augments.register("shift-flip")
def shift_flip(*, shift: Annotated[int, Field(ge=0, le=64)] = 2, flip: bool = False) -> ImageAugment:
    """Move each image by up to `shift` pixels each way (zeros come in at the edges), and mirror half of them.

    Args:
        shift: most pixels moved in each direction; for photographs this is "pad and crop".
        flip: also mirror left and right with probability one half.
    """

    def augment(images: Tensor, generator: Generator) -> Tensor:
        rows, height, width, _ = images.shape
        device = images.device
        if shift:
            padded = functional.pad(images, (0, 0, shift, shift, shift, shift))
            top, left = torch.randint(0, 2 * shift + 1, (2, rows, 1), generator=generator, device=device)
            y = (top + torch.arange(height, device=device))[:, :, None]
            x = (left + torch.arange(width, device=device))[:, None, :]
            images = padded[torch.arange(rows, device=device)[:, None, None], y, x]
        if flip:
            mirrored = torch.rand(rows, generator=generator, device=device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        return images

    return augment


def transform(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample each image bilinearly under its own affine map; zeros come in from outside.

    Args:
        images: uint8 [rows, height, width, channels].
        matrices: float [rows, 2, 3], from places in the result to places in the image, both in −1..1.
    """
    planes = images.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(matrices, list(planes.shape), align_corners=False)
    sampled = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@augments.register("rotate")
def rotate(
    *, degrees: Annotated[float, Field(ge=0, le=180)] = 10.0, zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
) -> ImageAugment:
    """Turn each image by up to `degrees` either way, and make it up to the share `zoom` larger or smaller."""

    def augment(images: Tensor, generator: Generator) -> Tensor:
        angle = uniform(images, -math.radians(degrees), math.radians(degrees), generator)
        scale = uniform(images, 1 - zoom, 1 + zoom, generator)
        cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
        aspect = images.shape[1] / images.shape[2]  # the coordinates are shares of height and of width
        top = torch.stack([cos, -sin * aspect, zero], 1)
        return transform(images, torch.stack([top, torch.stack([sin / aspect, cos, zero], 1)], 1))

    return augment


@augments.register("resized-crop")
def resized_crop(
    *, smallest: Annotated[float, Field(gt=0, le=1)] = 0.5, ratio: Annotated[float, Field(ge=1, le=4)] = 1.33
) -> ImageAugment:
    """Cut a part of each image and stretch it to the full size (Szegedy et al. 2015).

    Args:
        smallest: least share of the area that is kept.
        ratio: most the part's sides differ, as a factor.
    """

    def augment(images: Tensor, generator: Generator) -> Tensor:
        area = uniform(images, smallest, 1.0, generator)
        stretch = uniform(images, -math.log(ratio), math.log(ratio), generator).exp().sqrt()
        high, wide = (area.sqrt() / stretch).clamp(max=1.0), (area.sqrt() * stretch).clamp(max=1.0)
        y, x = uniform(images, -1, 1, generator) * (1 - high), uniform(images, -1, 1, generator) * (1 - wide)
        zero = torch.zeros_like(area)
        return transform(images, torch.stack([torch.stack([wide, zero, x], 1), torch.stack([zero, high, y], 1)], 1))

    return augment


def box_mask(images: Tensor, high: Tensor, wide: Tensor, generator: Generator) -> Tensor:
    """Return bool [rows, height, width]: a box of `high` × `wide` pixels [rows] around a uniformly drawn pixel."""
    height, width = images.shape[1:3]
    device = images.device
    y = torch.randint(0, height, (len(images), 1), generator=generator, device=device)
    x = torch.randint(0, width, (len(images), 1), generator=generator, device=device)
    rows, columns = torch.arange(height, device=device)[None], torch.arange(width, device=device)[None]
    top, left = y - high[:, None] // 2, x - wide[:, None] // 2
    inside_y = (rows >= top) & (rows < top + high[:, None])
    inside_x = (columns >= left) & (columns < left + wide[:, None])
    return inside_y[:, :, None] & inside_x[:, None, :]


@augments.register("cutout")
def cutout(*, size: Annotated[int, Field(ge=1, le=512)] = 8, share: Share = 1.0) -> ImageAugment:
    """Blank a square of `size` pixels, anywhere, in the share `share` of the images (DeVries and Taylor 2017)."""

    def augment(images: Tensor, generator: Generator) -> Tensor:
        side = torch.full((len(images),), size, device=images.device)
        mask = box_mask(images, side, side, generator)
        chosen = torch.rand(len(images), generator=generator, device=images.device) < share
        return images.masked_fill((mask & chosen[:, None, None])[..., None], 0)

    return augment


@augments.register("colour")
def colour(*, brightness: Share = 0.2, contrast: Share = 0.2, saturation: Share = 0.2) -> ImageAugment:
    """Change brightness, contrast and (of colour images) saturation of each image by up to these shares either way."""

    def augment(images: Tensor, generator: Generator) -> Tensor:
        def factor(share: float) -> Tensor:
            return uniform(images, 1 - share, 1 + share, generator)[:, None, None, None]

        values = images.float() * factor(brightness)
        mean = values.mean((1, 2, 3), keepdim=True)
        values = (values - mean) * factor(contrast) + mean
        strength = factor(saturation)
        if images.shape[3] == 3:
            weights = values.new_tensor([0.299, 0.587, 0.114])  # luma, ITU-R BT.601
            grey = (values * weights).sum(3, keepdim=True)
            values = (values - grey) * strength + grey
        return values.round_().clamp_(0, 255).to(torch.uint8)

    return augment
