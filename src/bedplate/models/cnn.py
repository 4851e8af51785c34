"""The classic small convolutional network: 3×3 convolutions with pooling, then dense layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from bedplate.core.errors import InputError
from bedplate.models.layers import RISING, Activation, activation_layer
from bedplate.models.registry import ImageInput, Inputs, Outputs, models, only


class CNN(nn.Module):
    """Convolutions and 2×2 max-pooling between them, then dense layers on the flattened map."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        """Map [rows, channels, height, width] to scores [rows, width]."""
        out: Tensor = self.classifier(self.features(image).flatten(1))
        return out


@models.register("cnn")
def cnn(
    inputs: Inputs,
    outputs: Outputs,
    *,
    widths: list[Annotated[int, Field(ge=1)]] = [32, 64, 64],  # noqa: B006 - read only
    dense: list[Annotated[int, Field(ge=1)]] = [64],  # noqa: B006 - read only
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    padding: Literal["auto", "same", "valid"] = "auto",
) -> nn.Module:
    """Return the classic network: 3×3 convolutions 32-64-64 with 2×2 max-pooling between them, dense 64.

    Args:
        inputs: images only.
        outputs: classes or a number.
        widths: channels of each convolution; a pooling follows each but the last while the map is 4 pixels or more.
        dense: units of each dense layer before the output.
        activation: relu, gelu, tanh or sigmoid.
        batch_norm: normalise after each convolution.
        dropout: share dropped before each dense layer.
        padding: "valid" shrinks the map by 2 a convolution, "same" keeps it; "auto" is valid from 20 pixels up.
    """
    only(inputs, ImageInput, "cnn")
    assert isinstance(inputs, ImageInput)
    height, width, channels = inputs.height, inputs.width, inputs.channels
    pad = 1 if padding == "same" or (padding == "auto" and min(height, width) < 20) else 0
    layers: list[nn.Module] = []
    for k, units in enumerate(widths):
        height, width = height - 2 + 2 * pad, width - 2 + 2 * pad
        if min(height, width) < 1:
            raise InputError(
                "the image is too small for so many convolutions",
                where="model.widths",
                received=f"{inputs.height}×{inputs.width} pixels, {len(widths)} convolutions",
                hint="use padding: same",
            )
        layers.append(nn.Conv2d(channels, units, 3, padding=pad, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(units))
        last = [activation_layer(activation)]
        channels = units
        if k < len(widths) - 1 and min(height, width) >= 4:
            # The maximum of a rising function is the function of the maximum, gradients included; this way round the
            # activation meets a quarter of the pixels.
            last = [nn.MaxPool2d(2), *last] if activation in RISING else [*last, nn.MaxPool2d(2)]
            height, width = height // 2, width // 2
        layers += last
    size = channels * height * width
    head: list[nn.Module] = []
    for units in dense:
        head += [nn.Dropout(dropout)] if dropout else []
        head += [nn.Linear(size, units), activation_layer(activation)]
        size = units
    head += [nn.Dropout(dropout)] if dropout else []
    return CNN(nn.Sequential(*layers), nn.Sequential(*head, nn.Linear(size, outputs.width)))
