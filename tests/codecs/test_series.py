from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.codecs.series import SeriesCodec, _tell_left
from bedplate.core.errors import BundleError, PayloadError

CODEC = SeriesCodec(("a", "b"), 3, (0.0, 1.0), (1.0, 2.0), "when", 3600.0)
ROWS = [
    {"when": str(datetime(2024, 2, 28, 22) + timedelta(hours=k)), "a": k, "b": -k, "c": "not read"} for k in range(5)
]
WANTED = [[2, -2], [3, -3], [4, -4]]


@pytest.mark.parametrize(
    "payload",
    [
        ROWS, {"history": ROWS}, {"history": [[k, -k] for k in range(5)]}, {"a": [2, 3, 4], "b": [-2, -3, -4]},
        np.array([[k, -k] for k in range(3, 6)]) - [1, -1], json.dumps({"history": WANTED}),
        b"when,a,b\n" + "\n".join(f"{r['when']},{r['a']},{r['b']}" for r in ROWS).encode(),
        [{"b": str(-k), "a": f" {k} "} for k in range(5)],
    ],
)  # fmt: skip
def test_every_form_gives_the_latest_steps(payload: object) -> None:
    found = CODEC.decode([payload, payload])["history"]
    assert found.dtype == np.float32
    assert found.tolist() == [WANTED, WANTED]


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-9, 9)), min_size=3))
def test_what_is_written_as_a_csv_is_read_back(rows: list[tuple[float, int]]) -> None:
    text = "b,a\n" + "\n".join(f"{b!r},{a}" for b, a in rows)
    found = CODEC.decode([text])["history"][0]
    np.testing.assert_array_equal(found, np.array([[a, b] for b, a in rows[-3:]], np.float32))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (ROWS[:2], "the past is too short (expected 3 steps or more; received 2)"),
        ([], "not a series"), (5, "not a series"), (b"", "not a series"), ("\xff\xfe".encode("latin-1"), "the file is empty"),
        ("{", "not JSON"), ({"a": [1, 2, 3]}, "column 'b' is missing"), ({"a": [1, 2, 3], "b": [1]}, "different lengths"),
        ({"a": "123", "b": "123"}, "not a list of values"), ({"history": {"A": [1], "b": [1]}}, "did you mean 'A'"),
        ([{"a": 1, "b": None}] * 3, "step 1, column 'b': a value is missing"),
        ([{"a": 1, "b": ""}] * 3, "a value is missing"), ([{"a": 1, "b": "x"}] * 3, "not a number"),
        ([[1, True]] * 3, "not a number"), ([[1, float("nan")]] * 3, "not a number"), ([[1, 1e39]] * 3, "the number is too large"),
        ([[1, 2, 3]] * 3, "not one value a column"), ([1, 2, 3], "not one value a column"),
        (ROWS[:2] + ROWS[3:], "step 3, column 'when': the times don't follow one another"),
        (ROWS[:3] + ROWS[2:], "two rows have one time"), (ROWS[::-2], "the times don't follow one another"),
    ],
)  # fmt: skip
def test_what_is_no_past_is_refused_with_its_place(payload: object, message: str) -> None:
    with pytest.raises(PayloadError) as error:
        CODEC.decode([payload])
    assert message in error.value.message
    with pytest.raises(PayloadError, match="payload 1"):
        CODEC.decode([ROWS, payload])


def test_a_single_column_needs_no_lists() -> None:
    codec = SeriesCodec(("load",), 2, (0.0,), (1.0,))
    assert codec.decode([[1, 2, 3], {"load": (2, 3)}])["history"].tolist() == [[[2], [3]], [[2], [3]]]


def test_the_contract_rebuilds_it_and_a_damaged_one_is_refused() -> None:
    contract = json.loads(json.dumps(CODEC.contract()))
    assert from_contract(contract) == CODEC
    for key, value in (("length", 0), ("mean", [1]), ("std", None), ("columns", [])):
        with pytest.raises(BundleError):
            from_contract({**contract, key: value})


PANEL = SeriesCodec(("Oslo", "Bergen"), 2, (0.0, 0.0), (1.0, 1.0), "day", 86400.0, "", "store", ("sales",))
LONG = [
    {"day": str(datetime(2024, 1, 1) + timedelta(days=day)), "store": name, "sales": 10 * place + day}
    for day in range(3)
    for place, name in enumerate(PANEL.columns)
]


@pytest.mark.parametrize(
    "payload",
    [
        LONG, sorted(LONG, key=lambda row: str(row["store"])), {name: [row[name] for row in LONG] for name in LONG[0]},
        [{"store": row["store"], "sales": row["sales"]} for row in LONG], {"Oslo": [1, 2], "Bergen": [11, 12]},
        "store;sales\n" + "\n".join(f"{row['store']};{row['sales']}" for row in LONG), [[1, 11], [2, 12]],
    ],
)  # fmt: skip
def test_several_series_may_lie_below_or_beside_one_another(payload: object) -> None:
    assert PANEL.decode([payload])["history"].tolist() == [[[1, 11], [2, 12]]]


def test_two_values_a_series_have_both_names() -> None:
    codec = SeriesCodec(("a/x", "a/y", "b/x", "b/y"), 1, (0.0,) * 4, (1.0,) * 4, "", 0.0, "", "who", ("x", "y"))
    assert codec.decode([[{"who": "b", "x": 3, "y": 4}, {"who": "a", "x": 1, "y": 2}]])["history"].tolist() == [
        [[1, 2, 3, 4]]
    ]
    assert from_contract(json.loads(json.dumps(codec.contract()))) == codec
    with pytest.raises(BundleError):
        from_contract({**codec.contract(), "values": []})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([{**row, "store": "Olso"} for row in LONG], "did you mean 'Oslo'"),
        ([row for row in LONG if row["store"] == "Oslo"], "column 'Bergen' is missing"),
        (LONG + LONG[-1:], "two rows of one series have one time"),
        ([{"store": "Oslo", "day": row["day"]} for row in LONG], "column 'sales' is missing"),
        ([*LONG[:4], *LONG[5:]], "column 'Oslo' is missing"),
        ({"store": ["Oslo"], "sales": [1, 2]}, "different lengths"),
    ],
)  # fmt: skip
def test_what_several_series_lack_is_told(payload: object, message: str) -> None:
    with pytest.raises(PayloadError) as error:
        PANEL.decode([payload])
    assert message in error.value.message


DATED = SeriesCodec(("load",), 2, (0.0,), (1.0,), "hour", 3600.0, cycles=("day", "week"), order="dmy")
NOON = {"hour": ["01/02/2024 11:00", "01/02/2024 12:00"], "load": [1, 2]}


def test_the_calendar_is_that_of_the_latest_step() -> None:
    found = DATED.decode([NOON])
    assert [spec.name for spec in DATED.tensors] == ["history", "calendar"]
    np.testing.assert_allclose(found["calendar"][0, :4], [-1, 0, 1, 0], atol=1e-6)  # noon: half a day has gone
    rows = [dict(zip(NOON, row, strict=True)) for row in zip(*NOON.values(), strict=True)]
    again = DATED.decode([rows, {"history": found["history"][0], "calendar": found["calendar"][0]}])
    np.testing.assert_array_equal(again["calendar"], np.repeat(found["calendar"], 2, axis=0))
    assert from_contract(json.loads(json.dumps(DATED.contract()))) == DATED
    for key, value in (("cycles", ["moon"]), ("order", "ydm"), ("time", "")):
        with pytest.raises(BundleError):
            from_contract({**DATED.contract(), key: value})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({**NOON, "hour": ["01/02/2024 10:00", "01/02/2024 12:00"]}, "the times don't follow one another"),
        ([1, 2], "the time of the latest step is missing"), ({"load": [1, 2]}, "give rows as objects"),
        ({**NOON, "hour": ["", "noon"]}, "can't be read"), ({**NOON, "hour": [1, None]}, "not a time"),
        ({"history": [1, 2], "calendar": [1]}, "14 numbers from -1 to 1"),
        ({"history": [1, 2], "calendar": ["x"] * 14}, "14 numbers"), ({"history": [1, 2], "calendar": [2] * 14}, "to 1"),
        ({"history": [1, 2], "calendar": [float("nan")] * 14}, "14 numbers"),
    ],
)  # fmt: skip
def test_a_past_without_its_time_has_no_calendar(payload: object, message: str) -> None:
    with pytest.raises(PayloadError) as error:
        DATED.decode([payload])
    assert message in error.value.message


SHOPS = SeriesCodec(
    ("north", "south"), 2, (0.0, 0.0), (1.0, 1.0), "day", 86400.0, by="shop", values=("sales",), left=("west",)
)  # fmt: skip


def long(*names: str, days: int = 3) -> list[dict[str, object]]:
    return [{"day": f"2024-01-0{k + 1}", "shop": name, "sales": k} for k in range(days) for name in names]


def test_rows_of_a_series_that_training_left_out_are_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    _tell_left.cache_clear()
    assert from_contract(json.loads(json.dumps(SHOPS.contract()))) == SHOPS
    for _ in range(2):
        found = SHOPS.decode([long("north", "west", "south")])["history"]
        assert found.tolist() == [[[1, 1], [2, 2]]]
    assert [record.getMessage() for record in caplog.records] == [
        "rows of west are passed over: training left this series out (column 'shop')"
    ]
    with pytest.raises(PayloadError, match="all rows are of series that training left out"):
        SHOPS.decode([long("west")])


def test_a_series_is_taken_for_a_typo_only_where_it_is_near() -> None:
    with pytest.raises(PayloadError, match=r"no such series: 'east'.*leave its rows out"):
        SHOPS.decode([long("north", "south", "east")])
    with pytest.raises(PayloadError, match=r"no such series: 'nroth'.*did you mean 'north'"):
        SHOPS.decode([long("nroth", "south")])
    with pytest.raises(PayloadError) as caught:
        SHOPS.decode([[{"north": 1}] * 2])
    assert caught.value.hint is None


def test_unsorted_rows_are_sorted_by_time_as_training_does() -> None:
    for order in ([2, 0, 1], [1, 0, 2]):
        rows = [long("north", "south")[2 * k + j] for k in order for j in (0, 1)]
        assert SHOPS.decode([rows])["history"].tolist() == [[[1, 1], [2, 2]]]
    assert CODEC.decode([ROWS[::-1]])["history"].tolist() == [WANTED]
    months = SeriesCodec(("a",), 2, (0.0,), (1.0,), "when", 0.0)
    rows = [{"when": "2024-03-01", "a": 3}, {"when": "2024-02-01", "a": 2}]
    assert months.decode([rows])["history"][0, :, 0].tolist() == [2, 3]
    with pytest.raises(PayloadError, match="two rows have one time"):
        CODEC.decode([[*ROWS, ROWS[0]]])


DAYS = SeriesCodec(("a",), 3, (0.0,), (1.0,), "day", 86400.0)


@pytest.mark.parametrize(
    ("form", "after"),
    [
        ("%d.%m.%Y", "2024-03-02"), ("%m/%d/%Y", "2024-03-02"), ("%d %b %Y", "2024-03-02"), ("%s", 1709337600),
        ("%Y%m%d", "2024-03-02"),
    ],
)  # fmt: skip
def test_times_written_otherwise_than_in_training_are_read(form: str, after: object) -> None:
    start = datetime(2024, 2, 20, tzinfo=UTC)
    moments = [start + timedelta(days=k) for k in range(11)]
    told = [str(int(one.timestamp())) if form == "%s" else one.strftime(form) for one in moments]
    rows = [{"day": text, "a": k} for k, text in enumerate(told)]
    for some in (rows, rows[::-1]):
        assert DAYS.decode([some])["history"][0, :, 0].tolist() == [8, 9, 10]
        assert DAYS.times_after(some, 1) == [after]
    with pytest.raises(PayloadError, match="don't follow one another"):
        DAYS.decode([[*rows[:9], *rows[10:]]])


def test_times_that_nobody_can_read_are_refused() -> None:
    rows = [{"day": f"hello{k}", "a": k} for k in range(5)]
    with pytest.raises(PayloadError, match=r"column 'day': the times can't be read.*2024-01-31.*received hello0"):
        DAYS.decode([rows])
    either = [{"day": f"0{month}/01/2024", "a": month} for month in (1, 2, 3)]
    with pytest.raises(PayloadError, match="day and month of the times could be exchanged"):
        SeriesCodec(("a",), 3, (0.0,), (1.0,), "day", 0.0).decode([either])


def test_a_gap_before_what_is_read_does_no_harm() -> None:
    early = ROWS[0] | {"when": "1999-01-01 00:00"}
    assert CODEC.decode([[early, *ROWS]])["history"].tolist() == [WANTED]
    with pytest.raises(PayloadError, match="two rows have one time"):
        CODEC.decode([[early, early, *ROWS]])


@pytest.mark.parametrize("odd", ["yesterday", "", "2024-13-45 99:00:00"])
def test_one_time_that_cannot_be_read_is_told(odd: str) -> None:
    for rows in (ROWS, ROWS[::-1]):
        with pytest.raises(PayloadError, match=r"step 2, column 'when': not a time"):
            CODEC.decode([[rows[0], rows[1] | {"when": odd}, *rows[2:]]])
    lacking = {key: value for key, value in ROWS[1].items() if key != "when"}
    with pytest.raises(PayloadError, match="step 2: a step without a time"):
        CODEC.decode([[ROWS[0], lacking, *ROWS[2:]]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "x"}, "received 'x'"), ({"a": 1e300}, r"too large.*at most 3.4e\+38.*received 1e\+300"),
        ({"a": 10**400}, "too large"), ({"a": [1]}, r"received \[1\]"), ({"when": 5}, "not a time.*received 5"),
        ({"when": None}, "not a time.*received None"), ({"when": {"a": 1}}, "step 5, column 'when': not a time"),
    ],
)  # fmt: skip
def test_what_was_sent_is_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        CODEC.decode([[*ROWS[:4], ROWS[4] | change]])
