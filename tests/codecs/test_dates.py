from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.dates import Order, find_order, parse_date

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)).map(lambda moment: moment.replace(microsecond=0))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-01-31", datetime(2020, 1, 31)), ("2020/1/3", datetime(2020, 1, 3)), ("2020-01", datetime(2020, 1, 1)),
        ("2020-01-31T08:30:05Z", datetime(2020, 1, 31, 8, 30, 5)), ("2020-01-31 08:30", datetime(2020, 1, 31, 8, 30)),
        ("2020-01-31 08:30:05.123456+02:00", datetime(2020, 1, 31, 8, 30, 5)), ("20141013T000000", datetime(2014, 10, 13)),
        ("31 Jan 2020", datetime(2020, 1, 31)), ("Jan 31, 2020", datetime(2020, 1, 31)), ("31-Jan-20", datetime(2020, 1, 31)),
        ("January 1st, 2020 5:05 PM", datetime(2020, 1, 1, 17, 5)), ("Fri, 31 Jan 2020 08:30:00 GMT", datetime(2020, 1, 31, 8, 30)),
        ("Sept 2020", datetime(2020, 9, 1)),
        ("2020-02-30", None), ("2020-13-01", None), ("2020-01-31 25:00", None), ("03/04/2020", None), ("12", None), ("", None),
        ("2020-01-31 13:00 PM", None),
    ],
)  # fmt: skip
def test_dates_that_mean_one_thing(text: str, moment: datetime | None) -> None:
    assert parse_date(text, "ymd") == moment


def test_day_and_month_by_the_columns_order() -> None:
    assert parse_date("03/04/2020", "dmy") == datetime(2020, 4, 3)
    assert parse_date("03/04/2020", "mdy") == datetime(2020, 3, 4)
    assert parse_date("31.12.99", "dmy") == datetime(1999, 12, 31)
    assert parse_date("12/31/2020 11:05 pm", "mdy") == datetime(2020, 12, 31, 23, 5)


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["03/04/2020", "13/04/2020"], ("dmy", False)),
        (["03/04/2020", "03/14/2020"], ("mdy", False)),
        (["13/04/2020", "03/14/2020"], None),
        (["01/02/2020", "01/03/2020", "01/04/2020"], ("mdy", True)),  # three days of January beat three firsts
        (["03.04.2020"], ("dmy", True)),
        (["03/04/2020"], ("mdy", True)),
        (["2020-01-02", "3 Jan 2020"], ("ymd", False)),
        (["14:30", "9:05 PM"], ("clock", False)),
        (["14:30", "25:00"], None),
        (["2020-01-02", "red"], None),
        ([], None),
    ],
)
def test_the_order_is_found_over_the_whole_column(texts: list[str], order: tuple[Order, bool] | None) -> None:
    assert find_order(texts) == order


@given(MOMENTS)
def test_written_dates_are_read_back(moment: datetime) -> None:
    day = moment.replace(hour=0, minute=0, second=0)
    assert parse_date(moment.isoformat(), "ymd") == moment
    assert parse_date(moment.strftime("%d/%m/%Y %H:%M:%S"), "dmy") == moment
    assert parse_date(moment.strftime("%m-%d-%Y %I:%M:%S %p"), "mdy") == moment
    assert parse_date(moment.strftime("%d %B %Y"), "ymd") == day
    assert parse_date(moment.strftime("%d.%m.%y"), "dmy") == day


@given(st.text(max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    for order in ("ymd", "dmy", "mdy", "clock"):
        assert parse_date(text, order) is None or isinstance(parse_date(text, order), datetime)  # type: ignore[arg-type]
