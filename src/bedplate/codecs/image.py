"""The image codec: image bytes (or uint8 arrays) in, one uint8 tensor `image` [N,H,W,C] at the model's size out."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import PIL
from PIL import Image

from bedplate.codecs.codec import Payload, Prepare, TensorSpec
from bedplate.codecs.pixels import decode_pixels
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError

IMAGE = "image"
Resize = Literal["stretch", "pad", "crop"]


def _decoder() -> str:
    return f"Pillow {PIL.__version__}"


def fit_size(image: Image.Image, width: int, height: int, resize: Resize) -> Image.Image:
    """Return `image` at exactly width x height; one that has this size already is returned untouched.

    `stretch` ignores the aspect; `pad` keeps it and adds black edges; `crop` keeps it and cuts what sticks out, from
    the middle. The filter is Pillow's bilinear, which averages over all source pixels when it makes images smaller.
    """
    if image.size == (width, height):
        return image
    if resize == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    across, down = width / image.width, height / image.height
    if resize == "pad":
        scale = min(across, down)
        inner = (
            min(width, max(1, round(image.width * scale))),
            min(height, max(1, round(image.height * scale))),
        )
        page = Image.new(image.mode, (width, height))
        page.paste(image.resize(inner, Image.Resampling.BILINEAR), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return page
    scale = max(across, down)
    cut_width, cut_height = min(image.width, width / scale), min(image.height, height / scale)
    left, top = (image.width - cut_width) / 2, (image.height - cut_height) / 2
    return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + cut_width, top + cut_height))


def png_base64(pixels: np.ndarray) -> str:
    """Return one image, uint8 [H,W,C] with 1 or 3 channels, as a base64 PNG for a report."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


@dataclass(frozen=True)
class ImageCodec:
    """Decode images to uint8 [N,H,W,C] in 0..255; the graph normalises them.

    `height` and `width` are in pixels, `channels` is 1 (grey) or 3 (RGB); `mean` and `std` have one figure a channel,
    in 0..255 units, over the training pixels. `decoder` names the library that decoded the training images.

    Example:
        >>> codec = ImageCodec(2, 2, 1)
        >>> codec.decode([np.zeros((4, 4), np.uint8)])["image"].shape
        (1, 2, 2, 1)
    """

    height: int
    width: int
    channels: int
    resize: Resize = "stretch"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    decoder: str = ""

    kind = "image"

    def __post_init__(self) -> None:
        if self.channels not in {1, 3} or self.height < 1 or self.width < 1:
            raise ValueError(f"no image has {self.height}x{self.width} pixels and {self.channels} channels here")
        object.__setattr__(self, "mean", tuple(self.mean) or (127.5,) * self.channels)
        object.__setattr__(self, "std", tuple(self.std) or (127.5,) * self.channels)
        object.__setattr__(self, "decoder", self.decoder or _decoder())
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"{self.channels} channels need as many means and deviations")

    @classmethod
    def fit(cls, pixels: np.ndarray, resize: Resize = "stretch") -> ImageCodec:
        """Return the codec for training images `pixels` (uint8 [N,H,W,C], N at least 1), with their statistics.

        Exact: means and deviations come from a histogram of the 256 levels. A deviation is at least 1, so that
        constant images don't divide by zero.
        """
        rows, height, width, channels = pixels.shape
        if rows == 0 or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 training images, received {pixels.dtype} {pixels.shape}")
        levels = np.arange(256, dtype=np.float64)
        mean, std = [], []
        for channel in range(channels):
            counts = np.zeros(256, np.int64)
            for start in range(0, rows, 4096):
                counts += np.bincount(pixels[start : start + 4096, ..., channel].ravel(), minlength=256)
            share = counts / counts.sum()
            average = float(share @ levels)
            mean.append(average)
            std.append(max(1.0, float(np.sqrt(share @ (levels - average) ** 2))))
        return cls(height, width, channels, resize, tuple(mean), tuple(std))

    @property
    def tensors(self) -> list[TensorSpec]:
        """The one tensor: `image`, uint8, height x width x channels."""
        return [TensorSpec(IMAGE, "uint8", (self.height, self.width, self.channels))]

    def decode_one(self, payload: Payload) -> np.ndarray:
        """Return one payload as uint8 [H,W,C].

        Raises:
            PayloadError: the payload is no image, too large, truncated or damaged.
        """
        image = decode_pixels(payload, self.channels)
        pixels = np.asarray(fit_size(image, self.width, self.height, self.resize), np.uint8)
        return pixels.reshape(self.height, self.width, self.channels)

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return `{"image": uint8 [N,H,W,C]}`; a payload is image bytes or a uint8 array [H,W] or [H,W,C].

        An array is treated exactly as a PNG of it would be.

        Raises:
            PayloadError: names the payload by its number, and the fault.
        """
        out = np.empty((len(payloads), self.height, self.width, self.channels), np.uint8)
        for i, payload in enumerate(payloads):
            try:
                out[i] = self.decode_one(payload)
            except PayloadError as error:
                where = f"payload {i}" if len(payloads) > 1 else None
                raise PayloadError(
                    error.what, where=where, expected=error.expected, received=error.received, hint=error.hint
                ) from error
        return {IMAGE: out}

    @property
    def prepare(self) -> Prepare | None:
        """None: the graph takes the tensors as they are."""
        return None

    @property
    def prepared(self) -> list[TensorSpec]:
        """The tensors themselves."""
        return self.tensors

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON, and the decoder and rules that it was made with."""
        return {
            "kind": self.kind,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resize": self.resize,
            "filter": "bilinear",
            "background": "white",
            "mean": list(self.mean),
            "std": list(self.std),
            "decoder": self.decoder,
        }

    @classmethod
    def from_contract(cls, contract: dict[str, Any]) -> ImageCodec:
        """Rebuild from `contract()`'s JSON.

        Raises:
            BundleError: a field is missing or makes no sense.
        """
        resize = contract.get("resize")
        if contract.get("kind") != cls.kind or resize not in {"stretch", "pad", "crop"}:
            raise BundleError(
                "the contract is not an image codec's",
                expected="kind image, and resize stretch, pad or crop",
                received=f"kind {contract.get('kind')!r}, resize {resize!r}",
            )
        try:
            return cls(
                int(contract["height"]),
                int(contract["width"]),
                int(contract["channels"]),
                resize,
                tuple(map(float, contract["mean"])),
                tuple(map(float, contract["std"])),
                str(contract["decoder"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the contract of the image codec is damaged", received=repr(error)) from error

    def graph(self) -> bytes | None:
        """Return None: nothing is learned before the model but the statistics, which the model's graph applies."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the inputs: the model reads the pixels themselves."""
        return inputs

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know: kind, height, width, channels, mean and std (0..255 units)."""
        return {
            "kind": self.kind,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
        }
