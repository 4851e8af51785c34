"""Bad files in folders of images."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from tools.bad_input_cases.case import Case, Place

GROUP = "Folders and archives of images"
RECIPE = "name: a\ntask: image-classification\ndata: {source: SOURCE, on_bad_row: error}\nmodel: linear\n"
SKIP = RECIPE.replace("on_bad_row: error", "on_bad_row: skip")

Files = dict[str, bytes]


def picture(seed: int, mode: str = "RGB", form: str = "PNG", size: tuple[int, int] = (12, 10)) -> bytes:
    """Return the bytes of a random picture of a mode in a file format."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32))
    else:
        image = image.convert(mode)
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def folder(rows: int = 8) -> Files:
    """Return two classes of pictures."""
    return {f"{label}/{k}.png": picture(k * 2 + (label == "dogs")) for label in ("cats", "dogs") for k in range(rows)}


def _animation() -> bytes:
    frames = [Image.fromarray(np.full((10, 12), 40 * k, np.uint8)) for k in range(4)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def _bomb() -> bytes:
    """Return a PNG of a hundred kilobytes that claims to be 60,000 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _flipped() -> bytes:
    data = bytearray(picture(1, size=(60, 50)))
    data[len(data) // 2] ^= 0x55
    return bytes(data)


def _tar(files: Files, kind: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=kind) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _tar_with_link() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in folder().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("cats/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def _zip(files: Files, *, locked: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    packed = bytearray(out.getvalue())
    if locked:  # the bit that says so, in both headers of the first member
        packed[6] |= 1
        packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def _place(files: Files, recipe: str = RECIPE) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        place.text("a.yaml", recipe.replace("SOURCE", "pictures"))
        (place.folder / "pictures").mkdir()
        for name, data in files.items():
            place.bytes(f"pictures/{name}", data)

    return build


def _archive(name: str, data: bytes, recipe: str = RECIPE) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        place.text("a.yaml", recipe.replace("SOURCE", name))
        place.bytes(name, data)

    return build


def _file(sent: str, data: bytes, *says: str, name: str = "bad.png", code: int = 2, recipe: str = RECIPE) -> Case:
    """A folder of good pictures and one file more."""
    return Case(GROUP, sent, "plan a.yaml", says, code, _place({**folder(), f"cats/{name}": data}, recipe))


def _folder(sent: str, files: Files, *says: str, code: int = 2, recipe: str = RECIPE) -> Case:
    return Case(GROUP, sent, "plan a.yaml", says, code, _place(files, recipe))


def _empty_class(place: Place) -> None:
    _place(folder())(place)
    (place.folder / "pictures" / "birds").mkdir()


def _loop(place: Place) -> None:
    _place(folder())(place)
    (place.folder / "pictures" / "cats" / "again").symlink_to("..")


def _dangling(place: Place) -> None:
    _place(folder())(place)
    (place.folder / "pictures" / "cats" / "gone.png").symlink_to("nowhere.png")


def _many_bad() -> Files:
    source = random.Random(0)  # noqa: S311
    return folder() | {f"dogs/bad{k}.png": source.randbytes(40) for k in range(30)}


_JPEG = picture(3, form="JPEG", size=(60, 50))
_BAD = {**folder(), "cats/bad.png": b"not a picture"}

CASES = (
    Case(GROUP, "a folder that isn't there", "plan a.yaml", ("data.source", "pictures", "no such folder"), build=lambda place: place.text("a.yaml", RECIPE.replace("SOURCE", "pictures"))),
    _folder("an empty folder", {}, "there are no files"),
    Case(GROUP, "init on an empty folder", "init pictures", ("there are no files",), build=_place({})),
    _folder("pictures without class folders", {f"{k}.png": picture(k) for k in range(9)}, "no class folders", "cats/1.png"),
    _folder("one class", {f"cats/{k}.png": picture(k) for k in range(9)}, "one class"),
    _folder("one picture a class", {"cats/1.png": picture(1), "dogs/1.png": picture(2)}, "2"),
    Case(GROUP, "init on one picture a class", "init pictures", ("2",), build=_place({"cats/1.png": picture(1), "dogs/1.png": picture(2)})),
    _folder("a class with one picture", {**folder(), "birds/1.png": picture(99)}, "birds", code=0),
    Case(GROUP, "a class folder without pictures", "plan a.yaml", ("birds",), 0, _empty_class),
    _file("a text file among pictures", b"hello", "cats/bad.png", "not an image", "on_bad_row: skip"),
    _file("the same, with on_bad_row: skip", b"hello", "1 file left out as bad: cats/bad.png", code=0, recipe=SKIP),
    _file("an empty file", b"", "cats/bad.png", "0 bytes"),
    _file("a PNG cut short", picture(1, size=(60, 50))[:2000], "cats/bad.png", "truncated or damaged"),
    _file("a PNG with a flipped byte", _flipped(), "cats/bad.png", "damaged"),
    _file("a JPEG cut short", _JPEG[: len(_JPEG) // 2], "cats/bad.jpg", "truncated or damaged", name="bad.jpg"),
    _file("a decompression bomb", _bomb(), "cats/bad.png", "too large to decode safely", "3,600,000,000 pixels by its header"),
    _file("a PDF", b"%PDF-1.7\n" + bytes(99), "cats/bad.pdf", "a PDF", name="bad.pdf"),
    _file("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cats/bad.svg", "an SVG drawing", name="bad.svg"),
    _file("a zip in a class folder", _zip(folder()), "cats/more.zip", "a zip archive", name="more.zip"),
    _folder("a picture beside the class folders", {**folder(), "lost.png": picture(77)}, "lost.png", "outside any class folder"),
    _folder("thirty bad files", _many_bad(), "30 files can't be used", "in all"),
    _folder("nothing but bad files, with on_bad_row: skip", {"cats/a.png": b"x", "dogs/b.png": b"y"}, "no images", recipe=SKIP),
    _file("CMYK", picture(50, "CMYK", "JPEG"), "test rows; 2 classes", name="fine.jpg", code=0),
    _file("16-bit grey", picture(50, "I;16"), "test rows; 2 classes", code=0),
    _file("8-bit grey", picture(50, "L"), "test rows; 2 classes", code=0),
    _file("1-bit", picture(50, "1"), "test rows; 2 classes", code=0),
    _file("a palette", picture(50, "P"), "test rows; 2 classes", code=0),
    _file("transparency", picture(50, "RGBA"), "test rows; 2 classes", code=0),
    _file("floating-point grey", picture(50, "F", "TIFF"), "test rows; 2 classes", name="fine.tif", code=0),
    _file("an animation", _animation(), "1 files have several frames; the first was taken", name="fine.gif", code=0),
    _file("a picture of one pixel", picture(50, size=(1, 1)), "test rows; 2 classes", code=0),
    _file("a picture of 3,000 by 1 pixels", picture(50, size=(3000, 1)), "test rows; 2 classes", code=0),
    _file("names with blanks, a line's end and 字", picture(50), "test rows; 2 classes", name="a b\n字.png", code=0),
    _folder("deep folders", {f"cats/{'d/' * 30}{k}.png": picture(k) for k in range(8)} | {f"dogs/{k}.png": picture(k + 50) for k in range(8)}, "test rows; 2 classes", code=0),
    Case(GROUP, "a link that leads back up", "plan a.yaml", ("test rows; 2 classes",), 0, _loop),
    Case(GROUP, "a link to nowhere", "plan a.yaml", ("cats/gone.png", "not a regular file"), build=_dangling),
    Case(GROUP, "a tar cut short", "plan a.yaml", ("a.tar", "truncated or damaged tar archive"), build=_archive("a.tar", _tar(folder())[:9000])),
    Case(GROUP, "a packed tar cut short", "plan a.yaml", ("a.tar.gz", "truncated or damaged tar archive"), build=_archive("a.tar.gz", _tar(folder(), "w:gz")[:3000])),
    Case(GROUP, "a zip cut short", "plan a.yaml", ("a.zip", "truncated or damaged zip archive"), build=_archive("a.zip", _zip(folder())[:-200])),
    Case(GROUP, "an empty file called .zip", "plan a.yaml", ("a.zip", "zip archive"), build=_archive("a.zip", b"")),
    Case(GROUP, "an empty file called .tar", "plan a.yaml", ("a.tar", "tar archive"), build=_archive("a.tar", b"")),
    Case(GROUP, "a locked zip", "plan a.yaml", ("cats/0.png", "encrypted"), build=_archive("a.zip", _zip(folder(), locked=True))),
    Case(GROUP, "a path that leads out of a tar", "plan a.yaml", ("unsafe path",), build=_archive("a.tar", _tar({**folder(), "cats/../../../evil.png": picture(1)}))),
    Case(GROUP, "a path that leads out of a zip", "plan a.yaml", ("unsafe path",), build=_archive("a.zip", _zip({**folder(), "../evil/evil.png": picture(1)}))),
    Case(GROUP, "a link inside a tar", "plan a.yaml", ("cats/link.png", "a link or a special file"), build=_archive("a.tar", _tar_with_link())),
    Case(GROUP, "an archive in an archive", "plan a.yaml", ("no class folders",), build=_archive("a.tar", _tar({"inner.zip": _zip(folder())}))),
    Case(GROUP, "init on one picture", "init a.png", ("one image is no dataset",), build=lambda place: place.bytes("a.png", picture(1))),
    _folder("a class in test/ that train/ lacks", {f"train/{n}": d for n, d in folder().items()} | {"test/birds/1.png": picture(77)}, "birds"),
)  # fmt: skip
