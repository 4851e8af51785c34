"""Tables in shards: the same features as in memory, the whole life on a streamed recipe, faults by file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from bedplate import pipeline
from bedplate.codecs.table import TableCodec
from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import DataSpec

ROWS = 4000
CUTS = {"train-0": (0, 1500), "train-1": (1500, 3000), "validation": (3000, 3500), "test": (3500, ROWS)}


def columns() -> dict[str, list[Any]]:
    draw = np.random.default_rng(0)
    number, other = draw.normal(size=ROWS), draw.gamma(2.0, size=ROWS)
    town = draw.choice(["Ulm", "Bonn", "Köln"], ROWS)
    score = number + (town == "Bonn") + 0.3 * draw.normal(size=ROWS)
    return {
        "number": [None if k % 50 == 7 else float(value) for k, value in enumerate(number)],
        "other": [str(round(float(value), 3)) for value in other],
        "town": town.tolist(),
        "day": [f"2024-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(ROWS)],
        "kind": np.where(score > 0.3, "yes", "no").tolist(),
        "score": score.tolist(),
    }


def shards(folder: Path, target: str, **changes: tuple[int, Any]) -> DataSpec:
    """Write the shards; `changes` maps a column to (row, value)."""
    table = columns()
    del table["score" if target == "kind" else "kind"]
    for name, (row, value) in changes.items():
        table[name][row] = value
    folder.mkdir(exist_ok=True)
    for name, (start, stop) in CUTS.items():
        own = pyarrow.table({column: values[start:stop] for column, values in table.items()})
        pyarrow.parquet.write_table(own, folder / f"{name}.parquet", row_group_size=250)
    files = {"train": f"{folder}/train-*.parquet", "validation": f"{folder}/validation.parquet",
             "test": f"{folder}/test.parquet"}  # fmt: skip
    return DataSpec.model_validate({"files": files, "stream": {"window_mib": 1, "sample": 600}, "target": target})


def load(spec: DataSpec, task: str = "tabular-classification") -> Dataset:
    return load_dataset(spec, task, 0, base=Path())


@pytest.mark.parametrize(("target", "task"), [("kind", "tabular-classification"), ("score", "tabular-regression")])
def test_rows_are_decoded_as_the_codec_decodes_payloads(tmp_path: Path, target: str, task: str) -> None:
    dataset = load(shards(tmp_path / "s", target), task)
    assert dataset.training_rows == 3000
    assert 590 <= len(dataset.train) <= 600
    assert dataset.stream is not None
    features, targets = dataset.stream.batch(0, 0, 0, 3000)
    dataset.stream.release()
    assert isinstance(dataset.codec, TableCodec)
    table = columns()
    names = [name for name in table if name not in {"kind", "score"}]
    payloads = [{name: table[name][row] for name in names} for row in range(3000)]
    wanted = dataset.codec.features(dataset.codec.decode(payloads))
    answers = table[target][:3000]
    if dataset.answers.labels is not None:
        answers = [dataset.answers.labels.index(answer) for answer in answers]

    def rows(found: dict[str, np.ndarray], values: Any) -> list[tuple[Any, ...]]:
        parts = zip(found["numeric"], found["categories"], values, strict=True)
        return sorted((*one.tolist(), *other.tolist(), value) for one, other, value in parts)

    assert rows(dict(features), targets.tolist()) == rows(wanted, answers)


def test_bad_rows_outside_the_sample_are_named(tmp_path: Path) -> None:
    faults: list[tuple[str, Any, str]] = [
        ("other", "much", "column 'other': a value doesn't fit"),
        ("kind", "perhaps", "class 'perhaps' is not in the sample"),
        ("kind", None, "the target 'kind' is missing"),
    ]
    for column, value, says in faults:
        dataset = load(shards(tmp_path / "s", "kind", **{column: (1733, value)}))
        assert "train-1.parquet:234" not in dataset.train.ids
        assert dataset.stream is not None
        with pytest.raises(DataError, match=r"train-1\.parquet, row 234") as caught:
            dataset.stream.batch(0, 0, 0, 3000)
        assert says in str(caught.value)
    dataset = load(shards(tmp_path / "s", "score", score=(1733, None)), "tabular-regression")
    assert dataset.stream is not None
    with pytest.raises(DataError, match=r"train-1\.parquet, row 234.*'score' is missing"):
        dataset.stream.batch(0, 0, 0, 3000)


def test_shards_whose_columns_differ_are_refused(tmp_path: Path) -> None:
    spec = shards(tmp_path / "s", "kind")
    path = tmp_path / "s" / "train-1.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(["town"]), path)
    with pytest.raises(DataError, match=r"train-1\.parquet: the columns differ from those of train-0\.parquet"):
        load(spec)
    shards(tmp_path / "s", "kind")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train-1\.parquet: not a readable Parquet file"):
        load(spec)


def test_validation_may_be_a_table_of_another_kind(tmp_path: Path) -> None:
    spec = shards(tmp_path / "s", "kind")
    table = columns()
    names = ["number", "other", "town", "day", "kind"]
    lines = [",".join(names)]
    lines += [",".join("" if table[n][row] is None else str(table[n][row]) for n in names) for row in range(3000, 3500)]
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    assert spec.files is not None
    files = spec.files.model_copy(update={"validation": str(tmp_path / "v.csv")})
    assert len(load(spec.model_copy(update={"files": files})).validation) == 500


def test_the_whole_life_of_a_streamed_table(tmp_path: Path) -> None:
    shards(tmp_path / "s", "kind")
    (tmp_path / "t.yaml").write_text(
        "name: t\ntask: tabular-classification\n"
        "data: {target: kind, files: {train: s/train-*.parquet, validation: s/validation.parquet,"
        " test: s/test.parquet}, stream: {sample: 600}}\n"
        "training: {epochs: 4, precision: fp32, memory_format: contiguous, compile: false, device: cpu}\n"
        "evaluation: {resamples: 100}\ncompression: {methods: []}\n"
    )
    pipeline.run(str(tmp_path / "t.yaml"), tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["metrics"]["accuracy"]["value"] > 0.8
    assert report["rows"]["train"] == 3000
    assert (tmp_path / "run" / "bundle" / "manifest.json").is_file()
