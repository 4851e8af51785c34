"""Several series that lie below one another in a table, told apart by a column: a column each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bedplate.codecs.series import series_column
from bedplate.core.errors import DataError, listing
from bedplate.data.series_times import Grid
from bedplate.data.tables import RawTable

LEAST_KNOWN = 0.9
"""Of its steps; windows need a value of every series, and one that lacks many would cost all the others theirs."""

MOST_SERIES = 1000


@dataclass(frozen=True)
class Panel:
    """Which rows are whose.

    Attributes:
        names: of the series, in the order in which they come.
        values: the columns of values that each has.
        rows: of each series, its rows.
        left: the names of series that were left out.
    """

    names: list[str]
    values: tuple[str, ...]
    rows: list[np.ndarray]
    left: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns side by side: of the first series all, then of the next."""
        return [series_column(name, value, self.values) for name in self.names for value in self.values]

    def with_values(self, parts: Sequence[np.ndarray], where: str, notes: list[str]) -> tuple[Panel, list[int]]:
        """Return the series whose values [steps, columns] lack few, and which of `parts` they are.

        Raises:
            DataError: all of them lack many.
        """
        shares = [float(np.isfinite(part).all(axis=1).mean()) for part in parts]
        kept = [k for k, share in enumerate(shares) if share >= LEAST_KNOWN]
        if not kept:
            best = int(np.argmax(shares))
            raise DataError(
                "no series has values in enough of the steps", where=where, expected=f"{LEAST_KNOWN:.0%} of all steps",
                received=f"{shares[best]:.0%} at most, by '{self.names[best]}'",
                hint="fill gaps with data.series.interpolate, or give the series that have a time in common",
            )  # fmt: skip
        left = [name for k, name in enumerate(self.names) if k not in set(kept)]
        if left:
            notes.append(
                f"{len(left)} of {len(self.names)} series are left out, with values in fewer than {LEAST_KNOWN:.0%} of "
                f"the steps: {listing(left, 8)}"
            )
        whole = [self.names[k] for k in kept]
        return replace(self, names=whole, rows=[self.rows[k] for k in kept], left=tuple(left)), kept


def panel_of(table: RawTable, by: str, values: Sequence[str], time: str) -> Panel:
    """Return the series that column `by` tells apart.

    Raises:
        DataError: a row without a name, a series named as the column of times is, or more than can stand side by side.
    """
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(table.columns[by]):
        name = "" if value is None else str(value).strip()
        if not name:
            raise DataError(
                f"the name '{by}' of a series is missing", where=table.ids[row], expected="one in every row"
            )
        rows.setdefault(name, []).append(row)
    if len(rows) > MOST_SERIES:
        raise DataError(
            f"'{by}' names too many series", where=table.name, expected=f"at most {MOST_SERIES:,}",
            received=f"{len(rows):,}", hint="give fewer of them, or their sums by group",
        )  # fmt: skip
    found = Panel(list(rows), tuple(values), [np.array(one) for one in rows.values()])
    if time in found.columns:
        raise DataError("a series is named as the column of times is", where=f"data.series.by '{by}'", received=time)
    return found


def names_series(table: RawTable, grid: Grid, used: set[str]) -> str | None:
    """Return the first column outside `used` whose value with the time is every row's own; None: there is none.

    Of columns that would do, one with fewer names comes first: the rows' numbers would do as well, and name nothing.
    """
    found: list[tuple[int, str]] = []
    for name, column in table.columns.items():
        names = ["" if value is None else str(value).strip() for value in column]
        several = len(set(names))
        if name in used or "" in names or not 1 < several <= min(MOST_SERIES, len(names) // 2):
            continue
        if len(set(zip(grid.places.tolist(), names, strict=True))) == len(names):
            found.append((several, name))
    return min(found)[1] if found else None
