"""Cells with several labels: what is read from them is what was put in, however they are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.topics import as_csv, as_indicators, as_json_lines

from bedplate.core.errors import BedplateError, DataError
from bedplate.data.dataset import Dataset
from bedplate.data.label_sets import (
    LISTS,
    NO_LABEL,
    apart,
    as_matrix,
    joined,
    label_names,
    read_cell,
    separator_of,
    stratum,
)
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import DataSpec

NAMES = st.text(st.characters(codec="utf-8", exclude_characters='|;,[]"\\', exclude_categories=["C", "Z"]), min_size=1)
ROWS = st.lists(st.lists(NAMES, max_size=4, unique=True), min_size=1, max_size=12)


def load(path: Path, **more: object) -> Dataset:
    given = {"source": str(path), "target": "subjects", "text": {"column": "note"}, **more}
    return load_dataset(DataSpec.model_validate(given), "multi-label-classification", 0, base=path.parent)


@given(ROWS, st.sampled_from("|;,"))
def test_separated_labels_come_back(rows: list[list[str]], sign: str) -> None:
    cells = [f" {sign} ".join(row) for row in rows]
    if any(len(row) > 1 for row in rows):
        assert separator_of(cells) == sign
    assert [read_cell(cell, sign) for cell in cells] == rows


@given(ROWS)
def test_lists_and_joined_texts_come_back(rows: list[list[str]]) -> None:
    cells = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert separator_of(cells) == LISTS
    assert [read_cell(cell, LISTS) for cell in cells] == rows
    assert [sorted(apart(joined(row))) for row in rows] == [sorted(row) for row in rows]
    assert joined(rows[0]) == joined(rows[0][::-1])


@given(ROWS)
def test_a_matrix_says_who_has_what(rows: list[list[str]]) -> None:
    try:
        names = label_names(rows, "here")
    except BedplateError:
        assert len({frozenset(row) for row in rows}) == 1  # all rows have the same: nothing is to be told apart
        return
    found = as_matrix(rows, names)
    assert [{names[k] for k in np.flatnonzero(row)} for row in found] == [set(row) for row in rows]


def test_a_row_goes_by_its_rarest_label() -> None:
    assert stratum([["a", "b"], ["a"], [], ["a", "c"], ["c", "b"], ["c"]]).tolist() == [
        "b", "a", NO_LABEL, "a", "b", "c",
    ]  # fmt: skip


@pytest.mark.parametrize("cell", ["[1.5]", '["a", ""]', "[null]", '["a"', "[[1]]", "[true]", '{"a": 1}', "a|b", "a"])
def test_what_is_no_list_of_labels_is_told(cell: str) -> None:
    with pytest.raises(ValueError, match="expected a list of labels"):
        read_cell(cell, LISTS)


@pytest.mark.parametrize("odd", [{"a": 1}, "money|sport", "money, really"])
def test_a_cell_that_is_no_list_among_lists_is_named(tmp_path: Path, odd: object) -> None:
    path = as_json_lines(tmp_path / "notes.jsonl", 60)
    with path.open("a") as file:
        file.write(json.dumps({"note": "so it goes", "subjects": odd}) + "\n")
    with pytest.raises(DataError, match=r"notes.jsonl:61: the target 'subjects': expected a list of labels, as other"):
        load(path)


def test_columns_at_fault_are_named_and_what_no_row_has_is_told(tmp_path: Path) -> None:
    path = as_indicators(tmp_path / "notes.csv", 200)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},never", *(f"{line},0" for line in lines[1:])]))
    names = ["money", "sport", "weather"]

    def with_columns(columns: list[str]) -> Dataset:
        spec = DataSpec.model_validate({"source": str(path), "label_columns": columns, "text": {"column": "note"}})
        return load_dataset(spec, "multi-label-classification", 0, base=path.parent)

    assert "no row has 'never', so it is no label" in with_columns([*names, "never"]).notes
    with pytest.raises(DataError, match=r"data.label_columns.*did you mean 'money'"):
        with_columns(["monei", "sport"])
    with pytest.raises(DataError, match="named twice"):
        with_columns([*names, "money"])


def test_empty_cells_and_a_separator_that_no_cell_holds_are_told(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "notes.csv", 200, "|")
    notes = load(path, label_separator="#").notes
    assert "labels of 'subjects' are separated by '#', which no cell holds" in notes
    assert any("empty cells of 'subjects' in train count as no label" in note for note in load(path).notes)


@pytest.mark.parametrize("sign", ["|", ";", ","])
def test_every_writing_gives_the_same_data(tmp_path: Path, sign: str) -> None:
    listed = load(as_json_lines(tmp_path / "notes.jsonl", 200))
    written = load(as_csv(tmp_path / "notes.csv", 200, sign))
    assert listed.answers.many == written.answers.many == ("money", "sport", "weather")
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(listed, split).targets, getattr(written, split).targets)
        assert getattr(listed, split).targets.any(axis=0).all()  # each split has each label
    assert listed.profile["balance"][NO_LABEL] > 0
    assert any(f"separated by '{sign}'" in note for note in written.notes)


def test_bad_cells_are_told_with_their_lines_and_may_be_skipped(tmp_path: Path) -> None:
    path = as_json_lines(tmp_path / "notes.jsonl", 60)
    lines = path.read_text().splitlines()
    lines[4] = json.dumps({"note": "bad one", "subjects": [1.5]})
    path.write_text("\n".join(lines))
    with pytest.raises(BedplateError, match=r"notes.jsonl:5.*expected a list of labels"):
        load(path)
    assert len(load(path, on_bad_row="skip").train.ids) > 30


def test_columns_of_zeros_and_ones_are_labels_too(tmp_path: Path) -> None:
    listed = load(as_json_lines(tmp_path / "notes.jsonl", 200))
    path = as_indicators(tmp_path / "notes.csv", 200)
    found = load(path, target=None, label_columns=["weather", "sport", "money"])
    assert (found.answers.many, found.answers.target) == (listed.answers.many, "labels")
    np.testing.assert_array_equal(found.train.targets, listed.train.targets)
    with pytest.raises(BedplateError, match="did you mean 'sport'"):
        load(path, target=None, label_columns=["money", "sports"])
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:-1] + "2"
    path.write_text("\n".join(lines))
    with pytest.raises(BedplateError, match=r"notes.csv:4.*column 'weather': expected 0 or 1, received 2"):
        load(path, target=None, label_columns=["weather", "sport", "money"])


def test_labels_that_training_lacks_and_one_label_alone_are_refused(tmp_path: Path) -> None:
    train, test = as_json_lines(tmp_path / "train.jsonl", 80), tmp_path / "test.jsonl"
    test.write_text('{"note": "a b", "subjects": ["sport", "cooking"]}\n' * 12)
    files = {"train": str(train), "test": str(test)}
    with pytest.raises(BedplateError, match=r"no training row has.*cooking"):
        load(train, source=None, files=files)
    train.write_text("".join(f'{{"note": "a b {k}", "subjects": ["sport"]}}\n' for k in range(40)))
    with pytest.raises(BedplateError, match="nothing to tell apart"):
        load(train)
