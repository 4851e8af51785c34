"""Targets of streamed rows, read as a whole table's would be: the sample decides what the texts and numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bedplate.codecs.columns import ColumnSchema, Raw, clean, read_columns
from bedplate.codecs.numbers import decimal_sign
from bedplate.core.errors import DataError, json_text, listing
from bedplate.data.targets import read_labels
from bedplate.recipe.schema import ColumnSpec

Place = Callable[[int], str]
"""Says where a block's row lies: file and row."""


class LabelReader:
    """Class indices of raw labels; a label that the sample didn't hold is an error that names file and row."""

    def __init__(self, labels: Sequence[str], name: str, spec: ColumnSpec) -> None:
        self._labels, self._name, self._spec = list(labels), name, spec
        self._places = {label: place for place, label in enumerate(labels)}
        self._memo: dict[tuple[type, Raw], int] = {}

    def __call__(self, values: Sequence[Raw], place: Place) -> np.ndarray:
        """Return int64 [rows]."""
        memo = self._memo
        codes = np.empty(len(values), np.int64)
        for row, value in enumerate(values):
            code = memo.get((type(value), value))
            codes[row] = self._learn(value, row, place) if code is None else code
        return codes

    def _learn(self, value: Raw, row: int, place: Place) -> int:
        # Beside the known labels, so that a number is spelt as it is among them.
        read = read_labels([*self._labels, value], self._name, self._spec)
        text = read.values[-1]
        if text not in self._places:
            raise DataError(
                f"the target '{self._name}' is missing" if text == "" else f"class '{text}' is not in the sample",
                where=place(row),
                expected=f"one of {listing(self._labels)}",
                received=json_text(value) if text == "" else None,
                hint="mend the shard"
                + ("" if text == "" else ", or raise data.stream.sample so that the sample meets every class"),
            )
        self._memo[type(value), value] = self._places[text]
        return self._places[text]


class NumberReader:
    """Numbers to predict, float64; what is missing or no finite number is an error that names file and row."""

    def __init__(self, sample: Sequence[Raw], name: str, spec: ColumnSpec) -> None:
        base = ColumnSchema(name, "number", missing=tuple(spec.missing), strip=spec.strip)
        decimal = decimal_sign({clean(value, base) for value in sample if isinstance(value, str)})
        self._column = ColumnSchema(name, "number", decimal, missing=tuple(spec.missing), strip=spec.strip)

    def __call__(self, values: Sequence[Raw], place: Place) -> np.ndarray:
        """Return float64 [rows]."""
        decoded = read_columns({self._column.name: values}, [self._column])
        numbers: np.ndarray = next(iter(decoded.tensors.values()))
        wrong = np.flatnonzero(np.isnan(numbers))
        if len(wrong):
            row = int(wrong[0])
            fault = next((fault for fault in decoded.faults if fault.row == row), None)
            raise DataError(
                f"the target '{self._column.name}' is {'no number' if fault else 'missing'}",
                where=place(row),
                expected="a finite number",
                received=fault.received if fault else None,
                hint="mend the shard",
            )
        return numbers


TargetReader = LabelReader | NumberReader
