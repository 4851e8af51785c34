"""A past at any times, or with short gaps, is brought to equal steps as training's rows are."""

from __future__ import annotations

from typing import Any

import pytest

from bedplate.codecs import from_contract
from bedplate.codecs.series import SeriesCodec
from bedplate.core.errors import BundleError, PayloadError

MEANS = SeriesCodec(("a",), 3, (0.0,), (1.0,), "when", 3600.0, gather="mean", fill=1)
ROWS = [
    {"when": "2024-01-01 08:50", "a": 7}, {"when": "2024-01-01 09:10", "a": 1}, {"when": "2024-01-01 09:59:59", "a": 3},
    {"when": "2024-01-01 11:00", "a": 6}, {"when": "2024-01-01 11:30", "a": None}, {"when": "2024-01-01 11:40", "a": 8},
]  # fmt: skip


def history(codec: SeriesCodec, payload: Any) -> list[list[float]]:
    found: list[list[float]] = codec.decode([payload])["history"][0].tolist()
    return found


def test_rows_are_gathered_in_any_order_and_a_short_gap_is_filled() -> None:
    assert history(MEANS, ROWS) == [[2], [4.5], [7]]
    assert history(MEANS, ROWS[::-1]) == [[2], [4.5], [7]]
    assert history(MEANS, {"history": ROWS}) == [[2], [4.5], [7]]
    csv = "when,a\n" + "".join(f"{row['when']},{'' if row['a'] is None else row['a']}\n" for row in ROWS)
    assert history(MEANS, csv) == [[2], [4.5], [7]]
    assert history(MEANS, [[5], [6], [7]]) == [[5], [6], [7]]  # without times they are steps already
    assert MEANS.times_after(ROWS, 2) == ["2024-01-01 12:00:00", "2024-01-01 13:00:00"]
    assert from_contract(MEANS.contract()) == MEANS


def test_zones_and_seconds_since_1970_keep_their_form() -> None:
    zoned = [row | {"when": f"{row['when'].replace(' ', 'T')}+01:00"} for row in ROWS]  # type: ignore[attr-defined]
    assert history(MEANS, zoned) == [[2], [4.5], [7]]
    assert MEANS.times_after(zoned, 1) == ["2024-01-01T12:00:00+01:00"]
    unix = SeriesCodec(("a",), 2, (0.0,), (1.0,), "when", 60.0, order="unix", gather="sum")
    rows = [{"when": 1_704_067_200 + second, "a": second} for second in (0, 30, 70, 200)]
    assert history(unix, rows) == [[0], [200]]  # a minute without rows, and the latest
    assert unix.times_after(rows, 1) == [1_704_067_200 + 240]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (ROWS[3:], r"the past is too short.*3 steps or more"),
        ([row for row in ROWS if "09" not in str(row["when"])], "2024-01-01 09:00:00, column 'a': a step has no value"),
        ([ROWS[0], ROWS[-1] | {"when": "2024-01-01 12:00"}], "10:00:00, column 'a': a step has no value"),
        ([*ROWS, {"when": "2024-01-01 12:00", "a": None}], "12:00:00, column 'a': a step has no value"),
        ([*ROWS, {"when": "never", "a": 1}], "step 7, column 'when': not a time"),
        ([*ROWS, {"a": 1}], "step 7: a step without a time"),
        ([*ROWS, {"when": "2024-01-01 12:00", "a": "x"}], "step 7, column 'a': not a number"),
        ([*ROWS, {"when": "2024-01-01 12:00", "b": 1}], "column 'a' is missing"),
        ([*ROWS, {"when": "9999-12-31 23:59", "a": 1}], "the past is too short"),  # nothing near the latest
    ],
)  # fmt: skip
def test_what_cannot_be_brought_to_steps_is_refused(payload: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        MEANS.decode([payload])


def test_gaps_of_equal_steps_are_filled_where_training_filled_them() -> None:
    days = SeriesCodec(("a", "b"), 4, (0.0, 0.0), (1.0, 1.0), "day", 86400.0, fill=2)
    rows = [{"day": f"2024-02-{k:02d}", "a": k, "b": -k} for k in range(20, 30)]
    wanted = [[26, -26], [27, -27], [28, -28], [29, -29]]
    assert history(days, rows) == wanted
    assert history(days, [*rows[:-3], rows[-1]]) == wanted
    assert history(days, [*rows[:-2], rows[-2] | {"b": None}, rows[-1]]) == wanted
    assert history(days, [*rows[:4], *rows[6:]]) == wanted  # 24 and 25 lack: the gap reaches up to what is read
    with pytest.raises(PayloadError, match=r"2024-02-26, column 'a': a step has no value.*gaps of at most 2"):
        days.decode([[*rows[:6], rows[9]]])
    with pytest.raises(PayloadError, match="two rows have one time"):
        days.decode([[*rows, rows[-1]]])
    with pytest.raises(PayloadError, match="don't follow one another"):
        days.decode([[*rows, {"day": "2024-03-01 12:00", "a": 1, "b": 1}]])
    months = SeriesCodec(("a",), 3, (0.0,), (1.0,), "month", 0.0, months=1, fill=1)
    past = [{"month": f"2023-{k:02d}", "a": k} for k in (9, 10, 12)]
    assert history(months, past) == [[10], [11], [12]]
    assert months.times_after(past, 2) == ["2024-01", "2024-02"]


@pytest.mark.parametrize(("again", "wanted"), [("first", 28), ("mean", 58)])
def test_rows_of_one_time_are_treated_as_in_training(again: Any, wanted: float) -> None:
    days = SeriesCodec(("a",), 3, (0.0,), (1.0,), "day", 86400.0, again=again)
    rows = [{"day": f"2024-02-{k:02d}", "a": k} for k in range(20, 30)]
    assert history(days, [*rows, rows[-2] | {"a": 88}]) == [[27], [wanted], [29]]
    assert from_contract(days.contract()) == days
    shops = SeriesCodec(("n", "s"), 2, (0.0, 0.0), (1.0, 1.0), "day", 86400.0, by="who", values=("v",), again=again)
    long = [{"day": f"2024-02-{k}", "who": who, "v": k} for k in (20, 21) for who in "ns"]
    assert history(shops, [*long, long[0] | {"v": 80}]) == [[20 if again == "first" else 50, 20], [21, 21]]


def test_several_series_are_each_gathered() -> None:
    codec = SeriesCodec(
        ("n", "s"), 2, (0.0, 0.0), (1.0, 1.0), "when", 3600.0, by="who", values=("v",), gather="mean", fill=0
    )
    rows = [
        {"when": "2024-01-01 08:05", "who": "n", "v": 1}, {"when": "2024-01-01 08:10", "who": "s", "v": 10},
        {"when": "2024-01-01 08:10", "who": "s", "v": 20}, {"when": "2024-01-01 09:40", "who": "s", "v": 30},
        {"when": "2024-01-01 09:50", "who": "n", "v": 3}, {"when": "2024-01-01 09:55", "who": "n", "v": 5},
    ]  # fmt: skip
    assert history(codec, rows) == [[1, 15], [4, 30]]
    with pytest.raises(PayloadError, match="09:00:00, column 's': a step has no value"):
        codec.decode([[row for row in rows if row["v"] != 30]])


@pytest.mark.parametrize("change", [{"gather": "median"}, {"again": "most"}, {"step": 0.0}, {"time": ""}])
def test_a_contract_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="contradicts itself"):
        from_contract(MEANS.contract() | change)
