from __future__ import annotations

import csv
import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bedplate.core.errors import DataError
from bedplate.data.load import load_dataset
from bedplate.data.suggest import Suggestion, suggest
from bedplate.recipe.schema import DataSpec

HEADER = ["customer_id", "score", "colour", "joined", "balance", "remark", "site", "churn"]


def rows_of(count: int = 240) -> list[list[str]]:
    rng = random.Random(3)
    return [
        [
            f"C{i:05d}", f"{rng.random():.3f}", rng.choice(["red", "green", ""]),
            f"{rng.randint(1, 28):02d}/{rng.randint(1, 12):02d}/2021", f"${rng.randint(1, 9)},{rng.randint(100, 999)}.50",
            f"this is the long comment number {i}", "here", rng.choice(["yes", "no", "no"]),
        ]
        for i in range(count)
    ]  # fmt: skip


def write(
    path: Path, rows: list[list[str]], header: list[str] | None = HEADER, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows] if header else rows)
    return path


def settings_of(found: Suggestion) -> dict[str, Any]:
    """The data section but for where the data lies; it must load as it is."""
    assert load_dataset(DataSpec.model_validate(found.data), found.task, 7, base=Path("/"))
    json.dumps([found.data, found.schema, found.facts, found.reasons])
    return {key: value for key, value in found.data.items() if key not in {"source", "files"}}


def test_a_plain_table_needs_no_settings_but_its_target(tmp_path: Path) -> None:
    found = suggest(write(tmp_path / "t.csv", rows_of()))
    assert settings_of(found) == {"target": "churn"}
    assert found.task == "tabular-classification"
    assert {column["name"]: column["type"] for column in found.schema["columns"]} == {
        "customer_id": "identifier", "score": "number", "colour": "category", "joined": "date", "balance": "number",
        "remark": "text", "site": "constant",
    }  # fmt: skip
    assert (found.facts["rows"], found.facts["classes"], found.facts["features"]) == (240, 2, 4)
    said = " ".join(found.reasons)
    for words in ("'churn' is a usual name", "set aside", "divided at random", "by: time, column: joined"):
        assert words in said


def test_a_named_target_decides_the_task(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows_of())
    assert suggest(path, "balance").task == "tabular-regression"
    assert suggest(path, "colour").data["on_bad_row"] == "skip"  # rows without a colour have no target
    with pytest.raises(DataError, match="did you mean 'score'"):
        suggest(path, "scoer")
    with pytest.raises(DataError, match="can't be a target"):
        suggest(path, "customer_id")


def test_without_a_header_names_are_recorded(tmp_path: Path) -> None:
    settings = settings_of(suggest(write(tmp_path / "t.csv", rows_of(), header=None)))
    assert settings == {"target": "c7", "names": [f"c{i}" for i in range(8)]}


def test_delimiters_encodings_and_comments_are_recorded(tmp_path: Path) -> None:
    rows = [[*row[:-1], "né" if row[-1] == "yes" else "à"] for row in rows_of()]
    path = write(tmp_path / "t.csv", rows, delimiter=";", encoding="cp1252")
    assert settings_of(suggest(path)) == {"target": "churn", "delimiter": ";", "encoding": "cp1252"}
    path.write_text(
        "# made today, by hand\n# second line\nx,label\n" + "".join(f"{i / 7},{i % 2}\n" for i in range(60))
    )
    assert settings_of(suggest(path)) == {"target": "label", "comment": "#"}


def test_rows_that_cannot_be_read_are_skipped_with_a_reason(tmp_path: Path) -> None:
    rows = rows_of()
    rows[4] = rows[4][:-2]
    rows[9][-1] = ""
    found = suggest(write(tmp_path / "t.csv", rows))
    assert settings_of(found) == {"target": "churn", "on_bad_row": "skip"}
    assert any("t.csv:6" in reason for reason in found.reasons)
    assert any("1 row without a target" in reason for reason in found.reasons)
    broken = [row[: i % 8 + 1] for i, row in enumerate(rows)]
    with pytest.raises(DataError, match="another number of values"):
        suggest(write(tmp_path / "t.csv", broken))


def test_infinities_and_placeholders_are_declared_missing(tmp_path: Path) -> None:
    rows = [[("inf" if i % 9 == 0 else f"{i / 7:.3f}"), str(i % 3)] for i in range(120)]
    assert settings_of(suggest(write(tmp_path / "t.csv", rows, ["x", "label"])))["columns"] == {
        "x": {"missing": ["inf"]}
    }
    rows = [[f"{i / 7:.3f}", "unknown" if i % 9 == 0 else f"{i * 1.37:.2f}"] for i in range(120)]
    settings = settings_of(suggest(write(tmp_path / "t.csv", rows, ["x", "price"])))
    assert settings == {"target": "price", "columns": {"price": {"missing": ["unknown"]}}, "on_bad_row": "skip"}


def test_a_rare_class_is_kept_and_told(tmp_path: Path) -> None:
    rows = rows_of()
    rows[3][-1] = "perhaps"
    found = suggest(write(tmp_path / "t.csv", rows))
    settings_of(found)
    assert found.facts["classes"] == 3
    assert found.facts["smallest_class"] == 1
    assert any("class 'perhaps' has only 1 row" in reason for reason in found.reasons)


def test_folders_and_zips_of_tables(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.csv", rows_of())
    write(folder / "test.csv", rows_of(60))
    (folder / "README.txt").write_text("nothing")
    assert set(suggest(folder).data["files"]) == {"train", "test"}
    write(folder / "test.csv", [row[:-1] for row in rows_of(60)], HEADER[:-1])  # as competitions publish it
    found = suggest(folder)
    assert found.data["source"].endswith("train.csv")
    assert any("test.csv is left out" in reason for reason in found.reasons)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(folder / "train.csv", "train.csv")
    assert settings_of(suggest(tmp_path / "set.zip")) == {"target": "churn"}
    shutil.copy(folder / "train.csv", folder / "other.csv")
    (folder / "train.csv").rename(folder / "first.csv")
    with pytest.raises(DataError, match="holds several tables"):
        suggest(folder)


def test_a_folder_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (20, 30 + i, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{i}.png")
    found = suggest(tmp_path / "pets")
    assert found.task == "image-classification"
    assert (found.facts["rows"], found.facts["classes"], found.facts["channels"]) == (24, 2, 3)
    settings_of(found)
    shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "pets")
    assert suggest(tmp_path / "pets.zip").facts["rows"] == 24


@pytest.mark.parametrize(
    ("source", "task", "target"),
    [
        ("wine", "tabular-classification", "cultivar"),
        ("diabetes", "tabular-regression", "progression"),
        ("digits", "image-classification", None),
    ],
)
def test_embedded_sets(source: str, task: str, target: str | None) -> None:
    found = suggest(source)
    assert (found.task, found.data.get("target")) == (task, target)
    settings_of(found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n", "too few rows"),
        (b"x,label\n" + b"1.5,1\n2.5,1\n" * 20, "'label' has one value only"),
        (
            b"note\n" + b"".join(b"a text of words, number %d here\n" % i for i in range(40)),
            "no column can be a target",
        ),
        (bytes(range(256)) * 9, "is this a text file"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        suggest(tmp_path / "t.csv")


def test_nothing_there_and_single_images(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("")
    with pytest.raises(DataError, match=r"did you mean 'data\.csv'"):
        suggest(tmp_path / "dtaa.csv")
    Image.new("L", (3, 3)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match="one image is no dataset"):
        suggest(tmp_path / "one.png")


WORDS = [
    "the",
    "film",
    "was",
    "slow",
    "and",
    "we",
    "left",
    "early",
    "but",
    "music",
    "stayed",
    "with",
    "us",
    "all",
    "night",
]


def prose(k: int, count: int) -> str:
    return " ".join([f"No{k}", *(WORDS[(k * 5 + 3 * j) % len(WORDS)] for j in range(count))])


def test_other_texts_that_are_not_read_are_named_with_what_to_do(tmp_path: Path) -> None:
    rows = [[prose(k, 1), prose(k, 20), str(k % 7 * 1.5), ("good", "bad")[k % 2]] for k in range(120)]
    two = write(tmp_path / "two.csv", [[a, b, d] for a, b, _, d in rows], ["title", "body", "label"])
    found = suggest(two)
    assert found.task == "text-classification"
    assert found.data["text"] == {"column": "body"}
    assert any("title holds texts, too" in reason and "data.text.column" in reason for reason in found.reasons)
    assert not any("nothing else" in reason for reason in found.reasons)
    mixed = suggest(write(tmp_path / "mixed.csv", rows, ["title", "body", "stars", "label"]))
    assert mixed.task == "tabular-classification"
    assert any("body" in reason and "--task text-classification" in reason for reason in mixed.reasons)
    alone = suggest(write(tmp_path / "one.csv", [[b, d] for _, b, _, d in rows], ["body", "label"]))
    assert not any("too, which" in reason for reason in alone.reasons)


@pytest.mark.parametrize(
    "alphabet", ["这部电影很好看音乐也不错但结尾太长", "この映画はとても面白かったです", "หนังเรื่องนี้สนุกมาก"]
)
def test_texts_of_scripts_without_spaces_are_texts(tmp_path: Path, alphabet: str) -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choices(alphabet, k=rng.randint(8, 20))) for _ in range(300)]
    rows = [[text, ("good", "bad")[k % 2]] for k, text in enumerate(texts)]
    found = suggest(write(tmp_path / "zh.csv", rows, ["review", "label"]), "label")
    assert found.task == "text-classification"
    assert found.data["text"] == {"column": "review"}


def test_one_word_texts_leave_it_open_and_the_task_is_hinted_at(tmp_path: Path) -> None:
    rows = [[f"w{k}x", ("good", "bad")[k % 2]] for k in range(100)]
    with pytest.raises(DataError, match=r"no column is left .*--task text-classification"):
        suggest(write(tmp_path / "words.csv", rows, ["word", "label"]), "label")


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("tabular/bank-marketing/bank-full.csv.gz", {"target": "y", "delimiter": ";"}),
        ("tabular/titanic/titanic.csv", {"target": "survived"}),
        ("tabular/diamonds/diamonds.csv.gz", {"target": "price"}),
        ("tabular/wine-quality/winequality-red.csv.gz", {"target": "quality", "delimiter": ";"}),
        ("metro-traffic/Metro_Interstate_Traffic_Volume.csv.gz", {"target": "traffic_volume"}),
    ],
)
def test_real_tables(data_root: Path, file: str, settings: dict[str, str]) -> None:
    assert settings_of(suggest(data_root / file)) == settings
