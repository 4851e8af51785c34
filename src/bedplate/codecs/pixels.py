"""One decoder for every image, in training and in serving: Pillow, from bytes or an array to 8-bit grey or RGB.

What is done to each mode, and why, is in `to_eight_bits`. Nothing here depends on the model's size; that is
`bedplate.codecs.image`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bedplate.core.errors import PayloadError, json_kind

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""The formats that are opened, by Pillow's names ("PPM" covers PBM, PGM, PPM and PFM); no other parser is reachable."""

FORMATS_TEXT = "PNG, JPEG, BMP, GIF, TIFF, WebP, PGM or PPM"

PIXEL_CAP = 64_000_000
"""Pixels beyond which an image is refused from its header alone, before any of it is decompressed."""

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_WHITE = 255
_KNOWN_BY_SIGHT = (
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypheix", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypavif", "an AVIF image"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "XML (an SVG drawing?)"),
    (0, b"8BPS", "a Photoshop file"),
)


@dataclass(frozen=True)
class ImageFacts:
    """What an image's header says: `width` and `height` in pixels as a viewer shows them, mode, format, frames."""

    width: int
    height: int
    mode: str
    format: str
    frames: int

    @property
    def grey(self) -> bool:
        """Whether the mode can hold nothing but grey."""
        return self.mode in _GREY_MODES


def _describe(data: bytes) -> str:
    for offset, magic, name in _KNOWN_BY_SIGHT:
        if data[offset : offset + len(magic)] == magic:
            return name
    return f"{len(data)} bytes that begin with {data[:12]!r}"


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PayloadError("the image has no pixels", received=f"{width}x{height}")
    if width * height > PIXEL_CAP:
        raise PayloadError(
            "the image is too large to decode safely",
            expected=f"at most {PIXEL_CAP:,} pixels",
            received=f"{width}x{height} = {width * height:,} pixels by its header",
        )


def _from_array(array: np.ndarray) -> Image.Image:
    channels = {2: 1}.get(array.ndim, array.shape[-1] if array.ndim == 3 else 0)
    if array.dtype != np.uint8 or channels not in {1, 2, 3, 4}:
        raise PayloadError(
            "the array is not an image",
            expected="uint8 [H,W] or [H,W,C] with 1 to 4 channels",
            received=f"{array.dtype} {list(array.shape)}",
        )
    _check_size(array.shape[1], array.shape[0])
    flat = array[..., 0] if array.ndim == 3 and channels == 1 else array
    return Image.fromarray(np.ascontiguousarray(flat))


def open_image(payload: Any) -> Image.Image:
    """Open image bytes or a uint8 array [H,W] or [H,W,C]; of bytes only the header is read.

    Raises:
        PayloadError: not an image, not one of `FORMATS`, or larger than `PIXEL_CAP` pixels.
    """
    if isinstance(payload, np.ndarray):
        return _from_array(payload)
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise PayloadError(
            "not an image payload",
            expected="the bytes of an image file, or a uint8 array",
            received=json_kind(payload),
        )
    data = bytes(payload)
    if not data:
        raise PayloadError("the image is empty", received="0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PayloadError("not an image that can be read", expected=FORMATS_TEXT, received=_describe(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        said = re.search(r"\((\d+) pixels\)", str(error))
        raise PayloadError(
            "the image is too large to decode safely",
            expected=f"at most {PIXEL_CAP:,} pixels",
            received=f"{int(said[1]):,} pixels by its header" if said else str(error),
        ) from error
    except Exception as error:  # a damaged header can make a parser raise almost anything; all of it means "damaged"
        raise PayloadError(
            "the image is cut short, or its header is damaged", received=f"{type(error).__name__}: {error}"
        ) from error
    _check_size(*image.size)
    return image


def _scaled_integers(values: np.ndarray) -> Image.Image:
    top = int(values.max(initial=0))
    if int(values.min(initial=0)) < 0 or top > 65535:
        raise PayloadError(
            "a 32-bit integer image whose range is not known",
            expected="values from 0 to 65535",
            received=f"{int(values.min())} to {top}",
            hint="convert it to 8 or 16 bits",
        )
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def _scaled_floats(values: np.ndarray) -> Image.Image:
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if not np.isfinite(values).all() or low < 0 or high > 255:
        raise PayloadError(
            "a floating-point image whose range is not known",
            expected="finite values in 0..1 or 0..255",
            received=f"{low:g} to {high:g}",
            hint="convert it to 8 or 16 bits",
        )
    return Image.fromarray(np.rint(values * (255.0 if high <= 1 else 1.0)).astype(np.uint8))


def to_eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """Return `image` as mode L (`channels` 1) or RGB (3), turned as its EXIF orientation says.

    - transparency (an alpha channel, a transparent palette entry or colour) is laid on white, as a page shows it;
    - 16-bit grey is scaled from 0..65535 to 0..255 with rounding; 32-bit integers likewise, and refused beyond 65535;
    - floats are read as 0..1, or as 0..255 where any exceeds 1; NaN, infinity and anything else are refused;
    - 1-bit becomes 0 and 255; palettes are looked up; CMYK, YCbCr and HSV become RGB by Pillow's plain formulas;
    - colour to grey is ITU-R 601-2 luma, so a grey that was stored as RGB keeps its exact values;
    - of an animation, the first frame.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _scaled_integers(np.asarray(image))
    elif image.mode == "F":
        image = _scaled_floats(np.asarray(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, (_WHITE, _WHITE, _WHITE, _WHITE))
        image = Image.alpha_composite(page, layer).convert("RGB")
    wanted = "L" if channels == 1 else "RGB"
    if image.mode not in {"L", "RGB", "1"}:
        image = image.convert("RGB")
    return image if image.mode == wanted else image.convert(wanted)


def decode_pixels(payload: Any, channels: int) -> Image.Image:
    """Return the image in a payload as 8-bit L or RGB at its own size.

    Raises:
        PayloadError: the payload is no image, too large, truncated, or damaged.
    """
    image = open_image(payload)
    try:
        return to_eight_bits(image, channels)
    except PayloadError:
        raise
    except Exception as error:  # a damaged file can make a decoder raise almost anything; all of it means "damaged"
        raise PayloadError(
            f"the {image.format or 'array'} image is truncated or damaged", received=f"{type(error).__name__}: {error}"
        ) from error


def inspect(payload: Any) -> ImageFacts:
    """Return what the header of an image says, without decoding its pixels.

    Raises:
        PayloadError: as `open_image`.
    """
    image = open_image(payload)
    try:
        turned = image.getexif().get(0x0112) in {5, 6, 7, 8}  # Orientation: the last four swap the sides
        # A phone's MPO is a JPEG with previews or depth beside it; those are not frames of an animation.
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    except Exception as error:  # as in decode_pixels
        raise PayloadError(
            f"the {image.format} image is truncated or damaged", received=f"{type(error).__name__}: {error}"
        ) from error
    width, height = image.size[::-1] if turned else image.size
    return ImageFacts(width, height, image.mode, image.format or "array", frames)
