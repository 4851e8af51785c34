"""Several series below one another are read as columns side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.data.series_panel import MOST_SERIES, Panel, names_series, panel_of
from bedplate.data.series_times import grid_of
from bedplate.data.tables import RawTable
from bedplate.recipe.schema import DataSpec
from bedplate.stages.init import init

STORES = ("Oslo", "Bergen", "Tromsø")


def row(day: int, store: int) -> str:
    return f"{datetime(2022, 1, 1) + timedelta(days=day)},{STORES[store]},{100 * store + day % 7},{day}"


def long(days: int = 200) -> list[str]:
    return [row(day, store) for day in range(days) for store in range(len(STORES))]


def write(folder: Path, lines: Sequence[str]) -> Path:
    (folder / "sales.csv").write_text("day,store,sales,visits\n" + "\n".join(lines) + "\n")
    return folder / "sales.csv"


def load(folder: Path, lines: Sequence[str], **series: Any) -> Dataset:
    write(folder, lines)
    told = {"time": "day", "by": "store", "history": 14, "horizon": 7, **series}
    spec = DataSpec.model_validate({"source": "sales.csv", "target": "sales", "series": told})
    return load_dataset(spec, "forecasting", 0, base=folder)


def test_each_series_is_a_column_with_its_own_scale(tmp_path: Path) -> None:
    found = load(tmp_path, long())
    assert found.answers.columns == STORES
    assert found.train.inputs["history"].shape[1:] == (14, 3)
    np.testing.assert_array_equal(found.train.inputs["history"][0, :, 1], 100 + np.arange(14) % 7)
    np.testing.assert_array_equal(found.test.targets[-1, :, 2], 200 + np.arange(193, 200) % 7)
    mean = found.codec.feature_spec()["mean"]
    np.testing.assert_allclose(np.diff(mean), 100)
    assert found.answers.season == 7
    both = load(tmp_path, long(), columns=["visits"])
    assert both.answers.columns is not None
    assert both.answers.columns[:3] == ("Oslo/sales", "Oslo/visits", "Bergen/sales")
    np.testing.assert_array_equal(both.train.inputs["history"][0, :, 5], np.arange(14))


def test_rows_may_come_series_by_series_or_in_any_order(tmp_path: Path) -> None:
    wanted = load(tmp_path, long())
    by_store = load(tmp_path, [row(day, store) for store in range(3) for day in range(200)])
    np.testing.assert_array_equal(by_store.test.inputs["history"], wanted.test.inputs["history"])
    lines = long()
    mixed = load(tmp_path, [lines[k] for k in np.random.default_rng(0).permutation(len(lines))])
    order = [mixed.answers.columns.index(name) for name in STORES]  # type: ignore[union-attr]
    np.testing.assert_array_equal(mixed.test.inputs["history"][:, :, order], wanted.test.inputs["history"])


def test_a_series_that_lacks_many_steps_is_left_out_and_told(tmp_path: Path) -> None:
    late = [line for line in long() if "Tromsø" not in line or line >= "2022-05"]
    found = load(tmp_path, late)
    assert found.answers.columns == ("Oslo", "Bergen")
    assert any("1 of 3 series are left out" in note and "Tromsø" in note for note in found.notes)
    again = from_contract(found.codec.contract())
    past = again.decode(["day,store,sales,visits\n" + "\n".join(late)])["history"][0]  # the file that trained it
    np.testing.assert_array_equal(past[-1], found.test.targets[-1, -1])
    few = [line for k, line in enumerate(long()) if k % 4]
    with pytest.raises(DataError, match="no series has values in enough of the steps") as error:
        load(tmp_path, few)
    assert "interpolate" in error.value.message
    assert load(tmp_path, few, interpolate=2).answers.columns is not None


def test_gaps_of_one_series_are_those_of_all_and_the_earliest_steps_can_be_taken(tmp_path: Path) -> None:
    lines = long()
    found = load(tmp_path, [line for k, line in enumerate(lines) if k != 100])
    assert len(found.train) < len(load(tmp_path, lines).train)
    assert any("1 step of 200 has no value" in note for note in found.notes)
    assert load(tmp_path, lines, rows=120).test.targets[-1, -1, 0] == 119 % 7


def test_rows_of_one_series_and_time_are_told_or_taken_together(tmp_path: Path) -> None:
    twice = [*long(), f"{datetime(2022, 1, 3)},Bergen,999,2"]
    with pytest.raises(DataError, match="two rows have one time"):
        load(tmp_path, twice)
    assert load(tmp_path, twice, duplicates="first").train.inputs["history"].max() < 999
    assert load(tmp_path, twice, duplicates="mean").train.inputs["history"].max() == (102 + 999) / 2


def test_without_by_the_column_that_tells_them_apart_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, long(), by=None)
    assert "set data.series.by: store" in error.value.message


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"by": "shop"}, "no such column"), ({"by": "sales"}, "apart from what is forecast"),
        ({"by": "day"}, "apart from what is forecast"), ({"time": None}, "need a column of times"),
    ],
)  # fmt: skip
def test_names_that_can_not_be_are_refused(tmp_path: Path, series: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, long(), **series)


def table(**columns: list[Any]) -> RawTable:
    return RawTable("t.csv", columns, [f"t.csv:{k + 2}" for k in range(len(next(iter(columns.values()))))])


def test_missing_names_too_many_and_that_of_the_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"t\.csv:3.*missing"):
        panel_of(table(by=["a", " "]), "by", ["v"], "day")
    with pytest.raises(DataError, match="too many series"):
        panel_of(table(by=[str(k) for k in range(MOST_SERIES + 1)]), "by", ["v"], "day")
    with pytest.raises(DataError, match="named as the column of times"):
        panel_of(table(by=["a", "day"]), "by", ["v"], "day")


@given(st.lists(st.sampled_from(["a", "b", "c d"]), min_size=1, max_size=40), st.integers(1, 3))
def test_every_row_is_of_exactly_one_series(names: list[str], values: int) -> None:
    panel: Panel = panel_of(table(by=names), "by", [f"v{k}" for k in range(values)], "day")
    assert sorted(np.concatenate(panel.rows).tolist()) == list(range(len(names)))
    assert all(names[row] == name for name, rows in zip(panel.names, panel.rows, strict=True) for row in rows)
    assert len(set(panel.columns)) == len(panel.columns) == values * len(set(names))


def test_a_column_with_a_name_a_row_names_no_series() -> None:
    days = [str(datetime(2022, 1, 1) + timedelta(days=k // 2)) for k in range(40)]
    numbered = table(day=days, number=list(map(str, range(40))), store=["a", "b"] * 20, place=["x"] * 40)
    grid = grid_of(numbered.columns["day"], "day", numbered.ids)
    assert names_series(numbered, grid, {"day"}) == "store"
    assert names_series(numbered, grid, {"day", "store"}) is None


def test_init_sees_several_series(tmp_path: Path) -> None:
    written = init(str(write(tmp_path, long())), output=str(tmp_path / "r.yaml"), task="forecasting", target="sales")
    assert "by: store" in written.path.read_text()
    assert any("names several series" in reason for reason in written.reasons)
    assert not any("have the time of another" in reason for reason in written.reasons)
