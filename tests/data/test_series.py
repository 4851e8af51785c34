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
from bedplate.core.errors import DataError, PayloadError
from bedplate.data.dataset import Dataset
from bedplate.data.load import load_dataset
from bedplate.data.series import naive_error, starts
from bedplate.recipe.schema import DataSpec


def rows(count: int = 200, step: timedelta = timedelta(hours=1)) -> list[str]:
    start = datetime(2024, 1, 1)
    return [f"{start + k * step},{k % 24},{k}" for k in range(count)]


def load(folder: Path, lines: Sequence[str], target: str = "load", **series: Any) -> Dataset:
    (folder / "series.csv").write_text("hour,load,other\n" + "\n".join(lines) + "\n")
    told = {"time": "hour", "history": 12, "horizon": 4, **series}
    spec = DataSpec.model_validate({"source": "series.csv", "target": target, "series": told})
    return load_dataset(spec, "forecasting", 0, base=folder)


def test_windows_are_a_past_and_its_future_and_no_split_sees_another_one_s(tmp_path: Path) -> None:
    found = load(tmp_path, rows(), columns=["other"])
    assert found.answers.columns == ("load", "other")
    for part in (found.train, found.validation, found.test):
        history, targets = part.inputs["history"], part.targets
        assert history.shape[1:] == (12, 2)
        assert targets.shape[1:] == (4, 2)
        np.testing.assert_array_equal(targets[:, 0, 1], history[:, -1, 1] + 1)  # the next step, and those after it
        np.testing.assert_array_equal(np.diff(targets[:, :, 1], axis=1), 1)
    borders = [part.targets[:, :, 1] for part in (found.train, found.validation, found.test)]
    assert borders[0].max() < borders[1].min()
    assert borders[1].max() < borders[2].min()
    assert borders[2].max() == 199
    assert found.test.ids[0] == "2024-01-08 02:00:00"
    assert found.answers.season == 1  # the past is shorter than a day
    assert load(tmp_path, rows(), history=24).answers.season == 24
    train = np.arange(140)
    np.testing.assert_allclose(found.codec.feature_spec()["mean"], [(train % 24).mean(), train.mean()])


def test_rows_in_any_order_give_the_same_series(tmp_path: Path) -> None:
    straight, lines = load(tmp_path, rows()), rows()
    shuffled = load(tmp_path, [lines[k] for k in np.random.default_rng(0).permutation(len(lines))])
    np.testing.assert_array_equal(straight.test.inputs["history"], shuffled.test.inputs["history"])
    assert any("sorted" in note for note in shuffled.notes)
    assert straight.fingerprint == shuffled.fingerprint


def test_no_window_crosses_a_gap_and_short_gaps_can_be_filled(tmp_path: Path) -> None:
    lines = rows()
    lacking = load(tmp_path, lines[:50] + lines[52:], columns=["other"])
    for part in (lacking.train, lacking.validation, lacking.test):
        whole = np.concatenate([part.inputs["history"], part.targets], axis=1)[:, :, 1]
        np.testing.assert_array_equal(np.diff(whole, axis=1), 1)
    assert any("2 steps of 200 have no value, the first after 2024-01-03 01:00:00" in note for note in lacking.notes)
    mended = load(tmp_path, lines[:50] + lines[52:], columns=["other"], interpolate=2)
    assert len(mended.train) == len(load(tmp_path, lines).train) > len(lacking.train)
    missing = load(tmp_path, [*lines[:50], f"{lines[50].split(',')[0]},,50", *lines[51:]])
    assert len(missing.train) < len(mended.train)


@pytest.mark.parametrize(("step", "gather"), [("1h", "mean"), ("30 min", "last"), ("1d", "sum"), ("1w", "max")])
def test_rows_at_any_times_are_gathered_as_those_that_are_asked(tmp_path: Path, step: str, gather: str) -> None:
    draw = np.random.default_rng(0)
    hours = {"1h": 1, "30 min": 0.5, "1d": 24, "1w": 168}[step]
    seconds = np.cumsum(draw.exponential(hours * 900, 4000)).round()
    start = datetime(2024, 1, 1)
    lines = [f"{start + timedelta(seconds=at)},{draw.normal():.3f},{k}" for k, at in enumerate(seconds.tolist())]
    shuffled = [lines[k] for k in draw.permutation(len(lines))]
    found = load(tmp_path, shuffled, columns=["other"], step=step, gather=gather, interpolate=3)
    assert found.schema["step_seconds"] == 3600 * hours
    assert any("4,000 rows are gathered into" in note and f"the {gather} of those" in note for note in found.notes)
    for number in (0, len(found.test) - 1):
        begin = found.test.ids[number]
        past = [line for line in shuffled if line.split(",")[0] < begin]
        asked = found.codec.decode(["hour,load,other\n" + "\n".join(past)])["history"][0]
        np.testing.assert_array_equal(asked, found.test.inputs["history"][number])
        assert found.codec.times_after("hour,load,other\n" + "\n".join(past), 1)[0] == begin  # type: ignore[attr-defined]


def test_parts_of_a_second_are_not_taken_for_one_time(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1)
    lines = [f"{(start + timedelta(seconds=k / 4)).isoformat(timespec='milliseconds')},{k % 7},{k}" for k in range(400)]
    with pytest.raises(DataError, match=r"times are read to the second.*data\.series\.step: 1s"):
        load(tmp_path, lines)
    assert load(tmp_path, lines, step="1s").schema["step_seconds"] == 1
    whole = [f"{(start + timedelta(seconds=k)).isoformat(timespec='milliseconds')},{k % 7},{k}" for k in range(400)]
    assert load(tmp_path, whole).schema["step_seconds"] == 1


def test_a_season_that_is_named_counts(tmp_path: Path) -> None:
    found = load(tmp_path, rows(), season=8)
    assert found.answers.season == 8
    assert any("a season has 8 steps" in note for note in found.notes)
    with pytest.raises(DataError, match=r"data\.series\.season.*at most 12.*received 13"):
        load(tmp_path, rows(), season=13)


@pytest.mark.parametrize(("offset", "fine"), [(1e4, True), (1e9, False), (-1e9, False)])
def test_numbers_whose_changes_float32_rounds_away_are_refused(tmp_path: Path, offset: float, fine: bool) -> None:
    lines = [f"{row.split(',')[0]},{offset + k % 24},{k}" for k, row in enumerate(rows())]
    if fine:
        assert len(load(tmp_path, lines).train)
        return
    with pytest.raises(
        DataError, match=r"column 'load': the numbers are too large for what they change by.*less a constant"
    ):
        load(tmp_path, lines)


def test_times_at_no_equal_steps_say_which_steps_would_do(tmp_path: Path) -> None:
    lines = rows()
    with pytest.raises(DataError, match=r"don't lie at equal steps.*set data\.series\.step: 1h to gather"):
        load(tmp_path, [*lines[:100], "2024-01-05 04:20,1,1", *lines[101:]])
    with pytest.raises(DataError, match="without times there are no steps"):
        load(tmp_path, lines, time=None, step="1h")
    with pytest.raises(DataError, match=r"data\.series\.gather: without a step nothing is gathered"):
        load(tmp_path, lines, gather="sum")
    with pytest.raises(DataError, match=r"data\.series\.duplicates: rows of one step are gathered"):
        load(tmp_path, lines, step="1h", duplicates="first")


def test_offsets_are_heard_and_seconds_since_1970_are_times(tmp_path: Path) -> None:
    start = datetime(2023, 10, 28)
    hours = [start + timedelta(hours=k) for k in range(60)]
    change = start + timedelta(hours=25)  # the clock goes back: an hour comes twice
    autumn = [
        f"{(hour + timedelta(hours=2 if hour < change else 1)).isoformat()}+0{2 if hour < change else 1}:00,{k % 24},{k}"
        for k, hour in enumerate(hours)
    ]
    found = load(tmp_path, autumn, columns=["other"], history=6)
    np.testing.assert_array_equal(np.diff(found.train.inputs["history"][:, :, 1], axis=1), 1)
    assert any("in UTC" in note for note in found.notes)
    unix = [f"{1672531200 + 3600 * k},{k % 24},{k}" for k in range(60)]
    for lines in (unix, [line.replace(",", "000,", 1) for line in unix]):
        found = load(tmp_path, lines, columns=["other"], history=6)
        assert found.schema["step_seconds"] == 3600
        assert found.train.ids[0] == "2023-01-01 06:00:00"
    with pytest.raises(DataError, match="some times name a zone"):
        load(tmp_path, [*autumn[:-1], autumn[-1].replace("+01:00", "")], history=6)


def test_decimal_commas_are_read_at_prediction_as_in_training(tmp_path: Path) -> None:
    lines = [f"{row.split(',')[0]};{k % 24},5;{k}" for k, row in enumerate(rows(90))]
    (tmp_path / "series.csv").write_text("hour;load;other\n" + "\n".join(lines) + "\n")
    told = {"source": "series.csv", "target": "load", "series": {"time": "hour", "history": 12, "horizon": 4}}
    found = load_dataset(DataSpec.model_validate(told), "forecasting", 0, base=tmp_path)
    past = (tmp_path / "series.csv").read_bytes()
    assert found.codec.decode([past])["history"][0, :, 0].tolist() == [k % 24 + 0.5 for k in range(78, 90)]


def test_months_are_steps_though_they_differ_in_days(tmp_path: Path) -> None:
    lines = [f"{2000 + k // 12}-{k % 12 + 1:02d}-01,{k % 12},{k}" for k in range(240)]
    found = load(tmp_path, lines, columns=["other"])
    assert found.answers.season == 12
    assert len(found.train) == 168 - 12 - 3
    past = [{"hour": f"2020-{k + 1:02d}-01", "load": k, "other": k} for k in range(12)]
    assert found.codec.times_after(past, 3) == ["2021-01-01", "2021-02-01", "2021-03-01"]  # type: ignore[attr-defined]
    with pytest.raises(PayloadError, match="don't follow one another"):
        found.codec.decode([[*past[:5], *past[6:], past[0] | {"hour": "2021-01-01"}]])


@pytest.mark.parametrize(
    ("times", "season", "months", "order"),
    [
        ([f"{1900 + k}" for k in range(120)], 1, 12, "period"),
        ([f"{1990 + k // 4}Q{k % 4 + 1}" for k in range(120)], 4, 3, "period"),
        ([f"Q{k % 4 + 1}/{1990 + k // 4}" for k in range(120)], 4, 3, "period"),
        ([f"{1990 + k // 4}-{3 * (k % 4) + 1:02d}-01" for k in range(120)], 4, 3, "ymd"),
        ([f"{1900 + k}-12-31" for k in range(120)], 1, 12, "ymd"),
        ([f"{1960 + k // 2}-{6 * (k % 2) + 1:02d}-15" for k in range(120)], 2, 6, "ymd"),
        ([str(datetime(1990, 1, 1) + timedelta(days=30 * k)) for k in range(120)], 1, 0, "ymd"),
        ([str(datetime(1990, 1, 1) + timedelta(days=91 * k)) for k in range(120)], 1, 0, "ymd"),
    ],
)
def test_quarters_and_years_are_steps_too(
    tmp_path: Path, times: list[str], season: int, months: int, order: str
) -> None:
    found = load(tmp_path, [f"{time},{k % 7},{k}" for k, time in enumerate(times)], columns=["other"])
    contract = found.codec.contract()
    assert (found.answers.season, contract.get("months", 0), contract["order"]) == (season, months, order)
    assert bool(contract["step"]) is not bool(months)
    assert (np.diff(found.train.inputs["history"][:, :, 1], axis=1) == 1).all()
    assert from_contract(contract) == found.codec


@pytest.mark.parametrize(
    ("moments", "form", "order", "said"),
    [
        ([datetime(2004 + k // 12, k % 12 + 1, 1) for k in range(200)], "%d/%m/%Y", "dmy", "which gives equal steps"),
        ([datetime(2004 + k // 12, k % 12 + 1, 1) for k in range(200)], "%m/%d/%Y", "mdy", "which gives equal steps"),
        ([datetime(2024, 1, 1) + timedelta(days=k) for k in range(200)], "%d/%m/%Y", "dmy", None),
        ([datetime(2024, 1, 1) + timedelta(days=k) for k in range(200)], "%m/%d/%Y", "mdy", None),
        ([datetime(2024, 3, 3) + timedelta(minutes=k) for k in range(200)], "%d/%m/%Y %H:%M", None, "to be sure"),
    ],
)
def test_day_and_month_are_told_by_equal_steps(
    tmp_path: Path, moments: list[datetime], form: str, order: str | None, said: str | None
) -> None:
    lines = [f"{moment.strftime(form)},{k % 9},{k}" for k, moment in enumerate(moments)]
    found = load(tmp_path, lines, columns=["other"])
    assert (np.diff(found.train.inputs["history"][:, :, 1], axis=1) == 1).all()
    assert order in (None, found.codec.contract()["order"])
    told = [note for note in found.notes if "could be exchanged" in note]
    assert len(told) == (said is not None)
    assert all(str(said) in note for note in told)


def test_rows_of_one_time_are_told_or_taken_together(tmp_path: Path) -> None:
    lines = rows()
    twice = [*lines[:30], f"{lines[29].split(',')[0]},99,29", *lines[30:]]
    with pytest.raises(DataError, match="two rows have one time") as error:
        load(tmp_path, twice)
    assert "duplicates: first or mean" in error.value.message
    first, mean = (load(tmp_path, twice, duplicates=kind).train for kind in ("first", "mean"))
    assert first.inputs["history"].max() == 23
    assert mean.inputs["history"].max() == (29 % 24 + 99) / 2


@pytest.mark.parametrize(
    ("change", "series", "message"),
    [
        (lambda lines: lines[:1], {}, "all rows have one time"),
        (lambda lines: lines[:20], {}, "too few windows for the"),
        (lambda lines: [line.split(",")[0] + ",5,1" for line in lines], {}, "the series never changes"),
        (lambda lines: ["soon,1,1", *lines], {}, "'hour' holds no times"),
        (lambda lines: [",1,1", *lines], {}, "the time 'hour' is missing"),
        (lambda lines: [*lines[:-1], "2024-01-09 07:20,1,1"], {}, "the times don't lie at equal steps"),
        (lambda lines: [*lines[:9], lines[9].replace(",9,", ",nine,"), *lines[10:]], {}, "column 'load'"),
        (lambda lines: [*lines[:9], lines[9].replace(",9,", ",9e300,"), *lines[10:]], {}, "the number is too large"),
        (lambda lines: lines, {"time": "day"}, "no such column"), (lambda lines: lines, {"columns": ["othr"]}, "'other'"),
        (lambda lines: lines, {"columns": ["hour"]}, "can't be forecast"),
        (lambda lines: lines, {"history": 300}, "too few windows"),
        (lambda lines: lines[::20], {"history": 12, "horizon": 4}, "too few windows"),
    ],
)  # fmt: skip
def test_a_series_that_cannot_be(tmp_path: Path, change: Any, series: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, change(rows()), **series)
    assert message in error.value.message


def test_the_future_stays_out_of_training(tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text("hour,load,other\n" + "\n".join(rows()))
    series = {"time": "hour", "history": 12, "horizon": 4}
    for split in ({"by": "random"}, {"by": "group", "column": "other"}, {"folds": 3, "fold": 0}):
        told = {"source": "series.csv", "target": "load", "series": series, "split": split}
        with pytest.raises(DataError, match="own future"):
            load_dataset(DataSpec.model_validate(told), "forecasting", 0, base=tmp_path)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 5), st.integers(0, 30))
def test_every_window_without_a_gap_is_found_and_no_other(
    known: list[bool], length: int, horizon: int, begin: int
) -> None:
    found = starts(np.array(known), min(begin, len(known)), len(known), length, horizon).tolist()
    wanted = [
        place for place in range(max(length, min(begin, len(known))), len(known) - horizon + 1)
        if all(known[place - length : place + horizon])
    ]  # fmt: skip
    assert found == wanted


def test_the_naive_error_is_that_of_a_season_ago() -> None:
    values = np.array([[0.0, 5.0], [10.0, 5.0], [2.0, 5.0], [13.0, 5.0]])
    assert naive_error(values, 2).tolist() == [2.5, 1.0]  # a column that never errs is not divided by


def test_the_calendar_is_of_the_last_step_that_is_read(tmp_path: Path) -> None:
    lines = rows(200)
    found = load(tmp_path, [*lines[:90], *lines[92:]], calendar=["day"], interpolate=2)
    codec = found.codec
    for part in (found.train, found.validation, found.test):
        assert part.inputs["calendar"].shape == (len(part), 8)
        last = part.inputs["history"][:, -1, 0]  # hours of the day
        np.testing.assert_allclose(part.inputs["calendar"][:, 0], np.cos(2 * np.pi * last / 24), atol=1e-5)
    past = "hour,load\n" + "\n".join(line.rpartition(",")[0] for line in lines[:12])
    decoded = codec.decode([past])
    np.testing.assert_array_equal(decoded["calendar"][0], found.train.inputs["calendar"][0])
    with pytest.raises(DataError, match="without times there is no calendar"):
        load(tmp_path, lines, calendar=["day"], time=None)


def test_months_have_their_place_in_the_year(tmp_path: Path) -> None:
    lines = [f"28/{k % 12 + 1:02d}/{2000 + k // 12},{k % 12},{k}" for k in range(240)]
    found = load(tmp_path, lines, calendar=["year"])
    last = found.test.inputs["history"][:, -1, 0]
    np.testing.assert_allclose(found.test.inputs["calendar"][:, 0], np.cos(2 * np.pi * (last + 0.9) / 12), atol=0.05)
