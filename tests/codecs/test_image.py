"""The image codec: every mode and format, damaged files, sizes, and arrays as their own PNGs."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bedplate.codecs.image import ImageCodec, png_base64
from bedplate.codecs.pixels import PIXEL_CAP, inspect
from bedplate.core.errors import BundleError, PayloadError


def file_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def decode(payload: object, channels: int = 1, size: tuple[int, int] = (2, 2), **options: object) -> np.ndarray:
    """Decode one payload at its own (small) size."""
    codec = ImageCodec(size[1], size[0], channels, **options)  # type: ignore[arg-type]
    return codec.decode([payload])["image"][0]


def test_codecs_tensor_and_specification() -> None:
    codec = ImageCodec(4, 6, 3, mean=(1, 2, 3), std=(4, 5, 6))
    assert [spec.to_json() for spec in codec.tensors] == [{"name": "image", "dtype": "uint8", "shape": [4, 6, 3]}]
    assert codec.feature_spec() == {
        "kind": "image",
        "height": 4,
        "width": 6,
        "channels": 3,
        "mean": [1, 2, 3],
        "std": [4, 5, 6],
    }
    assert codec.graph() is None
    assert codec.decode([])["image"].shape == (0, 4, 6, 3)
    x = {"image": np.zeros((1, 4, 6, 3), np.uint8)}
    assert codec.features(x) is x


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_give_their_pixels(form: str) -> None:
    pixels = np.array([[0, 255], [17, 200]], np.uint8)
    options = {"lossless": True} if form == "WEBP" else {}
    payload = file_of(Image.fromarray(pixels).convert("RGB" if form == "WEBP" else "L"), form, **options)
    assert np.array_equal(decode(payload)[..., 0], pixels)


def test_jpeg_is_close() -> None:
    pixels = np.full((16, 16), 90, np.uint8)
    assert abs(decode(file_of(Image.fromarray(pixels), "JPEG"), size=(16, 16)).astype(int) - 90).max() <= 2


def test_grey_becomes_rgb_and_back_exactly() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = decode(file_of(Image.fromarray(pixels)), 3, (16, 16))
    assert all(np.array_equal(rgb[..., c], pixels) for c in range(3))
    assert np.array_equal(decode(file_of(Image.fromarray(rgb)), 1, (16, 16))[..., 0], pixels)


def test_colour_to_grey_is_601_luma() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    grey = decode(file_of(Image.fromarray(pixels)))[..., 0].ravel().tolist()
    assert grey == [round(255 * share) for share in (0.299, 0.587, 0.114, 1.0)]


def test_sixteen_bits_are_scaled_not_cut() -> None:
    values = np.array([[0, 257], [128 * 257, 65535]], np.uint16)
    for form in ("PNG", "TIFF"):
        assert decode(file_of(Image.fromarray(values), form))[..., 0].ravel().tolist() == [0, 1, 128, 255]


def test_sixteen_bit_big_endian_tiff_and_pgm() -> None:
    values = np.array([[0, 257], [128 * 257, 65535]], np.uint16)
    pgm = b"P5 2 2 65535\n" + values.astype(">u2").tobytes()
    assert decode(pgm)[..., 0].ravel().tolist() == [0, 1, 128, 255]
    image = Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes())
    assert decode(file_of(image, "TIFF"))[..., 0].ravel().tolist() == [0, 1, 128, 255]


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    image = Image.fromarray(np.array([[0, 70000], [1, 2]], np.int32))
    with pytest.raises(PayloadError, match=r"range is not known.*0 to 70000"):
        decode(file_of(image, "TIFF"))


def test_floats_of_both_conventions() -> None:
    unit = Image.fromarray(np.array([[0, 0.5], [0.25, 1]], np.float32))
    assert decode(file_of(unit, "TIFF"))[..., 0].ravel().tolist() == [0, 128, 64, 255]
    bytes_ = Image.fromarray(np.array([[0, 128], [64, 255]], np.float32))
    assert decode(file_of(bytes_, "TIFF"))[..., 0].ravel().tolist() == [0, 128, 64, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 300.0])
def test_floats_without_a_known_range_are_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0, value], [0, 0]], np.float32))
    with pytest.raises(PayloadError, match=r"range is not known"):
        decode(file_of(image, "TIFF"))


def test_one_bit() -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert decode(file_of(image))[..., 0].ravel().tolist() == [0, 255, 255, 0]


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 1), 1)
    assert decode(file_of(image), 3)[0, 0].tolist() == [10, 20, 30]
    clear = decode(file_of(image, transparency=0), 3)
    assert clear[0, 0].tolist() == [255, 255, 255]
    assert clear[1, 1].tolist() == [200, 100, 50]


def test_transparency_is_laid_on_white() -> None:
    rgba = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]], [[255, 0, 0, 128], [9, 9, 9, 255]]], np.uint8)
    out = decode(file_of(Image.fromarray(rgba)), 3)
    assert out[0].tolist() == [[255] * 3, [0] * 3]
    assert out[1, 0].tolist() == [255, 127, 127]
    grey = np.array([[[0, 0], [0, 255]], [[100, 255], [0, 128]]], np.uint8)
    assert decode(file_of(Image.fromarray(grey)))[..., 0].ravel().tolist() == [255, 0, 100, 127]


def test_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]] * 2, np.uint8))
    assert decode(file_of(image, transparency=(1, 2, 3)), 3)[0].tolist() == [[255] * 3, [9] * 3]


def test_cmyk() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decode(file_of(image, "JPEG"), 3, (16, 16)).astype(int) - [255, 0, 0]).max() <= 4
    assert decode(file_of(image, "TIFF"), 3, (16, 16))[0, 0].tolist() == [255, 0, 0]


def test_exif_orientation_is_applied() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[0x0112] = 6
    payload = file_of(Image.fromarray(pixels), "PNG", exif=exif.tobytes())
    assert np.array_equal(decode(payload, size=(2, 3))[..., 0], np.rot90(pixels, -1))
    assert (inspect(payload).width, inspect(payload).height) == (2, 3)


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("L", (2, 2), level) for level in (40, 90, 200)]
    for form in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        payload = file_of(frames[0].convert("RGB"), form, save_all=True, append_images=frames[1:], **options)
        assert inspect(payload).frames == 3
        assert (decode(payload) == 40).all()


def test_resizing() -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 4:] = 255
    same = decode(wide, size=(8, 4))
    assert np.array_equal(same[..., 0], wide)
    halves = decode(wide, size=(2, 1))[0, :, 0].tolist()
    assert halves[0] < 64
    assert halves[1] > 191
    assert sum(halves) in {254, 255, 256}
    padded = decode(np.full((4, 8), 9, np.uint8), size=(4, 4), resize="pad")[..., 0]
    assert padded.tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]
    marked = np.zeros((4, 8), np.uint8)
    marked[:, 2:6] = 77
    assert (decode(marked, size=(4, 4), resize="crop") == 77).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from(["stretch", "pad", "crop"]),
    st.integers(0, 255),
)
def test_a_flat_image_stays_flat_at_any_size(h: int, w: int, height: int, width: int, resize: str, level: int) -> None:
    out = ImageCodec(height, width, 1, resize).decode([np.full((h, w), level, np.uint8)])["image"]  # type: ignore[arg-type]
    assert set(np.unique(out).tolist()) <= ({level, 0} if resize == "pad" else {level})


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([1, 3]), st.sampled_from(["stretch", "pad", "crop"]), st.integers(1, 12))
def test_an_array_is_decoded_as_its_png(data: st.DataObject, channels: int, resize: str, side: int) -> None:
    shape = data.draw(
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([0, 1, 2, 3, 4])).map(
            lambda t: t[:2] if t[2] == 0 else t
        )
    )
    array = data.draw(arrays.arrays(np.uint8, shape))
    png = file_of(Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))
    codec = ImageCodec(side, side + 1, channels, resize)  # type: ignore[arg-type]
    both = codec.decode([array, png])["image"]
    assert np.array_equal(both[0], both[1])


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image.*hello"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7 ...", "PDF"),
        ("path.png", "received a string"),
        (np.zeros((2, 2), np.float32), "float32"),
        (np.zeros((2, 2, 5), np.uint8), r"\[2, 2, 5\]"),
        (np.zeros((0, 2), np.uint8), "no pixels"),
        (np.zeros(4, np.uint8), r"uint8 \[4\]"),
    ],
)
def test_what_is_no_image_is_refused_by_name(payload: object, what: str) -> None:
    with pytest.raises(PayloadError, match=what):
        decode(payload)


def test_a_refused_payload_among_many_is_named_by_its_number() -> None:
    with pytest.raises(PayloadError, match=r"^payload 1: "):
        ImageCodec(2, 2, 1).decode([np.zeros((2, 2), np.uint8), b"no"])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_truncated_file_is_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    payload = file_of(Image.fromarray(noise), form)
    with pytest.raises(PayloadError, match=r"truncated|damaged|not an image"):
        decode(payload[: len(payload) // 2], 3, (64, 64))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"]), st.data())
def test_damaged_bytes_give_an_image_or_a_payload_error(form: str, data: st.DataObject) -> None:
    payload = bytearray(file_of(Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)), form))
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(payload), 3, (4, 4)).shape == (4, 4, 3)
        inspect(bytes(payload))
    except PayloadError:
        pass


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_001, 12_000, 50_000])
@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_refused_from_its_header(side: int) -> None:
    assert side * side > PIXEL_CAP
    with pytest.raises(PayloadError, match=r"too large to decode safely.*pixels"):
        decode(png_claiming(side, side))


def test_other_parsers_are_out_of_reach() -> None:
    for form in ("ICO", "TGA", "PCX"):
        with pytest.raises(PayloadError, match=r"not an image that can be read"):
            decode(file_of(Image.new("RGB", (16, 16)), form), 3)


def test_png_base64_is_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    for image in (pixels, pixels[..., :1]):
        assert np.array_equal(decode(base64.b64decode(png_base64(image)), image.shape[2], (4, 5)), image)


def test_fit_measures_the_training_pixels_exactly() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5000, 3, 4, 3)).astype(np.uint8)
    codec = ImageCodec.fit(pixels)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    assert np.allclose(codec.mean, flat.mean(0))
    assert np.allclose(codec.std, flat.std(0))
    assert (codec.height, codec.width, codec.channels) == (3, 4, 3)
    assert ImageCodec.fit(np.full((2, 2, 2, 1), 7, np.uint8)).std == (1.0,)


def test_contract_rebuilds_the_codec() -> None:
    codec = ImageCodec.fit(np.random.default_rng(2).integers(0, 256, (9, 5, 4, 3)).astype(np.uint8), "pad")
    contract = json.loads(json.dumps(codec.contract()))
    assert contract["decoder"] == f"Pillow {PIL.__version__}"
    again = ImageCodec.from_contract(contract)
    assert again == codec
    assert again.contract() == contract
    older = ImageCodec.from_contract({**contract, "decoder": "Pillow 1.0"})
    assert older.contract()["decoder"] == "Pillow 1.0"


@pytest.mark.parametrize(
    "change", [{"height": None}, {"channels": 2}, {"resize": "warp"}, {"mean": [1.0]}, {"kind": "table"}, {"width": 0}]
)
def test_a_damaged_contract_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        ImageCodec.from_contract({**ImageCodec(4, 4, 3).contract(), **change})
    with pytest.raises(BundleError):
        ImageCodec.from_contract({"kind": "image"})
