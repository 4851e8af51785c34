"""The codec of tables: a row is a mapping of column to value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bedplate.codecs.codec import Payload, Prepare, TensorSpec
from bedplate.codecs.columns import (
    ColumnSchema,
    Raw,
    date_parts,
    read_columns,
    tensor_names,
    tensor_specs,
)
from bedplate.codecs.table_graph import build
from bedplate.codecs.table_learning import Learned, learn
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, DataError, PayloadError, did_you_mean, json_kind, listing

VERSION = 1


class TableCodec:
    """Translate rows to one raw tensor a column, and learn their way to features.

    Numbers are float64 (NaN where missing), categories are texts ("" where missing), a date is several numbers. What
    was learnt (imputation, scaling, categories) lies in the graph; `decode` alone needs only the schema.
    """

    kind = "table"

    def __init__(
        self,
        columns: Sequence[ColumnSchema],
        target: str,
        learned: Learned,
        order: Sequence[str] = (),
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.columns = tuple(columns)
        self.target = target
        self.learned = learned
        self.order = tuple(order) or (*(column.name for column in columns), target)
        self.reading = dict(reading or {})
        self._read = [column for column in self.columns if column.read]
        self._names = tensor_names(self._read)
        self._required = frozenset(column.name for column in self._read)
        self._accepted = frozenset(column.name for column in self.columns) | {target}
        self._tensors = tensor_specs(self.columns)
        self._session: Any = None

    @classmethod
    def fit(
        cls,
        inputs: Arrays,
        columns: Sequence[ColumnSchema],
        target: str,
        *,
        order: Sequence[str] = (),
        reading: Mapping[str, Any] | None = None,
    ) -> TableCodec:
        """Learn from the training rows.

        Args:
            inputs: the training rows as `read_columns(…).tensors` gives them.
            columns: every column of the table but the target, the set-aside ones too.
            target: the target column's name; rows may carry it, and it is ignored.
            order: all columns as they lay in the file, the target among them, for files without a header.
            reading: how files were read (`delimiter`, `encoding`, `comment`), where that was set.

        Raises:
            DataError: no column is left to learn from, or none differs between the rows.
        """
        specs = tensor_specs(columns)
        if not specs:
            raise DataError(
                "no column is left to learn from",
                received=f"{len(columns)} columns, all set aside",
                hint="give one a type in data.columns, for instance {type: category}",
            )
        names = tensor_names(columns)
        parts = {
            names[column.name, part]: "clock" if column.form == "clock" else part
            for column in columns
            if column.type == "date"
            for part in date_parts(column)
        }
        learned = learn(inputs, specs, parts)
        if not learned.numeric and not learned.categories:
            raise DataError(
                "no column differs between the training rows, so there is nothing to learn from",
                received=listing(spec.name for spec in specs),
            )
        return cls(columns, target, learned, order, reading)

    @property
    def tensors(self) -> list[TensorSpec]:
        """One tensor a used column, in the table's order; a date gives several ("when.year", …)."""
        return list(self._tensors)

    def decode(self, payloads: Sequence[Payload]) -> dict[str, np.ndarray]:
        """Return the tensors of rows given as mappings of column to value; null, "" and "NA" mean missing.

        The target and the columns that training set aside may be there, and are ignored.

        Raises:
            PayloadError: a row that is no mapping, lacks a column, has an unknown one, or holds a value that isn't
                what its column expects.
        """
        self._check_names(payloads)
        values = {column.name: [row[column.name] for row in payloads] for column in self._read}
        return self.decode_columns(values)

    def decode_columns(self, values: Mapping[str, Sequence[Raw]]) -> dict[str, np.ndarray]:
        """Return the tensors of rows given column by column; raise PayloadError at the first value that doesn't fit."""
        decoded = read_columns(values, self._read, self._names)
        if decoded.faults:
            fault = decoded.faults[0]
            more = len(decoded.faults) - 1
            raise PayloadError(
                "a value does not fit its column",
                where=f"row {fault.row + 1}, column '{fault.column}'",
                expected=fault.expected,
                received=fault.received,
                hint=f"{more} more values do not fit" if more else None,
            )
        return decoded.tensors

    def _check_names(self, payloads: Sequence[Payload]) -> None:
        for row, payload in enumerate(payloads):
            if isinstance(payload, list):
                raise PayloadError(
                    "the row has another number of values than there are columns",
                    where=f"row {row + 1}",
                    expected=f"the columns {listing(self.order)}",
                    received=f"{len(payload)} values",
                )
            if not isinstance(payload, Mapping):
                raise PayloadError(
                    "a row must give each column a value",
                    where=f"row {row + 1}",
                    expected=f"an object with the columns {listing(column.name for column in self._read)}",
                    received=json_kind(payload),
                )
            names = payload.keys()
            if not self._required <= names:
                lacking = [column.name for column in self._read if column.name not in names]
                stray = [str(name) for name in names if name not in self._accepted]
                raise PayloadError(
                    f"the row lacks {'column' if len(lacking) == 1 else 'columns'} {_quoted(lacking)}",
                    where=f"row {row + 1}",
                    expected=f"the columns {listing(column.name for column in self._read)}",
                    received=listing(map(str, names)) or "no column",
                    hint=_spelling(stray, lacking) or "give null where a value is missing",
                )
            if not names <= self._accepted:
                stray = [str(name) for name in names if name not in self._accepted]
                raise PayloadError(
                    f"the row has {'an unknown column' if len(stray) == 1 else 'unknown columns'} {_quoted(stray)}",
                    where=f"row {row + 1}",
                    expected=f"the columns {listing(column.name for column in self._read)}",
                    received=listing(map(str, names)),
                    hint=_spelling(stray, self._accepted),
                )

    @property
    def prepare(self) -> Prepare | None:
        """None: the graph takes the tensors as they are."""
        return None

    @property
    def prepared(self) -> list[TensorSpec]:
        """The tensors themselves."""
        return self.tensors

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec: the columns, the target's name, and what was learnt."""
        return {
            "kind": self.kind,
            "version": VERSION,
            "target": self.target,
            "order": list(self.order),
            "reading": self.reading,
            "columns": [column.to_json() for column in self.columns],
            "tensors": [tensor.to_json() for tensor in self._tensors],
            "learned": self.learned.to_json(),
        }

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> TableCodec:
        """Rebuild from `contract()`'s JSON; features are then equal bit for bit.

        Raises:
            BundleError: the contract is incomplete, damaged or of a newer version.
        """
        if int(contract.get("version", 0)) > VERSION:
            raise BundleError(
                "the table's contract is newer than this release",
                expected=f"version {VERSION} or older",
                received=f"version {contract['version']}",
                hint="upgrade bedplate",
            )
        try:
            columns = [ColumnSchema.from_json(column) for column in contract["columns"]]
            learned = Learned.from_json(contract["learned"])
            return cls(columns, contract["target"], learned, contract["order"], contract["reading"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the table's contract is incomplete", received=repr(error)) from error

    def graph(self) -> bytes:
        """Return the pre-graph, raw tensors → `numeric` and `categories`, as serialised ONNX. Needs `[train]`."""
        return build(self.learned, self._tensors)

    def features(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return `numeric` (float32 [N, F]) and `categories` (int64 [N, C]) by running the pre-graph."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(self.graph(), options, providers=["CPUExecutionProvider"])
        feed = {tensor.name: inputs[tensor.name] for tensor in self._tensors}
        numeric, categories = self._session.run(["numeric", "categories"], feed)
        return {"numeric": numeric, "categories": categories}

    def feature_spec(self) -> dict[str, Any]:
        """Return the number of numeric features, each category's cardinality (with unknown and missing), and edges."""
        return {
            "kind": "table",
            "numeric": self.learned.numeric,
            "categories": [len(item.values) + 2 for item in self.learned.categories],
            "edges": self.learned.edges,
        }


def _quoted(names: Iterable[str]) -> str:
    return listing([f"'{name}'" for name in names])


def _spelling(strays: Sequence[str], known: Iterable[str]) -> str | None:
    known = list(known)
    hints = (did_you_mean(stray, known) for stray in strays)
    return next((f"for '{stray}': {hint}" for stray, hint in zip(strays, hints, strict=True) if hint), None)
