"""Steps of seconds and of calendar months, and the times that follow a past, in the form in which it is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.calendar import moment_of
from bedplate.codecs.series import SeriesCodec
from bedplate.codecs.stride import Stride, following


def after(texts: list[str], stride: Stride, order: str = "ymd", steps: int = 3) -> list[str] | list[float] | None:
    moments = [moment_of(text, order) for text in texts]
    return following(stride, [moment for moment in moments if moment is not None], texts[-1], order, steps)


@pytest.mark.parametrize(
    ("texts", "stride", "order", "wanted"),
    [
        (["2024-02-28 22:00"], Stride(3600), "ymd", ["2024-02-28 23:00:00", "2024-02-29 00:00:00", "2024-02-29 01:00:00"]),
        (["2024-02-28T22:00:00Z"], Stride(7200), "ymd",
         ["2024-02-29T00:00:00Z", "2024-02-29T02:00:00Z", "2024-02-29T04:00:00Z"]),
        (["2024-03-31T01:00+0100"], Stride(3600), "ymd",
         ["2024-03-31T02:00:00+0100", "2024-03-31T03:00:00+0100", "2024-03-31T04:00:00+0100"]),
        (["31.12.2023"], Stride(86400), "dmy", ["2024-01-01", "2024-01-02", "2024-01-03"]),
        (["12/31/2023 11:30 PM"], Stride(1800), "mdy",
         ["2024-01-01 00:00:00", "2024-01-01 00:30:00", "2024-01-01 01:00:00"]),
        (["2023-11"], Stride(months=1), "ymd", ["2023-12", "2024-01", "2024-02"]),
        (["2023-11-15"], Stride(months=1), "ymd", ["2023-12-15", "2024-01-15", "2024-02-15"]),
        (["2023-11-30", "2023-12-31"], Stride(months=1), "ymd", ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (["2023-01-30", "2023-02-28"], Stride(months=1), "ymd", ["2023-03-30", "2023-04-30", "2023-05-30"]),
        (["2023Q3"], Stride(months=3), "period", ["2023Q4", "2024Q1", "2024Q2"]),
        (["Q3 2023"], Stride(months=3), "period", ["Q4 2023", "Q1 2024", "Q2 2024"]),
        (["2023-q3"], Stride(months=3), "period", ["2023-Q4", "2024-Q1", "2024-Q2"]),
        (["1999"], Stride(months=12), "period", ["2000", "2001", "2002"]),
        (["1704067200"], Stride(60), "unix", [1704067260, 1704067320, 1704067380]),
        (["1704067200000"], Stride(0.5), "unix", [1704067200500, 1704067201000, 1704067201500]),
        (["9999-12-31"], Stride(86400), "ymd", None),
        (["9998"], Stride(months=12), "period", None),
    ],
)  # fmt: skip
def test_the_times_that_follow(texts: list[str], stride: Stride, order: str, wanted: list[str] | None) -> None:
    if order == "period" and wanted is None:
        assert following(stride, [datetime(9998, 1, 1)], "9998", order, 3) is None
        return
    assert after(texts, stride, order) == wanted


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    st.one_of(
        st.integers(1, 10**6).map(lambda seconds: Stride(float(seconds))),
        st.sampled_from([1, 3, 6, 12]).map(lambda months: Stride(months=months)),
    ),
)
def test_each_is_one_step_behind_the_one_before(moment: datetime, stride: Stride) -> None:
    texts = after([str(moment)], stride, steps=40)
    assert texts is not None
    moments = [moment, *(datetime.fromisoformat(str(text)) for text in texts)]
    assert all(stride.parts(one, other) for one, other in pairwise(moments))
    assert not stride.parts(moment, moments[2])


def test_nothing_is_said_where_the_past_or_training_names_no_times() -> None:
    codec = SeriesCodec(("load",), 2, (0.0,), (1.0,), "day", 86400.0)
    rows = [{"day": f"2024-01-{k:02d}", "load": k} for k in (3, 1, 2)]
    assert codec.times_after(rows, 2) == ["2024-01-04", "2024-01-05"]
    assert codec.times_after({"history": rows}, 1) == ["2024-01-04"]
    assert codec.times_after("day,load\n2024-01-01,5\n2024-01-02,6\n", 1) == ["2024-01-03"]
    assert codec.times_after([[1], [2]], 2) is None
    assert SeriesCodec(("load",), 2, (0.0,), (1.0,), "day").times_after(rows, 2) is None
    assert SeriesCodec(("load",), 2, (0.0,), (1.0,)).times_after(rows, 2) is None


def test_gaps_between_months_are_found() -> None:
    stride = Stride(months=1)
    assert stride.parts(datetime(2024, 1, 31), datetime(2024, 2, 29))
    assert not stride.parts(datetime(2024, 1, 31), datetime(2024, 3, 1))
    assert Stride(3600).parts(datetime(2024, 1, 1), datetime(2024, 1, 1) + timedelta(seconds=3590))
    assert not Stride(3600).parts(datetime(2024, 1, 1), datetime(2024, 1, 1))
    assert not Stride()
