"""Augmentation as batched tensor operations, each with a seeded generator of its own.

A registered function returns an `Augment`, or just a function of images: uint8 [rows, height, width, channels] and a
generator in, images of the same shape out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Generator, Tensor

from bedplate.core.errors import InputError
from bedplate.core.registry import Registry
from bedplate.models import PADDED, ImageInput, Network
from bedplate.recipe.schema import Part

ImageAugment = Callable[[Tensor, Generator], Tensor]
"""uint8 images [rows, height, width, channels] → the same shape and type."""
TableAugment = Callable[[dict[str, Tensor], Generator], dict[str, Tensor]]
"""`numeric` float32 [rows, F] (standardised) and `categories` int64 [rows, C], where the table has them → the same."""
MixAugment = Callable[[list[Tensor], Tensor, Generator], tuple[list[Tensor], Tensor]]
"""Features, and targets as probabilities [rows, classes] or values [rows] → both, mixed between rows."""


@dataclass(frozen=True)
class Augment:
    """A function and what it is for: images, a table's rows, or features together with their targets ("mix")."""

    kind: Literal["image", "table", "mix"]
    function: ImageAugment | TableAugment | MixAugment


augments: Registry[Callable[..., Augment | ImageAugment]] = Registry("augment")

AppliedAugment = Callable[[list[Tensor], Tensor, Generator], tuple[list[Tensor], Tensor]]
"""What the loop calls: features in the network's order, targets and a generator → both, augmented."""


def parts_of(augment: Part | list[Part] | None) -> list[Part]:
    """Return a recipe's augmentations as a list."""
    return [] if augment is None else augment if isinstance(augment, list) else [augment]


def bind(parts: Sequence[Part], network: Network) -> list[AppliedAugment]:
    """Return the recipe's augmentations, ready for the network's features.

    Raises:
        InputError: an augmentation of images for a table, or the other way round.
    """
    return [_bind(part, network) for part in parts]


def _bind(part: Part, network: Network) -> AppliedAugment:
    made = augments.get(part.name)(**part.arguments)
    augment = made if isinstance(made, Augment) else Augment("image", made)
    names, images = network.inputs.names, isinstance(network.inputs, ImageInput)
    if isinstance(network.inputs, PADDED):
        raise InputError(
            f"augmentation '{part.name}' is not for texts", where="training.augment", expected="none",
            hint="leave training.augment out",
        )  # fmt: skip
    if augment.kind != "mix" and (augment.kind == "image") != images:
        kinds = [name for name, f in augments.parts() if kind_of(f) in ("mix", "image" if images else "table")]
        raise InputError(
            f"augmentation '{part.name}' is for {'images' if augment.kind == 'image' else 'tables'}",
            where="training.augment",
            expected=f"one of {', '.join(kinds)}",
        )

    function: Any = augment.function  # its kind says which of the three signatures it has

    def image(features: list[Tensor], targets: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor]:
        return [function(features[0], generator)], targets

    def table(features: list[Tensor], targets: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor]:
        found = function(dict(zip(names, features, strict=True)), generator)
        return [found[name] for name in names], targets

    def mix(features: list[Tensor], targets: Tensor, generator: Generator) -> tuple[list[Tensor], Tensor]:
        if network.outputs.classes and targets.ndim == 1:
            targets = one_hot(targets, network.outputs.classes)
        mixed: tuple[list[Tensor], Tensor] = function(features, targets, generator)
        return mixed

    return {"image": image, "table": table, "mix": mix}[augment.kind]


def kind_of(factory: Callable[..., Augment | ImageAugment]) -> str:
    """Return what a registered augmentation is for."""
    made = factory()
    return made.kind if isinstance(made, Augment) else "image"


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Return class indices [rows] as float32 probabilities [rows, classes]."""
    return targets.new_zeros((len(targets), classes), dtype=None).float().scatter_(1, targets[:, None], 1.0)
