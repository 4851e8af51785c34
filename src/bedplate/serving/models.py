"""A bundle as a server holds it: under a name, warmed up, and with payloads decoded in one place for all protocols."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.columns import ColumnSchema, read_categories, tensor_names
from bedplate.codecs.table import TableCodec
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import PayloadError
from bedplate.serving.body import json_kind
from bedplate.serving.problems import bad_request, from_error
from bedplate.serving.tensors import check_rows, tensor_from_nested

VERSION = "1"
"""The one version that each name has, for protocols that speak of versions."""


@dataclass(frozen=True)
class Model:
    """One served bundle. `threads` are those that one prediction may use."""

    name: str
    bundle: Bundle
    threads: int | None = None
    predict: OnnxPredict = field(init=False)
    columns: dict[str, ColumnSchema] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "predict", self.bundle.predictor(threads=self.threads))
        codec = self.bundle.codec
        # Category tensors by name: their texts are cleaned as training cleaned them, whatever way they come in.
        names = tensor_names(codec.columns) if isinstance(codec, TableCodec) else {}
        schemas = {column.name: column for column in codec.columns} if isinstance(codec, TableCodec) else {}
        columns = {tensor: schemas[name] for (name, _), tensor in names.items() if schemas[name].type == "category"}
        object.__setattr__(self, "columns", columns)

    @property
    def inputs(self) -> list[TensorSpec]:
        """The tensors that the graph takes."""
        return self.bundle.inputs

    @property
    def output(self) -> TensorSpec:
        """The tensor that the graph gives."""
        labels = self.bundle.answers.labels
        return TensorSpec(self.bundle.output, "float32", () if labels is None else (len(labels),))

    @property
    def is_table(self) -> bool:
        """Whether payloads are rows of a table (else images)."""
        return self.bundle.codec.kind == "table"

    def warm_up(self) -> None:
        """Replay the golden rows, so that the first request finds everything loaded and this machine proven."""
        self.bundle.golden.replay(
            self.predict, self.predict.variant, self.bundle.manifest.variants[self.predict.variant].tolerance, self.name
        )

    def decode(self, payloads: Sequence[Any]) -> Arrays:
        """Return the tensors of payloads (image bytes, or rows by column). Raises Problem 400 or 413."""
        check_rows(len(payloads), "payload")
        try:
            return self.bundle.codec.decode(payloads)
        except PayloadError as error:
            raise from_error(error) from error

    def decode_json(self, values: Sequence[Any], where: str) -> Arrays:
        """Return the tensors of JSON values, one a row.

        Rows of a table are objects by column. An image is `{"b64": "…"}`, nested lists of its exact shape, or an object
        that holds either under the tensor's name.
        """
        check_rows(len(values), where)
        if self.is_table:
            return self.decode(values)
        spec = self.inputs[0]
        bare = [self._bare(value, spec.name, f"{where}[{k}]") for k, value in enumerate(values)]
        encoded = [isinstance(value, dict) for value in bare]
        if all(encoded):
            return self.decode([decode_base64(value, f"{where}[{k}]") for k, value in enumerate(bare)])
        if any(encoded):
            raise bad_request(f"{where}: give all images as base64, or all as numbers")
        return {spec.name: tensor_from_nested(bare, spec, where)}

    @staticmethod
    def _bare(value: Any, name: str, where: str) -> Any:
        """Return what stands under the tensor's name, for an object; lists and `{"b64": …}` stay as they are."""
        if isinstance(value, dict) and set(value) != {"b64"}:
            if set(value) != {name}:
                raise bad_request(f"{where}: expected an object with '{name}' or 'b64', received {sorted(value)[:8]}")
            value = value[name]
        if isinstance(value, list) or (isinstance(value, dict) and set(value) == {"b64"}):
            return value
        raise bad_request(f'{where}: expected nested lists of numbers or {{"b64": "…"}}, received {json_kind(value)}')

    def decode_columns(self, columns: Mapping[str, Any], where: str) -> Arrays:
        """Return the tensors of `inputs` by name: a table's columns (or its tensors), or one image tensor."""
        if self.is_table:
            tensors = {spec.name for spec in self.inputs}
            codec = self.bundle.codec
            wanted = (
                {column.name for column in codec.columns if column.read} if isinstance(codec, TableCodec) else tensors
            )
            if set(columns) == tensors and tensors != wanted:
                return self.tensors(
                    {name: list_of(value, f"{where}['{name}']") for name, value in columns.items()}, where
                )
            lists = {name: list_of(value, f"{where}['{name}']") for name, value in columns.items()}
            sizes = {len(value) for value in lists.values()}
            if len(sizes) > 1:
                raise bad_request(f"{where}: the columns have different numbers of rows ({min(sizes)} to {max(sizes)})")
            rows = sizes.pop() if sizes else 0
            check_rows(rows, where)
            return self.decode([{name: value[k] for name, value in lists.items()} for k in range(rows)])
        spec = self.inputs[0]
        if set(columns) != {spec.name}:
            raise bad_request(f"{where}: expected the input '{spec.name}', received {sorted(columns)[:8]}")
        return self.decode_json(list_of(columns[spec.name], where), where)

    def tensors(self, values: Mapping[str, Any], where: str) -> Arrays:
        """Return nested lists by tensor name as checked tensors, one for every input."""
        return self.cleaned(
            {spec.name: tensor_from_nested(values[spec.name], spec, f"{where}['{spec.name}']") for spec in self.inputs},
            where,
        )

    def cleaned(self, arrays: Mapping[str, np.ndarray], where: str) -> Arrays:
        """Return the tensors with categories spelt as in training; all must have equally many rows."""
        sizes = {len(array) for array in arrays.values()}
        if len(sizes) > 1:
            raise bad_request(f"{where}: the inputs have different numbers of rows ({min(sizes)} to {max(sizes)})")
        cleaned = {
            name: read_categories(array.tolist(), self.columns[name], []) if name in self.columns else array
            for name, array in arrays.items()
        }
        count(cleaned)
        return cleaned


def list_of(value: Any, where: str) -> list[Any]:
    """Return a JSON list, or raise Problem 400."""
    if not isinstance(value, list):
        raise bad_request(f"{where}: expected a list, received {json_kind(value)}")
    return value


def decode_base64(value: Any, where: str) -> bytes:
    """Return the bytes of `{"b64": "…"}`. Raises Problem 400."""
    text = value["b64"]
    if not isinstance(text, str):
        raise bad_request(f"{where}: b64 must be a string, received {json_kind(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"{where}: not base64 ({error})") from error
