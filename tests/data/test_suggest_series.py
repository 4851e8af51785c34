"""Which column holds a series' times is found by what is in it, and for plain numbers by its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bedplate.data.suggest import suggest


@pytest.mark.parametrize(
    ("name", "written", "taken"),
    [
        ("when", lambda k: f"{1990 + k // 4}Q{k % 4 + 1}", True),
        ("when", lambda k: f"{datetime(2024, 1, 1) + timedelta(days=k):%Y%m%d}", True),
        ("when", lambda k: f"{datetime(2024, 1, 1) + timedelta(days=k):%d.%m.%Y}", True),
        ("year", lambda k: f"{1900 + k}", True),
        ("Fiscal Year", lambda k: f"{1900 + k}", True),
        ("timestamp", lambda k: f"{1_700_000_000 + 3600 * k}", True),
        ("sales", lambda k: f"{1900 + k}", False),
        ("number", lambda k: f"{1_700_000_000 + 3600 * k}", False),
        ("time", lambda k: f"{k}", False),
    ],
)
def test_times_are_found(tmp_path: Path, name: str, written: Callable[[int], str], taken: bool) -> None:
    rows = "".join(f"{written(k)},{(7 * k) % 11}.5\n" for k in range(120))
    (tmp_path / "series.csv").write_text(f"{name},load\n{rows}")
    found = suggest(tmp_path / "series.csv", "load", "forecasting")
    assert found.data["series"].get("time") == (name if taken else None)


def test_rows_at_no_equal_steps_are_gathered(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1)
    rows = "".join(f"{start + timedelta(seconds=500 * k + 37 * (k % 9))},{k % 7}\n" for k in range(900))
    (tmp_path / "series.csv").write_text("when,load\n" + rows)
    found = suggest(tmp_path / "series.csv", "load", "forecasting")
    assert found.data["series"]["step"] == "10min"
    assert any("gathered into means of 10min" in why for why in found.reasons)


def test_weekends_are_filled_and_a_season_is_read_whole(tmp_path: Path) -> None:
    days = [datetime(2021, 1, 1) + timedelta(days=k) for k in range(400)]
    rows = "".join(f"{day:%Y-%m-%d},{k % 7},{k}\n" for k, day in enumerate(days) if day.weekday() < 5)
    (tmp_path / "work.csv").write_text("day,load,other\n" + rows)
    found = suggest(tmp_path / "work.csv", "load", "forecasting")
    assert found.data["series"]["interpolate"] == 2
    assert any("dlinear maps each column by itself" in why for why in found.reasons)
    few = "".join(f"{day:%Y-%m-%d},{k % 7}\n" for k, day in enumerate(days[:60]))
    (tmp_path / "few.csv").write_text("day,load\n" + few)
    assert suggest(tmp_path / "few.csv", "load", "forecasting").data["series"]["history"] == 7


def test_events_of_several_things_are_a_series_each(tmp_path: Path) -> None:
    start, draw = datetime(2024, 1, 1), random.Random(0)
    moments = sorted((start + timedelta(seconds=draw.uniform(0, 9e5)), name) for name in "abc" for _ in range(900))
    rows = "".join(
        f"{name},{moment:%Y-%m-%d %H:%M:%S},{ord(name)}.{k % 7}\n" for k, (moment, name) in enumerate(moments)
    )
    (tmp_path / "events.csv").write_text("sensor,when,v\n" + rows)
    found = suggest(tmp_path / "events.csv", "v", "forecasting")
    assert (found.data["series"]["by"], found.data["series"]["step"]) == ("sensor", "1h")
    assert any("'sensor' names few things of many rows each" in why for why in found.reasons)
