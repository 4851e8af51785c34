"""Payloads from files: folders, archives and IDX files, without unpacking and without surprises."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bedplate.codecs.files import MEMBER_CAP, image_payloads, is_archive, is_idx, natural, read_idx, walk
from bedplate.codecs.image import ImageCodec
from bedplate.core.errors import InputError, PayloadError


def png(level: int) -> bytes:
    """A flat 4x4 PNG."""
    out = io.BytesIO()
    Image.new("L", (4, 4), level).save(out, "PNG")
    return out.getvalue()


def idx(array: np.ndarray) -> bytes:
    """An array as an IDX file."""
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_natural_order() -> None:
    assert sorted(["a10", "a2", "10", "2", "b", "A1", "01"], key=natural) == ["01", "2", "10", "A1", "a2", "a10", "b"]


def test_names_of_archives_and_idx_files() -> None:
    assert is_archive(Path("x.TAR.XZ"))
    assert is_archive(Path("a.zip"))
    assert not is_archive(Path("a.gz"))
    assert is_idx(Path("t10k-images-idx3-ubyte.gz"))
    assert is_idx(Path("a.idx3"))
    assert not is_idx(Path("idx.png"))


def test_a_folder_is_walked_in_natural_order_without_junk(tmp_path: Path) -> None:
    for name in ("b/10.png", "b/2.png", "a/1.png", ".git/x.png", "__MACOSX/._1.png", "a/.DS_Store", "a/Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    assert [member.name for member in walk(tmp_path)] == ["a/1.png", "b/2.png", "b/10.png"]


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(png(1))
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    members = {member.name: member.fault for member in walk(tmp_path)}
    assert members == {"a/1.png": None, "gone.png": "not a regular file"}


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert [member.fault for member in walk(tmp_path)] == ["not a regular file"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip"])
def test_archives_give_what_they_hold(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    files = {"set/a/1.png": png(1), "set/b/2.png": png(2), "__MACOSX/set/a/._1.png": b"junk"}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("set/", "")
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(
            path, f"w:{ {'tgz': 'gz', 'tar': ''}.get(suffix[1:], suffix.split('.')[-1]) }".replace(" ", "")
        ) as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    assert {member.name: member.data for member in walk(path)} == {
        k: v for k, v in files.items() if k.startswith("set")
    }


def hostile_tar(path: Path) -> None:
    """A tar with a path out, an absolute path, links and a member that claims to be huge."""
    with tarfile.open(path, "w") as archive:
        for name in ("../../evil.png", "/abs/evil.png", "a/good.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(png(3))
            archive.addfile(entry, io.BytesIO(png(3)))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        hard = tarfile.TarInfo("a/hard.png")
        hard.type, hard.linkname = tarfile.LNKTYPE, "a/good.png"
        archive.addfile(hard)
        lost = tarfile.TarInfo("a/lost.png")
        lost.type, lost.linkname = tarfile.LNKTYPE, "a/nowhere.png"
        archive.addfile(lost)


def test_hostile_members_are_reported_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    hostile_tar(tmp_path / "in/x.tar")
    before = sorted(tmp_path.rglob("*"))
    faults = {member.name: member.fault for member in walk(tmp_path / "in/x.tar")}
    assert faults["a/good.png"] is None
    assert faults["a/hard.png"] is None
    assert "unsafe path" in str(faults["../../evil.png"])
    assert "unsafe path" in str(faults["abs/evil.png"])
    assert "link" in str(faults["a/link.png"])
    assert "lacks" in str(faults["a/lost.png"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_huge_member_of_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/bomb.png", "w") as file,
    ):
        for _ in range(MEMBER_CAP // 2**24 + 1):
            file.write(bytes(2**24))
    (member,) = walk(tmp_path / "x.zip")
    assert "too large" in str(member.fault)
    assert member.data == b""


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", png(1))
    data = bytearray(path.read_bytes())
    data[50] ^= 0xFF
    path.write_bytes(bytes(data))
    (member,) = walk(path)
    assert "damaged" in str(member.fault)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.xz", "x.tar", "x.zip"])
def test_a_truncated_or_false_archive_is_an_input_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not an archive at all")
    with pytest.raises(InputError, match=r"truncated or damaged"):
        list(walk(path))


@pytest.mark.parametrize("mode", ["gz", "xz"])
def test_a_truncated_compressed_tar_is_an_input_error(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"x.tar.{mode}"
    with tarfile.open(path, f"w:{mode}") as archive:  # type: ignore[call-overload]
        for i in range(20):
            data = np.random.default_rng(i).bytes(5000)
            entry = tarfile.TarInfo(f"a/{i}.png")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(InputError, match=r"truncated or damaged"):
        list(walk(path))


def test_payloads_from_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(10))
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/two.png").write_bytes(png(20))
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as archive:
        archive.writestr("a/three.png", png(30))
    (tmp_path / "four-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.full((2, 4, 4), 40, np.uint8))))
    paths = [tmp_path / name for name in ("one.png", "folder", "three.zip", "four-idx3-ubyte.gz")]
    found = list(image_payloads(paths))
    assert [name.removeprefix(f"{tmp_path}/") for name, _ in found] == [
        "one.png",
        "folder/deep/two.png",
        "three.zip/a/three.png",
        "four-idx3-ubyte.gz:0",
        "four-idx3-ubyte.gz:1",
    ]
    pixels = ImageCodec(4, 4, 1).decode([payload for _, payload in found])["image"]
    assert pixels[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 40]


def test_missing_paths_and_unreadable_members_are_errors(tmp_path: Path) -> None:
    for name in ("no.png", "no.zip", "no-idx3-ubyte.gz"):
        with pytest.raises(InputError, match=r"no such file"):
            list(image_payloads([tmp_path / name]))
    hostile_tar(tmp_path / "x.tar")
    with pytest.raises(PayloadError, match=r"unsafe path"):
        list(image_payloads([tmp_path / "x.tar"]))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not an IDX file"),
        (b"hello world", "not an IDX file"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "wrong size.*expected 18 bytes.*received 17"),
        (gzip.compress(idx(np.zeros((90, 300), np.uint8)), mtime=0)[:30], "gzip"),
        (struct.pack(">HBBI", 0, 8, 1, 2**32 - 1), "wrong size"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "x-idx1-ubyte").write_bytes(data)
    with pytest.raises(InputError, match=what):
        read_idx(tmp_path / "x-idx1-ubyte")


def test_idx_of_other_types_and_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "x-idx1-ubyte"
    path.write_bytes(struct.pack(">HBBI2h", 0, 11, 1, 2, -1, 300))
    assert read_idx(path).tolist() == [-1, 300]
    with pytest.raises(InputError, match=r"without images"):
        list(image_payloads([path]))


@pytest.mark.data
def test_mnist_test_images_are_ten_thousand_payloads(data_root: Path) -> None:
    found = list(image_payloads([data_root / "mnist/t10k-images-idx3-ubyte.gz"]))
    assert len(found) == 10_000
    assert found[0][1].shape == (28, 28)
