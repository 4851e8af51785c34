"""Labelled images from every source: layouts, splits without leaks, sizes chosen, and bad files reported."""

from __future__ import annotations

import io
import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bedplate.core.errors import DataError
from bedplate.core.hashing import row_digests
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.images import load_images
from bedplate.recipe.schema import DataSpec


def png(seed: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> bytes:
    """A noisy image that no other seed gives."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = size[::-1] if bands == 1 else (*size[::-1], bands)
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8), mode).save(out, "PNG")
    return out.getvalue()


def tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def classes(labels: str = "ab", each: int = 20, prefix: str = "", start: int = 0) -> dict[str, bytes]:
    """Files by class, all different."""
    return {
        f"{prefix}{label}/{i}.png": png(start + 1000 * k + i) for k, label in enumerate(labels) for i in range(each)
    }


def load(source: Path | str, base: Path = Path(), **options: object) -> Dataset:
    """Load a source with other options of `data` at their defaults."""
    return load_images(DataSpec(source=str(source), **options), 7, base=base, announce=lambda _: None)  # type: ignore[arg-type]


def keys(rows: Rows) -> set[str]:
    """The distinct images of a split."""
    return set(row_digests(dict(rows.inputs)))


def test_digits_are_divided_without_leaks_and_always_alike() -> None:
    first, second = load("digits"), load("digits")
    sizes = [len(rows) for rows in (first.train, first.validation, first.test)]
    assert sum(sizes) == 1797
    assert first.train.inputs["image"].shape[1:] == (8, 8, 1)
    assert first.answers.labels == tuple("0123456789")
    assert first.answers.positive is None
    assert first.split_fingerprint == second.split_fingerprint
    assert first.fingerprint == second.fingerprint
    assert not keys(first.train) & keys(first.test)
    other = load_images(DataSpec(source="digits"), 8, base=Path(), announce=print)
    assert other.split_fingerprint != first.split_fingerprint
    assert other.fingerprint == first.fingerprint


def test_a_folder_of_classes_in_natural_order(tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": png(100 * int(label) + i) for label in ("2", "10", "1") for i in range(20)}
    data = load("set", base=tree(tmp_path, {f"set/{name}": body for name, body in files.items()}))
    assert data.answers.labels == ("1", "2", "10")
    assert data.name == "set"
    assert data.schema["labels"] == ["1", "2", "10"]
    for rows in (data.train, data.validation, data.test):
        for i, name in enumerate(rows.ids):
            assert data.answers.labels[rows.targets[i]] == name.split("/")[0]
            expected = np.asarray(Image.open(io.BytesIO(files[name])))
            assert np.array_equal(rows.inputs["image"][i, ..., 0], expected)
    assert data.codec.feature_spec()["mean"][0] == pytest.approx(data.train.inputs["image"].mean())


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.xz"])
def test_wrappers_hidden_files_and_readmes_do_not_matter(tmp_path: Path, kind: str) -> None:
    files = {
        **classes(prefix="outer/inner/"),
        "outer/README.txt": b"read me",
        "LICENSE": b"free",
        "__MACOSX/outer/inner/a/._1.png": b"junk",
        "outer/inner/a/.DS_Store": b"junk",
        "outer/inner/b/Thumbs.db": b"junk",
    }
    if kind == "folder":
        path = tree(tmp_path / "set", files)
    elif kind == "zip":
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, body in files.items():
                archive.writestr(name, body)
    else:
        path = tmp_path / f"set.{kind}"
        with tarfile.open(path, "w:xz" if kind == "tar.xz" else "w") as tar:
            for name, body in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
    data = load(path)
    assert data.answers.labels == ("a", "b")
    assert sum(map(len, (data.train, data.validation, data.test))) == 40
    assert any("2 files outside the class folders" in note for note in data.notes)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_first_level_splits_stay_as_they_are(tmp_path: Path, name: str) -> None:
    files = {
        **classes(prefix="x/Train/"),
        **classes(prefix=f"x/{name}/", each=5, start=5000),
        **classes(prefix="x/test/", each=6, start=9000),
    }
    files["x/test/a/copy.png"] = files["x/Train/a/3.png"]
    data = load(tree(tmp_path, files))
    assert [len(data.train), len(data.validation), len(data.test)] == [40, 10, 13]
    assert all(one.startswith("x/Train/") for one in data.train.ids)
    assert any("overlap: 1 test image also lies in the train split" in note for note in data.notes)


def test_missing_official_splits_are_carved_from_training_rows(tmp_path: Path) -> None:
    files = {**classes(prefix="train/", each=30), **classes(prefix="test/", each=6, start=9000)}
    data = load(tree(tmp_path / "one", files))
    assert len(data.test) == 12
    assert len(data.train) + len(data.validation) == 60
    assert not keys(data.train) & keys(data.validation)
    assert any("no official validation split: 9 of 60 training images" in note for note in data.notes)
    only = load(tree(tmp_path / "two", classes(prefix="train/", each=30)))
    assert min(len(only.train), len(only.validation), len(only.test)) > 5
    without_test = {**classes(prefix="train/", each=30), **classes(prefix="val/", each=6, start=9000)}
    three = load(tree(tmp_path / "three", without_test))
    assert len(three.validation) == 12
    assert len(three.test) > 4
    assert not keys(three.train) & keys(three.test)


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    files = {name.replace("a/", "train/").replace("b/", "bus/"): body for name, body in classes().items()}
    assert load(tree(tmp_path, files)).answers.labels == ("bus", "train")


def test_equal_images_never_lie_on_both_sides(tmp_path: Path) -> None:
    files = classes(each=10)
    for i in range(10):
        for copy in range(3):
            files[f"a/copy{i}-{copy}.png"] = files[f"a/{i}.png"]
    data = load(tree(tmp_path, files))
    assert not keys(data.train) & keys(data.test)
    assert not keys(data.train) & keys(data.validation)
    assert sum(map(len, (data.train, data.validation, data.test))) == 50


def test_an_image_under_two_classes_is_reported(tmp_path: Path) -> None:
    files = classes()
    files["b/same.png"] = files["a/3.png"]
    assert any("1 image appears under more than one class" in note for note in load(tree(tmp_path, files)).notes)


def test_sizes_channels_and_modes_are_chosen_from_the_data(tmp_path: Path) -> None:
    grey = load(
        tree(
            tmp_path / "grey", {f"{c}/{i}.png": png(50 * k + i, (90, 40)) for k, c in enumerate("ab") for i in range(8)}
        )
    )
    assert (grey.schema["height"], grey.schema["width"], grey.schema["channels"]) == (40, 90, 1)
    assert any("90x40 pixels, and are taken as they are" in reason for reason in grey.schema["reasons"])
    sizes = [(200, 100), (300, 160), (60, 30), (250, 120)]
    mixed = {
        f"{c}/{i}.png": png(50 * k + i, sizes[i % 4], ("L", "RGB", "RGBA")[i % 3])
        for k, c in enumerate("ab") for i in range(20)
    }  # fmt: skip
    data = load(tree(tmp_path / "mixed", mixed))
    assert (data.schema["height"], data.schema["width"], data.schema["channels"]) == (48, 88, 3)
    assert any("4 sizes, from 60x30 to 300x160" in reason for reason in data.schema["reasons"])
    assert set(data.test.slices) == {"mode", "size"}
    assert set(data.train.slices["mode"].tolist()) == {"L", "RGB", "RGBA"}
    told = load(tmp_path / "mixed", image={"height": 16, "width": 12, "channels": 1, "resize": "pad"})
    assert told.train.inputs["image"].shape[1:] == (16, 12, 1)
    assert told.codec.contract()["resize"] == "pad"


def test_grey_pixels_stored_as_colour_become_one_channel(tmp_path: Path) -> None:
    def coloured(body: bytes) -> bytes:
        out = io.BytesIO()
        Image.open(io.BytesIO(body)).convert("RGB").save(out, "PNG")
        return out.getvalue()

    files = classes()
    plain = load(tree(tmp_path / "plain", files))
    stored = load(tree(tmp_path / "stored", {name: coloured(body) for name, body in files.items()}))
    assert stored.schema["channels"] == 1
    assert stored.fingerprint == plain.fingerprint
    assert any("stored as colour" in note for note in stored.notes)


def bad_files() -> dict[str, bytes]:
    """One of each kind of file that can't be used, by name."""
    whole = png(77, (64, 64), "RGB")
    huge = bytearray(png(1))
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    huge[16 : 16 + 13] = header
    huge[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return {
        "a/empty.png": b"",
        "a/text.png": b"this is no image",
        "a/notes.txt": b"remember the milk",
        "a/truncated.png": whole[: len(whole) // 2],
        "b/bomb.png": bytes(huge),
        "loose.png": png(5),
    }


def test_bad_files_are_all_listed_with_their_reasons(tmp_path: Path) -> None:
    root = tree(tmp_path, {**classes(), **bad_files()})
    with pytest.raises(DataError) as caught:
        load(root)
    message = str(caught.value)
    assert "6 files can't be used" in message
    for words in (
        "a/empty.png: the image is empty", "a/text.png: not an image", "a/notes.txt: not an image",
        "a/truncated.png: the PNG image is truncated or damaged", "b/bomb.png: the image is too large to decode safely",
        "loose.png: an image outside any class folder", "on_bad_row: skip",
    ):  # fmt: skip
        assert words in message


def test_bad_files_are_skipped_and_reported_if_the_recipe_says_so(tmp_path: Path) -> None:
    root = tree(tmp_path, {**classes(), **bad_files()})
    data = load(root, on_bad_row="skip")
    assert sum(map(len, (data.train, data.validation, data.test))) == 40
    assert any("6 files left out as bad" in note for note in data.notes)
    clean = load(tree(tmp_path / "clean", classes()))
    assert data.fingerprint == clean.fingerprint


def test_only_ten_bad_files_are_spelt_out(tmp_path: Path) -> None:
    root = tree(tmp_path, {**classes(), **{f"a/bad{i}.png": b"x" for i in range(30)}})
    with pytest.raises(DataError, match=r"30 files can't be used.*bad9.png.*\(30 in all\)") as caught:
        load(root)
    assert "bad10.png" not in str(caught.value)


def test_hostile_archives_are_read_without_writing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, body in classes().items():
            archive.writestr(name, body)
        archive.writestr("../../evil.png", png(1))
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(DataError, match="unsafe path"):
        load(tmp_path / "x.zip")
    assert len(load(tmp_path / "x.zip", on_bad_row="skip").train) > 0
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_animations_give_their_first_frame_and_a_note(tmp_path: Path) -> None:
    files = classes()
    out = io.BytesIO()
    frames = [Image.new("L", (8, 8), level) for level in (40, 90)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    files["a/moving.gif"] = out.getvalue()
    assert any("1 files have several frames" in note for note in load(tree(tmp_path, files)).notes)


def empty(root: Path) -> Path:
    root.mkdir()
    return root


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (empty, "there are no files.*expected a folder for each class"),
        (lambda root: tree(root, {"1.png": png(1), "2.png": png(2)}), "no class folders.*one folder a class"),
        (lambda root: tree(root, classes("a")), "only one class.*received 20 images of 'a'"),
        (lambda root: tree(root, {"a/1.png": png(1)}), "only one class.*received 1 image of 'a'"),
        (lambda root: tree(root, {"a/1.png": png(1), "b/1.png": png(2)}), "too few rows.*received 2 rows"),
        (lambda root: tree(root, {f"{c}/{i}.png": png(1) for c in "ab" for i in range(9)}), "distinct"),
        (lambda root: tree(root, {**classes(prefix="train/"), **classes("c", prefix="test/")}), "split lacks.*c"),
        (lambda root: root, "no such folder or archive.*one of digits, mnist"),
    ],
)  # fmt: skip
def test_nothing_to_learn_from(tmp_path: Path, make: Callable[[Path], Path], what: str) -> None:
    with pytest.raises(DataError, match=what):
        load(make(tmp_path / "set"))


def test_misspelt_names_and_impossible_wishes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        load("mnst", base=tmp_path)
    root = tree(tmp_path / "set", classes())
    with pytest.raises(DataError, match="no column to split by time"):
        load(root, split={"by": "time", "column": "x"})
    with pytest.raises(DataError, match=r"data.positive.*one of a, b.*received c"):
        load(root, positive="c")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a source of images"):
        load(tmp_path / "table.csv")
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b\x08half")
    with pytest.raises(DataError, match="truncated or damaged tar"):
        load(tmp_path / "half.tar.gz")


def test_the_positive_class_of_two(tmp_path: Path) -> None:
    root = tree(tmp_path, classes())
    assert load(root).answers.positive == 1
    assert load(root, positive="a").answers.positive == 0


def test_files_with_a_path_for_each_split(tmp_path: Path) -> None:
    tree(tmp_path / "one/wrapped", classes("ab"))
    tree(tmp_path / "train", classes("ab", each=4, start=4000))
    spec = DataSpec.model_validate({"files": {"train": "one", "test": "train"}})
    data = load_images(spec, 7, base=tmp_path, announce=print)
    assert len(data.test) == 8
    assert len(data.train) + len(data.validation) == 40
    assert data.test.ids[0].startswith("test/")


def test_limit_takes_training_rows_evenly(tmp_path: Path) -> None:
    data = load(tree(tmp_path, classes(each=50)), limit=20)
    assert np.bincount(data.train.targets).tolist() == [10, 10]
    assert len(data.test) == len(load(tmp_path).test)


def test_an_unreadable_file_is_a_bad_file(tmp_path: Path) -> None:
    root = tree(tmp_path, classes())
    os.mkfifo(root / "a/pipe.png")
    with pytest.raises(DataError, match=r"pipe.png: not a regular file"):
        load(root)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_sets_keep_their_official_test_split(name: str) -> None:
    data = load(name)
    assert len(data.test) == 10_000
    assert len(data.train) + len(data.validation) == 60_000
    assert data.train.inputs["image"].shape[1:] == (28, 28, 1)
    assert data.test.ids[0] == "test:0"


@pytest.mark.data
@pytest.mark.slow
def test_cifar10_jpeg_loads_in_reasonable_time() -> None:
    start = time.monotonic()
    data = load("cifar10-jpeg")
    assert time.monotonic() - start < 120
    assert len(data.test) == 10_000
    assert np.bincount(data.test.targets).tolist() == [1000] * 10
    assert data.train.inputs["image"].shape[1:] == (32, 32, 3)
    assert any("not the published pixels" in note for note in data.notes)


@pytest.mark.data
def test_orl_faces_in_an_archive_of_folders(data_root: Path) -> None:
    data = load(data_root / "orl-faces/orl_faces.tar.xz")
    assert data.answers.labels is not None
    assert data.answers.labels[:3] == ("s1", "s2", "s3")
    assert len(data.answers.labels) == 40
    assert (data.schema["height"], data.schema["width"], data.schema["channels"]) == (112, 92, 1)
