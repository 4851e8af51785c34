"""A column of several labels is recognised where it holds lists, and by its name where the task is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.topics import as_csv, as_indicators, as_json_lines

from bedplate.core.errors import DataError
from bedplate.data.suggest import suggest


def test_lists_of_labels_are_recognised_by_themselves(tmp_path: Path) -> None:
    found = suggest(as_json_lines(tmp_path / "notes.jsonl", 120))
    assert (found.task, found.data["target"], found.data["text"]) == (
        "multi-label-classification", "subjects", {"column": "note"},
    )  # fmt: skip
    assert any("it holds lists; 'subjects' holds 3 labels in lists" in why for why in found.reasons)


def test_separated_labels_are_taken_where_asked(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "notes.csv", 120, ";")
    found = suggest(path, "subjects", "multi-label-classification")
    assert any("separated by ';'" in why for why in found.reasons)
    path.write_text(path.read_text().replace("note,subjects", "note,topics"))
    assert suggest(path, None, "multi-label-classification").data["target"] == "topics"
    path.write_text(path.read_text().replace("note,topics", "note,what"))
    with pytest.raises(DataError, match="name it with --target"):
        suggest(path, None, "multi-label-classification")


def test_columns_of_zeros_and_ones_are_taken_where_asked(tmp_path: Path) -> None:
    path = as_indicators(tmp_path / "notes.csv", 120)
    found = suggest(path, None, "multi-label-classification")
    assert found.data["label_columns"] == ["sport", "money", "weather"]
    assert "target" not in found.data
    assert suggest(path, "sport").task == "tabular-classification"  # one of them, where nothing is said


def test_what_may_be_several_labels_is_said_where_no_task_is_asked(tmp_path: Path) -> None:
    def notes(path: Path) -> list[str]:
        return [why for why in suggest(path).reasons if "--task multi-label-classification" in why]

    assert "'subjects' look like several labels, separated by ';'" in notes(as_csv(tmp_path / "a.csv", 120, ";"))[0]
    assert "sport, money, weather hold zeros and ones" in notes(as_indicators(tmp_path / "b.csv", 120))[0]
    plain = (f"some words in a row {k},{('Paris, France', 'Rome, Italy')[k % 2]!r}\n" for k in range(60))
    (tmp_path / "c.csv").write_text("note,place\n" + "".join(plain).replace("'", '"'))
    assert not notes(tmp_path / "c.csv")  # classes with a comma in their names


def test_lists_of_numbers_are_no_labels(tmp_path: Path) -> None:
    rows = "".join(
        f'{{"box": [{k}, {k + 1}], "note": "some words in a row {k % 7}", "kind": "{k % 2}"}}\n' for k in range(60)
    )
    (tmp_path / "boxes.jsonl").write_text(rows)
    assert suggest(tmp_path / "boxes.jsonl").task != "multi-label-classification"
