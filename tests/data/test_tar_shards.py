"""WebDataset tars: members make rows, the index cuts them into stretches, and what is wrong is said with file and row."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bedplate.core.errors import DataError
from bedplate.data.shards import find_shards
from bedplate.data.tar_shards import SEGMENT_BYTES, SEGMENT_ROWS, TarImages, split_name


def write(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def rows(count: int, size: int = 10) -> list[tuple[str, bytes]]:
    """Rows whose image is bytes that say their number."""
    made = []
    for row in range(count):
        made += [(f"a/{row}.cls", str(row % 3).encode()), (f"a/{row}.png", row.to_bytes(4, "big").ljust(size, b"x"))]
    return made


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize(("count", "size"), [(1, 10), (1300, 10), (40, 100_000)])
def test_blocks_hold_every_row_once_in_small_stretches(tmp_path: Path, count: int, size: int) -> None:
    tars = TarImages([write(tmp_path / "a.tar", rows(count, size)), write(tmp_path / "b.tar", rows(3))], None, None)
    assert sum(block.rows for block in tars.blocks) == count + 3
    found: list[tuple[str, int, int]] = []
    for number, block in enumerate(tars.blocks):
        assert block.rows <= SEGMENT_ROWS
        assert block.stored <= SEGMENT_BYTES + 2 * size + 4096
        payloads, labels = tars.read(number)
        for row, (payload, label) in enumerate(zip(payloads, labels, strict=True)):
            found.append((tars.row_id(number, row), int.from_bytes(payload[:4], "big"), int(label)))
    wanted = [(f"{name}.tar:{row + 1}", row, row % 3) for name, n in (("a", count), ("b", 3)) for row in range(n)]
    assert found == wanted
    some, _ = tars.read(0, np.array([0]))
    assert int.from_bytes(some[0][:4], "big") == 0


def test_a_key_ends_at_the_first_dot_of_the_name() -> None:
    assert split_name("a.b/c/0001.seg.PNG") == ("a.b/c/0001", "seg.png")


def test_a_json_field_and_an_image_by_name(tmp_path: Path) -> None:
    members = []
    for row in range(4):
        label = b'{"kind": "cat", "n": 1}'
        members += [(f"{row}.left.png", b"l"), (f"{row}.right.png", b"r"), (f"{row}.json", label)]
    path = write(tmp_path / "a.tar", members)
    payloads, labels = TarImages([path], "right.png", "kind").read(0)
    assert (payloads, labels) == ([b"r"] * 4, ["cat"] * 4)
    with pytest.raises(DataError, match="which member is the label"):
        TarImages([path], "right.png", None)
    with pytest.raises(DataError, match=r"row 1: a row can't be read .*no 'size'"):
        TarImages([path], "right.png", "size").read(0)


def test_arrays_of_one_shape_come_stacked(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    members = [(f"{k}.{e}", d) for k in range(2) for e, d in (("npy", array(images[k])), ("cls", b"1"))]
    payloads, _ = TarImages([write(tmp_path / "a.tar", members)], None, None).read(0)
    np.testing.assert_array_equal(payloads, images[..., None])
    for wrong in (array(np.array([{}], object)), array(np.asfortranarray(images[0].T[:3, :2])), b"no array"):
        path = write(tmp_path / "b.tar", [("0.npy", wrong), ("0.cls", b"1")])
        with pytest.raises(DataError, match=r"b\.tar, row 1: a row can't be read"):
            TarImages([path], None, None).read(0)


def test_rows_that_lack_something_are_named(tmp_path: Path) -> None:
    for members, says in (
        ([*rows(2), ("a/9.png", b"x")], r"row 3 \('a/9'\): a row lacks its label \.cls"),
        ([*rows(2), ("a/9.cls", b"1")], r"row 3 \('a/9'\): a row lacks its image"),
        ([*rows(2), ("a/9.png", b"x"), ("a/9.jpg", b"x"), ("a/9.cls", b"1")], "several images"),
        ([], "which member is the label"),
    ):
        with pytest.raises(DataError, match=says):
            TarImages([write(tmp_path / "a.tar", members)], None, None)


def test_what_is_no_plain_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(DataError, match=r"a\.tar: not a readable tar"):
        TarImages([tmp_path / "a.tar"], None, None)
    whole = write(tmp_path / "b.tar", rows(50, 5000)).read_bytes()
    for cut in (100_000, 105_000):  # in a header, and in a member
        (tmp_path / "b.tar").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"b\.tar: not a readable tar"):
            TarImages([tmp_path / "b.tar"], None, None)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match="unpack it"):
        find_shards("c.tar.gz", tmp_path, "data.files.train")


def test_shards_are_found_in_natural_order_and_of_one_kind(tmp_path: Path) -> None:
    for name in ("t-10.tar", "t-2.tar", "u.parquet"):
        (tmp_path / name).write_bytes(b"")
    found, kind = find_shards("t-*.tar", tmp_path, "data.files.train")
    assert ([path.name for path in found], kind) == (["t-2.tar", "t-10.tar"], "tar")
    with pytest.raises(DataError, match="not shards of one kind"):
        find_shards(".", tmp_path, "data.files.train")
    with pytest.raises(DataError, match=r"did you mean 't-2\.tar'"):
        find_shards("t2.tar", tmp_path, "data.files.train")
