"""Rows without labels, from whatever a user has."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bedplate.codecs.codec import Codec
from bedplate.codecs.image import IMAGE, ImageCodec
from bedplate.core.errors import DataError
from bedplate.data.load import load_dataset
from bedplate.data.unlabelled import Unlabelled, read_unlabelled, source_digest
from bedplate.recipe.schema import DataSpec


@pytest.fixture(scope="module")
def table_codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = tmp_path_factory.mktemp("rows")
    lines = [f"{k % 17},{'red' if k % 3 else 'blue'},{'yes' if k % 2 else 'no'}" for k in range(120)]
    (folder / "a.csv").write_text("size,colour,answer\n" + "\n".join(lines) + "\n")
    spec = DataSpec(source="a.csv", target="answer")
    return load_dataset(spec, "tabular-classification", 0, base=folder).codec


def read(source: Path, codec: Codec, **settings: object) -> Unlabelled:
    spec = DataSpec(source="x", **settings)  # type: ignore[arg-type]
    return read_unlabelled(str(source), codec, spec, base=source.parent, announce=lambda text: None)


def test_the_target_may_be_there_empty_or_absent_in_any_kind_of_table(tmp_path: Path, table_codec: Codec) -> None:
    texts = {
        "absent.csv": "size,colour\n3,red\n4,blue\n",
        "empty.csv": "size,colour,answer\n3,red,\n4,blue,\n",
        "full.csv": "size,colour,answer\n3,red,yes\n4,blue,never-seen\n",
        "bare.csv": "3,red\n4,blue\n",
        "rows.jsonl": '{"size": 3, "colour": "red"}\n{"size": 4, "colour": "blue", "answer": null}\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(texts["absent.csv"].encode()))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("absent.csv", texts["absent.csv"])
    pq.write_table(pa.table({"size": [3, 4], "colour": ["red", "blue"]}), tmp_path / "rows.parquet")
    for path in sorted(tmp_path.iterdir()):
        found = read(path, table_codec)
        assert len(found) == 2, path.name
        assert found.inputs["size"].tolist() == [3.0, 4.0], path.name
        assert found.inputs["colour"].tolist() == ["red", "blue"], path.name


def test_bad_rows_are_refused_or_left_out_with_their_place(tmp_path: Path, table_codec: Codec) -> None:
    (tmp_path / "b.csv").write_text("size,colour\n3,red\nwide,blue\n5,red\n")
    with pytest.raises(DataError, match=r"b\.csv:3.*expected a number"):
        read(tmp_path / "b.csv", table_codec)
    found = read(tmp_path / "b.csv", table_codec, on_bad_row="skip")
    assert found.inputs["size"].tolist() == [3.0, 5.0]
    assert list(found.ids) == ["b.csv:2", "b.csv:4"]
    assert "left out: 1 row of b.csv" in found.notes[0]
    (tmp_path / "c.csv").write_text("size,color\n3,red\n")
    with pytest.raises(DataError, match="lacks column 'colour'"):
        read(tmp_path / "c.csv", table_codec)
    (tmp_path / "d.csv").write_text("")
    with pytest.raises(DataError, match="empty"):
        read(tmp_path / "d.csv", table_codec)
    with pytest.raises(DataError, match="a folder is no table"):
        read(tmp_path, table_codec)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nothing.csv", table_codec)


def test_images_lie_in_any_layout(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    codec = ImageCodec(6, 5, 1)
    folder = tmp_path / "loose"
    for k, place in enumerate(("0.png", "deep/er/1.png", "train/cat/2.png")):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[k]).save(folder / place)
    with zipfile.ZipFile(tmp_path / "loose.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.name)
    header = b"\0\0\x08\x03" + struct.pack(">III", 3, 6, 5)
    (tmp_path / "images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    expected = {image.tobytes() for image in pixels}
    for source in (folder, tmp_path / "loose.zip", tmp_path / "images-idx3-ubyte"):
        found = read(source, codec)
        assert {image[..., 0].tobytes() for image in found.inputs[IMAGE]} == expected, source.name
        assert len(set(found.keys())) == 3
    (folder / "note.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"note\.png"):
        read(folder, codec)
    assert len(read(folder, codec, on_bad_row="skip")) == 3


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    (tmp_path / "one").write_text("1")
    digests = [source_digest("in", tmp_path), source_digest("one", tmp_path)]
    assert digests == [source_digest("in", tmp_path), source_digest("one", tmp_path)]
    (tmp_path / "in" / "a").write_text("2")
    (tmp_path / "one").write_text("2")
    changed = [source_digest("in", tmp_path), source_digest("one", tmp_path)]
    (tmp_path / "in" / "a").rename(tmp_path / "in" / "b")
    assert len({*digests, *changed, source_digest("in", tmp_path)}) == 5
