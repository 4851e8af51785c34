from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedplate.codecs import from_contract
from bedplate.codecs.rows import read_rows
from bedplate.core.errors import DataError
from bedplate.core.hashing import row_digests
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import ColumnSpec, DataSpec, FilesSpec, SplitSpec

CLASSES, NUMBERS = "tabular-classification", "tabular-regression"
HEADER = ["id", "size", "kind", "joined", "remark", "site", "shop", "label"]


def row(i: int, rng: random.Random) -> list[Any]:
    size = rng.random()
    return [
        f"N{i:05d}", "" if rng.random() < 0.1 else f"{size:.4f}", rng.choice(["red", "green", ""]),
        f"2021-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}", f"a remark of some words, number {i}", "here",
        f"shop{rng.randint(0, 9)}", "yes" if size + rng.gauss(0, 0.1) > 0.5 else "no",
    ]  # fmt: skip


def rows_of(count: int, seed: int = 0) -> list[list[Any]]:
    rng = random.Random(seed)
    return [row(i, rng) for i in range(count)]


def write(path: Path, rows: list[list[Any]], header: list[str] | None = HEADER) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path.name


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Dataset]:
    def loader(rows: list[list[Any]] | None = None, task: str = CLASSES, seed: int = 0, **spec: Any) -> Dataset:
        if rows is not None:
            spec["source"] = write(tmp_path / "t.csv", rows, spec.pop("header", HEADER))
        return load_dataset(DataSpec(**{"target": "label", **spec}), task, seed, base=tmp_path)

    return loader


def test_a_table_becomes_a_dataset(load: Callable[..., Dataset]) -> None:
    data = load(rows_of(400))
    assert (len(data.train), len(data.validation), len(data.test)) == (280, 60, 60)
    assert data.name == "t"
    assert data.answers.labels == ("no", "yes")
    assert data.answers.positive == 1
    assert data.train.targets.dtype == np.int64
    assert data.train.ids[0].startswith("t.csv:")
    used = {column["name"]: column["used"] for column in data.schema["columns"]}
    assert [name for name, flag in used.items() if not flag] == ["id", "remark", "site"]
    assert sum("set aside" in note for note in data.notes) == 3
    json.dumps([data.schema, data.profile], allow_nan=False)


def test_the_serving_path_gives_every_row_as_training_saw_it(load: Callable[..., Dataset], tmp_path: Path) -> None:
    data = load(rows_of(300))
    rows = dict(read_rows(tmp_path / "t.csv", codec=data.codec))  # type: ignore[arg-type]
    codec = from_contract(json.loads(json.dumps(data.codec.contract())))
    for part in (data.train, data.validation, data.test):
        served = codec.decode([rows[one] for one in part.ids])
        assert row_digests(dict(served)) == row_digests(dict(part.inputs))
        ours, theirs = data.codec.features(part.inputs), codec.features(served)
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_equal_recipes_give_equal_data_and_other_rows_another_fingerprint(load: Callable[..., Dataset]) -> None:
    first, again = load(rows_of(200)), load(rows_of(200))
    assert (first.fingerprint, first.split_fingerprint) == (again.fingerprint, again.split_fingerprint)
    assert first.train.ids == again.train.ids
    other_seed = load(rows_of(200), seed=1)
    assert other_seed.split_fingerprint != first.split_fingerprint
    changed = rows_of(200)
    changed[7][-1] = "no" if changed[7][-1] == "yes" else "yes"
    assert load(changed).fingerprint != first.fingerprint


def test_duplicates_never_straddle_and_are_counted(load: Callable[..., Dataset]) -> None:
    base = rows_of(150)
    rows = base + [[f"M{i}", *one[1:]] for i, one in enumerate(base)]  # equal inputs under other identifiers
    data = load(rows)
    keys = [set(row_digests(dict(part.inputs))) for part in (data.train, data.validation, data.test)]
    assert len(keys[0] | keys[1] | keys[2]) == sum(map(len, keys))
    assert data.profile["duplicates"] >= 150
    assert set(data.profile["overlap"].values()) == {0}


def test_official_files_are_kept_and_their_overlap_is_told(load: Callable[..., Dataset], tmp_path: Path) -> None:
    rows = rows_of(200)
    write(tmp_path / "train.csv", rows)
    write(tmp_path / "test.csv", [*rows_of(40, seed=1), *rows[:5]])
    data = load(files=FilesSpec(train="train.csv", test="test.csv"))
    assert len(data.test) == 45
    assert len(data.train) + len(data.validation) == 200
    shared = data.profile["overlap"]
    assert shared["test_in_train"] + shared["test_in_validation"] == 5
    assert any("kept as published" in note for note in data.notes)


def test_groups_and_times_divide_the_rows(load: Callable[..., Dataset]) -> None:
    grouped = load(rows_of(300), split=SplitSpec(by="group", column="shop"))
    shop = {
        int(one.split(":")[1]): values[6] for one, values in ((f"t.csv:{i + 2}", r) for i, r in enumerate(rows_of(300)))
    }
    sides = [
        {shop[int(one.split(":")[1])] for one in part.ids} for part in (grouped.train, grouped.validation, grouped.test)
    ]
    assert sum(map(len, sides)) == 10
    assert next(c for c in grouped.schema["columns"] if c["name"] == "shop")["type"] == "identifier"
    timed = load(rows_of(300), split=SplitSpec(by="time", column="joined"))
    assert timed.train.inputs["joined.days"].max() < timed.validation.inputs["joined.days"].min()
    assert timed.validation.inputs["joined.days"].max() < timed.test.inputs["joined.days"].min()
    with pytest.raises(DataError, match="holds neither dates nor numbers"):
        load(rows_of(300), split=SplitSpec(by="time", column="kind"))
    with pytest.raises(DataError, match=r"no column 'shopp'.*did you mean 'shop'"):
        load(rows_of(300), split=SplitSpec(by="group", column="shopp"))


def test_rows_that_cannot_be_read_are_an_error_or_skipped_and_reported(load: Callable[..., Dataset]) -> None:
    rows = rows_of(200)
    rows[3][-1] = ""
    rows[5][1] = "inf"
    rows[6] = rows[6][:-1]
    with pytest.raises(DataError, match=r"t.csv, line 8: the row has another number of values"):
        load(rows)
    del rows[6]
    with pytest.raises(DataError, match=r"t.csv, line 5: the target 'label' is missing.*on_bad_row: skip"):
        load(rows)
    rows[3][-1] = "no"
    with pytest.raises(DataError, match=r"t.csv, line 7: column 'size': expected a finite number, received 'inf'"):
        load(rows)
    rows[3][-1] = "NA"
    data = load(rows, on_bad_row="skip")
    assert len(data.train) + len(data.validation) + len(data.test) == 197
    assert data.profile["skipped_rows"] == 2
    assert {entry["row"] for entry in data.profile["skipped"]} == {"t.csv:5", "t.csv:7"}
    assert any("left out: 2 rows" in note for note in data.notes)


@pytest.mark.parametrize(
    ("change", "spec", "words"),
    [
        (lambda rows: rows[:1], {}, "too few rows|one class only"),
        (lambda rows: rows[:9], {}, "too few rows|one class only"),
        (lambda rows: [[*r[:-1], "yes"] for r in rows], {}, "one class only.*'yes' in all 200 rows"),
        (lambda rows: rows, {"target": "lable"}, "did you mean 'label'"),
        (lambda rows: rows, {"target": None}, "no target is named"),
        (lambda rows: rows, {"target": "id"}, "hardly ever repeats"),
        (lambda rows: rows, {"task": NUMBERS}, "holds no numbers"),
        (lambda rows: rows, {"positive": "perhaps"}, "there is no label 'perhaps'"),
        (lambda rows: rows, {"columns": {"knid": ColumnSpec(type="category")}}, "did you mean 'kind'"),
        (lambda rows: rows, {"columns": {"kind": ColumnSpec(type="number")}}, "expected a number"),
        (lambda rows: [[r[0], r[-1]] for r in rows], {"header": ["id", "label"]}, "no column is left"),
        (lambda rows: rows, {"header": [*HEADER[:-2], "label", "label"]}, "two columns are called 'label'"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learnt_from_is_refused(
    load: Callable[..., Dataset], change: Callable[[Any], Any], spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load(change(rows_of(200)), **spec)


def test_files_with_other_columns_or_classes_are_refused(load: Callable[..., Dataset], tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(100))
    write(tmp_path / "other.csv", [r[1:] for r in rows_of(40)], HEADER[1:])
    with pytest.raises(DataError, match=r"other.csv: the columns differ from those of train.csv \(expected id"):
        load(files=FilesSpec(train="train.csv", test="other.csv"))
    write(tmp_path / "strange.csv", [[*r[:-1], "maybe" if i == 3 else r[-1]] for i, r in enumerate(rows_of(40))])
    files = FilesSpec(train="train.csv", test="strange.csv")
    with pytest.raises(DataError, match=r"strange.csv, line 5: class 'maybe' does not occur in training"):
        load(files=files)
    data = load(files=files, on_bad_row="skip")
    assert len(data.test) == 39
    assert data.profile["skipped_rows"] == 1


def test_images_and_folders_are_no_tables(load: Callable[..., Dataset], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set task: image-classification"):
        load(source="digits")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="a folder is no table"):
        load(source="pictures")
    with pytest.raises(DataError, match="no such file"):
        load(source="nothing.csv")
    with pytest.raises(DataError, match="names no data"):
        load()


def test_numbers_as_targets(load: Callable[..., Dataset]) -> None:
    rows = [[*r[:-1], f"${1000 + i:,}.50"] for i, r in enumerate(rows_of(200))]
    data = load(rows, task=NUMBERS)
    assert data.answers.labels is None
    assert data.train.targets.dtype == np.float64
    assert data.train.targets.min() >= 1000.5
    assert data.profile["balance"] is None
    assert data.profile["target"]["histogram"]["counts"]


def test_limits_touch_training_only(load: Callable[..., Dataset]) -> None:
    data = load(rows_of(400), limit=50)
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 60, 60)
    assert any("limited to 50 of 280" in note for note in data.notes)


def test_copies_of_the_target_are_set_aside_before_the_split(load: Callable[..., Dataset]) -> None:
    rows = [[*r[:-1], "A" if r[-1] == "yes" else "B", r[-1]] for r in rows_of(200)]
    header = [*HEADER[:-1], "copy", "label"]
    data = load(rows, header=header)
    copy = next(column for column in data.schema["columns"] if column["name"] == "copy")
    assert not copy["used"]
    assert "copy" not in data.train.inputs
    assert any(note.startswith("LEAK: column 'copy'") for note in data.notes)
    kept = load(rows, header=header, columns={"copy": ColumnSpec(type="category")})
    assert "copy" in kept.train.inputs
    assert any("the recipe keeps it" in note for note in kept.notes)


def test_slices_are_texts_for_every_row(load: Callable[..., Dataset]) -> None:
    data = load(rows_of(400))
    assert set(data.test.slices) == {"size", "kind", "shop"}
    assert set(data.train.slices["kind"].tolist()) == {"red", "green", "(missing)"}
    sizes = set(data.train.slices["size"].tolist())
    assert "(missing)" in sizes
    assert len(sizes) == 5
    for texts in data.test.slices.values():
        assert len(texts) == len(data.test)


@pytest.mark.parametrize(
    ("source", "task", "rows", "labels"),
    [
        ("breast-cancer", CLASSES, 569, ("benign", "malignant")),
        ("wine", CLASSES, 178, ("class_0", "class_1", "class_2")),
        ("diabetes", NUMBERS, 442, None),
    ],
)
def test_embedded_tables(source: str, task: str, rows: int, labels: tuple[str, ...] | None) -> None:
    data = load_dataset(DataSpec(source=source), task, 0, base=Path())
    assert len(data.train) + len(data.validation) + len(data.test) == rows
    assert data.answers.labels == labels
    assert all(column["used"] for column in data.schema["columns"])


TABLES = [
    ("bank-marketing/bank-full.csv.gz", "y", CLASSES, 45211, 2),
    ("california-housing/housing.csv.gz", "median_house_value", NUMBERS, 20640, 0),
    ("creditcard-fraud-sample/creditcard_sample.csv.gz", "Class", CLASSES, 1722, 2),
    ("default-credit/default_of_credit_card_clients.csv.gz", "dpnm", CLASSES, 30000, 2),
    ("diamonds/diamonds.csv.gz", "price", NUMBERS, 53940, 0),
    ("titanic/titanic.csv", "survived", CLASSES, 891, 2),
    ("wine-quality/winequality-red.csv.gz", "quality", CLASSES, 1599, 6),
    ("wine-quality/winequality-white.csv.gz", "quality", CLASSES, 4898, 7),
]


@pytest.mark.data
@pytest.mark.parametrize(("file", "target", "task", "rows", "classes"), TABLES)
def test_real_tables(data_root: Path, file: str, target: str, task: str, rows: int, classes: int) -> None:
    data = load_dataset(DataSpec(source=f"tabular/{file}", target=target), task, 0, base=data_root)
    assert len(data.train) + len(data.validation) + len(data.test) == rows
    assert len(data.answers.labels or ()) == classes
    assert set(data.profile["overlap"].values()) == {0}
    assert not any("LEAK" in note for note in data.notes)
    assert np.isfinite(data.codec.features(data.test.inputs)["numeric"]).all()


@pytest.mark.data
def test_adult_with_its_official_test_file(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    monkeypatch.setenv("BEDPLATE_DATA", str(data_root))
    spec = DataSpec(
        files=FilesSpec(
            train="$BEDPLATE_DATA/tabular/adult/adult.data.gz", test="$BEDPLATE_DATA/tabular/adult/adult.test.gz"
        ),
        names=[f"c{i}" for i in range(14)] + ["income"],
        comment="|",
        target="income",
        columns={"income": ColumnSpec(strip=".")},
    )
    data = load_dataset(spec, CLASSES, 0, base=Path())
    assert len(data.test) == 16281
    assert int((data.test.targets == data.answers.positive).sum()) == 3846
    assert data.answers.labels == ("<=50K", ">50K")
