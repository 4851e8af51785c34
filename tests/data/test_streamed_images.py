"""Images in shards: the same pixels as in memory, the whole life on a streamed recipe, and faults by file and row."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from bedplate import pipeline
from bedplate.codecs.image import ImageCodec
from bedplate.core.errors import DataError, InputError, RecipeError, RunError
from bedplate.data.dataset import Dataset
from bedplate.data.embedded import digits
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import DataSpec
from bedplate.stages.plan import plan

PIXELS, LABELS, _ = digits()
SPLITS = {"train-0": (0, 500), "train-1": (500, 1000), "train-2": (1000, 1397), "validation": (1397, 1597),
          "test": (1597, 1797)}  # fmt: skip


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(file, "PNG")
    return file.getvalue()


def image_column(form: str, pixels: np.ndarray) -> Any:
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    if form == "fixed":
        return pyarrow.array([row.tobytes() for row in flat], pyarrow.binary(flat.shape[1]))
    if form == "raw":
        return pyarrow.array([row.tobytes() for row in flat], pyarrow.binary())
    if form == "large":
        return pyarrow.array([row.tobytes() for row in flat], pyarrow.large_binary())
    if form == "list":
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(flat.ravel()), flat.shape[1])
    files = [png(one) for one in pixels]
    if form == "struct":
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        return pyarrow.array([{"bytes": file, "path": None} for file in files], kind)
    return pyarrow.array(files, pyarrow.binary())


def parquet(folder: Path, form: str = "fixed", group: int = 60) -> Path:
    folder.mkdir(exist_ok=True)
    for name, (start, stop) in SPLITS.items():
        column = image_column(form, PIXELS[start:stop])
        table = pyarrow.table({"image": column, "label": [int(label) for label in LABELS[start:stop]]})
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet", row_group_size=group)
    return folder


def tar(folder: Path, form: str = "png", label: str = "cls") -> Path:
    folder.mkdir(exist_ok=True)
    for name, (start, stop) in SPLITS.items():
        with tarfile.open(folder / f"{name}.tar", "w") as archive:
            for row in range(start, stop):
                array = io.BytesIO()
                np.save(array, PIXELS[row])
                image = png(PIXELS[row]) if form == "png" else array.getvalue()
                text = LABELS[row] if label == "cls" else json.dumps({"label": int(LABELS[row]), "other": 1})
                for ending, data in ((form, image), (label, text.encode())):
                    member = tarfile.TarInfo(f"some/{row:05d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


def spec(folder: Path, ending: str = "parquet", **more: Any) -> DataSpec:
    files = {
        "train": f"{folder}/train-*.{ending}",
        "validation": f"{folder}/validation.{ending}",
        "test": f"{folder}/test.{ending}",
    }
    given = {"files": files, "stream": {"window_mib": 1, "sample": 300}, "image": {"height": 8, "width": 8}, **more}
    return DataSpec.model_validate(given)


def load(given: DataSpec) -> Dataset:
    return load_dataset(given, "image-classification", 0, base=Path())


def streamed_rows(dataset: Dataset) -> list[tuple[bytes, int]]:
    assert dataset.stream is not None
    features, targets = dataset.stream.batch(0, 0, 0, len(dataset.stream))
    dataset.stream.release()
    return sorted((one.tobytes(), int(target)) for one, target in zip(features["image"], targets, strict=True))


EXPECTED = sorted((PIXELS[row].tobytes(), int(LABELS[row])) for row in range(1397))


@pytest.mark.parametrize("form", ["fixed", "raw", "large", "list", "struct", "png"])
def test_every_form_of_a_parquet_image_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    dataset = load(spec(parquet(tmp_path / "s", form)))
    assert streamed_rows(dataset) == EXPECTED
    assert dataset.training_rows == 1397
    assert 290 <= len(dataset.train) <= 300
    assert len(dataset.validation) == 200
    assert dataset.answers.labels == tuple("0123456789")
    np.testing.assert_array_equal(dataset.test.inputs["image"], PIXELS[1597:])
    assert any("sample of" in note for note in dataset.notes)


@pytest.mark.parametrize(("form", "label"), [("png", "cls"), ("npy", "cls"), ("png", "json")])
def test_webdataset_tars_give_the_same_rows(tmp_path: Path, form: str, label: str) -> None:
    dataset = load(spec(tar(tmp_path / "s", form, label), "tar", image={}))
    assert streamed_rows(dataset) == EXPECTED


def test_another_size_is_decoded_as_the_codec_decodes_everywhere(tmp_path: Path) -> None:
    for folder, ending in ((parquet(tmp_path / "p", "png"), "parquet"), (tar(tmp_path / "t", "npy"), "tar")):
        dataset = load(spec(folder, ending, image={"height": 12, "width": 10, "channels": 3}))
        codec = dataset.codec
        assert isinstance(codec, ImageCodec)
        wanted = codec.decode(list(PIXELS[:1397]))["image"]
        found = streamed_rows(dataset)
        assert found == sorted((one.tobytes(), int(label)) for one, label in zip(wanted, LABELS[:1397], strict=True))


def test_a_folder_of_shards_and_a_file_are_taken_too(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "s")
    (tmp_path / "train").mkdir()
    for shard in folder.glob("train-*"):
        shard.rename(tmp_path / "train" / shard.name)
    dataset = load(spec(folder, files={
        "train": str(tmp_path / "train"), "validation": str(folder / "validation.parquet"),
        "test": str(folder / "test.parquet")}))  # fmt: skip
    assert dataset.training_rows == 1397


def test_the_fingerprint_tells_data_from_data(tmp_path: Path) -> None:
    one, other = (load(spec(parquet(tmp_path / name))) for name in "ab")
    assert one.stream is not None
    assert other.stream is not None
    assert one.fingerprint == other.fingerprint, "a copy of the shards is the same data"
    table = pyarrow.parquet.read_table(tmp_path / "b" / "train-2.parquet")
    pyarrow.parquet.write_table(table.slice(0, 390), tmp_path / "b" / "train-2.parquet", row_group_size=60)
    assert load(spec(tmp_path / "b")).fingerprint != one.fingerprint
    tars = [load(spec(tar(tmp_path / name), "tar")).fingerprint for name in "cd"]
    assert tars[0] == tars[1] != one.fingerprint


@pytest.mark.parametrize("ending", ["parquet", "tar"])
def test_a_shard_that_is_gone_or_changed_meanwhile_is_named(tmp_path: Path, ending: str) -> None:
    folder = parquet(tmp_path / "s") if ending == "parquet" else tar(tmp_path / "s")
    dataset = load(spec(folder, ending))
    assert dataset.stream is not None
    (folder / f"train-1.{ending}").rename(folder / "elsewhere")
    with pytest.raises(DataError, match=rf"train-1\.{ending}: a shard went missing"):
        dataset.stream.batch(0, 0, 0, 1397)
    (folder / f"train-1.{ending}").write_bytes((folder / "elsewhere").read_bytes() + b"x")
    with pytest.raises(DataError, match=rf"train-1\.{ending}: a shard was changed"):
        dataset.stream.batch(0, 0, 0, 1397)


def rewritten(path: Path, row: int, column: str, value: Any) -> None:
    """Change one value of a Parquet shard."""
    table = pyarrow.parquet.read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    columns[column][row] = value
    made = pyarrow.table(columns, schema=table.schema)
    pyarrow.parquet.write_table(made, path, row_group_size=60)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [("image", b"no image at all", "not an image"), ("label", 10, "class '10' is not in the sample"),
     ("label", None, "the target 'class' is missing")],
)  # fmt: skip
def test_a_bad_row_outside_the_sample_is_named(tmp_path: Path, column: str, value: Any, says: str) -> None:
    folder = parquet(tmp_path / "s", "png")
    rewritten(folder / "train-1.parquet", 133, column, value)
    dataset = load(spec(folder))
    assert "train-1.parquet:134" not in dataset.train.ids
    assert dataset.stream is not None
    with pytest.raises(DataError, match=r"train-1\.parquet, row 134") as caught:
        dataset.stream.batch(0, 0, 0, 1397)
    assert says in str(caught.value)


def test_what_a_stream_can_not_do_is_said(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "s")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"files": {"train": f"{folder}/train-*.parquet"}}, "three splits named"),
        ({"limit": 50}, "takes every row"),
        ({"on_bad_row": "skip"}, "takes every row"),
        ({"image": {}}, "raw pixels don't say their size"),
        ({"image": {"height": 9, "width": 9}}, "raw pixels of another size"),
        ({"target": "lable"}, "did you mean 'label'"),
        ({"stream": {"image": "picture"}}, "there is no column 'picture'"),
        ({"stream": None}, "add data.stream"),
    ]
    for more, says in refused:
        with pytest.raises(DataError, match=says):
            load(spec(folder, **more))
    with pytest.raises(DataError, match="no shards"):
        load(spec(tmp_path / "elsewhere"))
    big = parquet(tmp_path / "big", group=500)
    wide = spec(big, image={"height": 8, "width": 8, "channels": 3}, stream={"window_mib": 1, "sample": 300})
    assert load(wide).training_rows == 1397
    large = spec(parquet(tmp_path / "png", "png", group=500), image={"height": 64, "width": 64})
    with pytest.raises(DataError, match="larger than the window"):
        load(large)


RECIPE = """\
name: streamed
task: image-classification
data:
  files: {train: "s/train-*.parquet", validation: s/validation.parquet, test: s/test.parquet}
  stream: {window_mib: 1, sample: 300}
  image: {height: 8, width: 8}
model: {name: cnn, widths: [8, 16], dense: [16]}
training:
  {epochs: 3, batch_size: 64, precision: fp32, memory_format: contiguous, compile: false, device: cpu, threads: 1}
evaluation: {resamples: 100}
compression: {methods: [int8-static]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    parquet(tmp_path / "s")
    path = tmp_path / "streamed.yaml"
    path.write_text(RECIPE)
    return path


def test_the_whole_life_of_a_streamed_recipe(recipe: Path, tmp_path: Path) -> None:
    planned = plan(str(recipe))
    assert planned.rows == {"train": 1397, "validation": 200, "test": 200}
    assert planned.steps == 3 * 22
    pipeline.run(str(recipe), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["rows"]["train"] == 1397
    assert any("sample of" in note for note in report["notes"])
    assert "logistic regression" in report["baselines"]
    assert {entry["name"] for entry in report["variants"]} == {"f32", "int8-static"}
    assert (tmp_path / "run" / "bundle" / "manifest.json").is_file()
    table = pyarrow.parquet.read_table(tmp_path / "s" / "train-0.parquet")
    pyarrow.parquet.write_table(table.slice(0, 400), tmp_path / "s" / "train-0.parquet", row_group_size=60)
    with pytest.raises(RunError, match="other data"):
        pipeline.run(str(recipe), tmp_path / "run", mode="resume")


def test_what_needs_all_rows_in_memory_is_refused_before_reading(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.sampling: this needs all training rows in memory"):
        plan(str(recipe), overrides=["training.sampling=balanced"])
    with pytest.raises(InputError):
        plan(str(recipe), overrides=["data.stream.window_mib=0"])


@pytest.mark.slow
def test_a_streaming_process_killed_in_training_continues_bit_for_bit(recipe: Path, tmp_path: Path) -> None:
    """kill -9 at three random moments, then --resume: the weights equal an uninterrupted run's."""
    parquet(tmp_path / "s", "png")  # at this size, five windows an epoch
    settings = ["--set", "training.epochs=15", "training.checkpoint_seconds=0.05", "data.image.height=32",
                "data.image.width=32", "data.image.channels=3"]  # fmt: skip

    def command(out: str, *more: str) -> list[str]:
        words = ["train", str(recipe), "--out", str(tmp_path / out), "--json", *settings, *more]
        return [sys.executable, "-m", "bedplate", *words]

    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    whole = subprocess.run(command("whole"), capture_output=True, text=True, check=True, env=environment)
    digest = json.loads(whole.stdout)["training"]["weights_sha256"]
    draw = random.Random(0)
    killed = 0
    checkpoint = tmp_path / "killed" / "train" / "checkpoint.safetensors"
    for _ in range(3):
        again = ["--resume"] if (tmp_path / "killed").exists() else []
        process = subprocess.Popen(
            command("killed", *again), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == 3
    done = subprocess.run(command("killed", "--resume"), capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout)["training"]["weights_sha256"] == digest
