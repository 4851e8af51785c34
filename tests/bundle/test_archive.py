"""The archive is deterministic, and nothing gets out of its folder."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from tests.bundle.boxes import image_bundle, images

from bedplate.bundle import Bundle, pack_archive, unpack
from bedplate.core.errors import BundleError, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_bundle(tmp_path_factory.mktemp("sealed") / "box").path


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    return pack_archive(folder, folder.parent / "box.bundle")


def tar_of(path: Path, *names: str, data: bytes = b"x", **fields: object) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            add(tar, name, data, **fields)
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes = b"x", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def test_the_same_bundle_gives_the_same_bytes(folder: Path, archive: Path, tmp_path: Path) -> None:
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    assert pack_archive(folder, tmp_path / "again.bundle").read_bytes() == archive.read_bytes()
    unpack(archive, tmp_path / "there")
    assert pack_archive(tmp_path / "there", tmp_path / "back.bundle").read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert [m.name for m in members[:2]] == ["BUNDLE_ID", "manifest.json"]
    assert {(m.mtime, m.uid, m.gid, m.mode) for m in members} == {(0, 0, 0, 0o644)}


def test_the_archive_opens_like_the_folder_and_leaves_nothing_behind(
    folder: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bundle = Bundle.open(archive)
    rows = list(images(4))
    assert bundle.predict(rows) == Bundle.open(folder).predict(rows)
    assert bundle.id == Bundle.open(folder).id
    del bundle
    assert list(tmp_path.iterdir()) == []
    archive_cut = tmp_path / "cut.bundle"
    archive_cut.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(BundleError):
        Bundle.open(archive_cut)
    assert list(tmp_path.iterdir()) == [archive_cut]


def test_an_archive_cut_at_any_place_is_refused(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    cut = tmp_path / "cut.bundle"
    for end in [0, 1, 511, 512, 513, *range(700, len(data), 997), len(data) - 1024, len(data) - 1]:
        cut.write_bytes(data[:end])
        with pytest.raises(BundleError):
            unpack(cut, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_flipped_bit_anywhere_in_the_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    bad = tmp_path / "bad.bundle"
    for place in range(0, len(data), 331):
        broken = bytearray(data)
        broken[place] ^= 4
        bad.write_bytes(bytes(broken))
        with pytest.raises(BundleError):
            Bundle.open(bad)
    bad.write_bytes(data + b"\0" * 512)
    with pytest.raises(BundleError):
        Bundle.open(bad)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "graphs/../../escaped", "a/./b", "a\\b"])
def test_zip_slip_is_refused(tmp_path: Path, name: str) -> None:
    bad = tar_of(tmp_path / "bad.bundle", name)
    with pytest.raises(BundleError, match="unsafe path"):
        unpack(bad, tmp_path / "in" / "out")
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "in" / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_special_members_are_refused(tmp_path: Path, kind: bytes) -> None:
    bad = tar_of(tmp_path / "bad.bundle", "model.json", data=b"", type=kind, linkname="/etc/passwd")
    with pytest.raises(BundleError, match="plain files only"):
        unpack(bad, tmp_path / "out")


def test_a_name_twice_or_in_another_case_is_refused(tmp_path: Path) -> None:
    for second in ("model.json", "MODEL.json"):
        bad = tar_of(tmp_path / "bad.bundle", "model.json", second)
        with pytest.raises(BundleError, match="twice"):
            unpack(bad, tmp_path / "out")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    bad = tar_of(tmp_path / "bad.bundle", "a", "a/b")
    with pytest.raises(BundleError, match="both a file and a folder"):
        unpack(bad, tmp_path / "out")


def test_sizes_and_counts_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedplate.bundle.archive.MOST_BYTES", 1000)
    bad = tar_of(tmp_path / "bad.bundle", "model.json", data=b"x" * 2000)
    with pytest.raises(BundleError, match="too large"):
        unpack(bad, tmp_path / "out")
    monkeypatch.setattr("bedplate.bundle.archive.MOST_FILES", 3)
    bad = tar_of(tmp_path / "bad.bundle", *(f"f{i}" for i in range(5)))
    with pytest.raises(BundleError, match="too large"):
        unpack(bad, tmp_path / "out")


def test_a_compressed_or_foreign_tar_is_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as old, tarfile.open(tmp_path / "pax.bundle", "w") as new:
        for member in old.getmembers():
            member.mtime = 7
            new.addfile(member, old.extractfile(member))
    with pytest.raises(BundleError, match="isn't as it was packed"):
        unpack(tmp_path / "pax.bundle", tmp_path / "out")
    with tarfile.open(tmp_path / "zipped.bundle", "w:gz") as new:
        add(new, "model.json")
    with pytest.raises(BundleError):
        unpack(tmp_path / "zipped.bundle", tmp_path / "out")


def test_an_existing_target_is_not_overwritten(folder: Path, archive: Path) -> None:
    with pytest.raises(InputError, match="already exists"):
        pack_archive(folder, archive)


FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize(
    ("name", "identity", "variants"),
    [
        ("format-1-image", "b51ec253c38fdb75d711d57d7b4c5337545ad4c5e5d9bc1fb7e02d1f6a5f695c", ["f32", "int8-dynamic"]),
        ("format-1-table", "875ab7062841a50e3677f37a002cf5e319431223e46caf5367d03b6632fbf16c", ["f32"]),
    ],
)
def test_bundles_of_format_1_open_for_ever(name: str, identity: str, variants: list[str]) -> None:
    """Sealed by release 0.1.0; every later release must open them and give the sealed answers."""
    bundle = Bundle.open(FIXTURES / f"{name}.bundle")
    assert bundle.id == identity
    assert sorted(bundle.variants) == variants
    golden = bundle.golden
    assert golden.labels is not None
    found = bundle.predictor("f32")(golden.inputs)["probabilities"]
    assert (found.argmax(1) == golden.labels).mean() >= 0.5
    assert set(bundle.weights())
