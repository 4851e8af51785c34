"""A bundle as a server holds it: under a name, warmed up, and with payloads decoded in one place for all protocols."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.codecs.codec import STRINGS, TEXT, TOKENS, TensorSpec
from bedplate.codecs.columns import ColumnSchema, read_categories, tensor_names
from bedplate.codecs.table import TableCodec
from bedplate.codecs.words import joined
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import PayloadError, json_kind
from bedplate.serving.batcher import Batcher
from bedplate.serving.counts import Counts
from bedplate.serving.engines import Chosen
from bedplate.serving.problems import bad_request, from_error
from bedplate.serving.streams import Streams
from bedplate.serving.tensors import check_rows, refuse_truths, tensor_from_nested


class Model:
    """One version of a name, warm and ready.

    Args:
        name: what it is served under.
        bundle: the opened bundle.
        chosen: its engine and how its requests are batched.
        executor: whose threads run it where it isn't run on the event loop.
        version: the version's number, as text.
        streams: the texts under way, where the model writes text.
    """

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        chosen: Chosen,
        executor: Executor | None = None,
        version: str = "1",
        streams: Streams | None = None,
    ) -> None:
        self.name, self.bundle, self.chosen, self.version = name, bundle, chosen, version
        self.streams = streams
        self.counts = Counts()
        self.batcher = Batcher(
            chosen.run, chosen.plan.bounded(chosen.costs), executor, chosen.costs, self.counts.note_batch
        )
        self.in_hand = 0
        self._empty = asyncio.Event()
        self._lease = Lease(self)
        codec = bundle.codec
        # Category tensors by name: their texts are cleaned as training cleaned them, whatever way they come in.
        names = tensor_names(codec.columns) if isinstance(codec, TableCodec) else {}
        schemas = {column.name: column for column in codec.columns} if isinstance(codec, TableCodec) else {}
        self.columns: dict[str, ColumnSchema] = {
            tensor: schemas[name] for (name, _), tensor in names.items() if schemas[name].type == "category"
        }

    def lease(self) -> Lease:
        """Hold the model for as long as one request needs it."""
        return self._lease

    def let_go(self) -> None:
        """Note that a request needs the model no longer."""
        self.in_hand -= 1
        if not self.in_hand:
            self._empty.set()

    async def drained(self) -> None:
        """Wait until no request needs the model."""
        while self.in_hand:
            self._empty.clear()
            await self._empty.wait()

    @functools.cached_property
    def inputs(self) -> list[TensorSpec]:
        """The tensors that the graph takes."""
        return self.bundle.inputs

    @property
    def output(self) -> TensorSpec:
        """The tensor that answers are read from; the first one where there are several."""
        return self.outputs[0]

    @functools.cached_property
    def outputs(self) -> list[TensorSpec]:
        """The tensors that the graph gives to callers."""
        return self.bundle.outputs

    @property
    def is_table(self) -> bool:
        """Whether payloads are rows of a table (else images, or plain tensors)."""
        return self.bundle.codec.kind == "table"

    @property
    def is_tensor(self) -> bool:
        """Whether payloads are tensors by input name: plain ones, strings, or a series' past."""
        return self.bundle.codec.kind in ("language", "series", "tensor", *STRINGS)

    def decode(self, payloads: Sequence[Any]) -> Arrays:
        """Return the tensors of payloads (image bytes, or rows by column). Raises Problem 400 or 413."""
        check_rows(len(payloads), "payload")
        try:
            return self.bundle.codec.decode(payloads)
        except PayloadError as error:
            raise from_error(error) from error

    def in_one_string(self, value: Any) -> Any:
        """Return a row, or rows by input, whose lists of words are strings, as its tensor has them; others as they are.

        Raises Problem 400.
        """
        if self.bundle.codec.kind != "sentence":
            return value
        try:
            if isinstance(value, dict):
                return {name: self.in_one_string(one) for name, one in value.items()}
            return joined(value) if isinstance(value, list) else value
        except PayloadError as error:
            raise from_error(error) from error

    def decode_json(self, values: Sequence[Any], where: str) -> Arrays:
        """Return the tensors of JSON values, one a row.

        Rows of a table are objects by column. An image is `{"b64": "…"}`, nested lists of its exact shape, or an object
        that holds either under the tensor's name. Where the codec takes plain tensors, a row is an object by input
        name, or the bare value of the only input.
        """
        check_rows(len(values), where)
        if self.is_table:
            return self.decode(values)
        if self.is_tensor:
            return self._by_input(values, where)
        spec = self.inputs[0]
        bare = [self._bare(value, spec.name, f"{where}[{k}]") for k, value in enumerate(values)]
        encoded = [isinstance(value, dict) for value in bare]
        if all(encoded):
            return self.decode([decode_base64(value, f"{where}[{k}]") for k, value in enumerate(bare)])
        if any(encoded):
            raise bad_request(f"{where}: give all images as base64, or all as numbers")
        return {spec.name: tensor_from_nested(bare, spec, where)}

    def _by_input(self, values: Sequence[Any], where: str) -> Arrays:
        """Return rows that are objects by input name as tensors by name."""
        names = [spec.name for spec in self.inputs]
        if len(names) == 1 and not any(isinstance(value, dict) for value in values):
            return self.tensors({names[0]: list(values)}, where)
        for k, value in enumerate(values):
            if not isinstance(value, dict) or set(value) != set(names):
                received = sorted(value)[:8] if isinstance(value, dict) else json_kind(value)
                raise bad_request(f"{where}[{k}]: expected an object with the inputs {names[:20]}, received {received}")
        return self.tensors({name: [value[name] for value in values] for name in names}, where)

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
        if self.is_tensor:
            names = [spec.name for spec in self.inputs]
            if set(columns) != set(names):
                raise bad_request(f"{where}: expected the inputs {names[:20]}, received {sorted(columns)[:8]}")
            return self.tensors(columns, where)
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

    def refuse_truths(self, value: Any, where: str) -> None:
        """Raise a Problem 400 where `true` or `false` stands among the numbers of images, tensors or columns."""
        if self.is_table:
            self._refuse_in_columns(value)
            return
        names = [spec.name for spec in self.inputs if spec.dtype not in ("bool", "string")]
        if len(names) == len(self.inputs):
            refuse_truths(value, where)
            return
        for part in value if isinstance(value, list) else [value]:
            for name in names if isinstance(part, dict) else ():
                refuse_truths(part.get(name), f"{where}, '{name}'")

    def _refuse_in_columns(self, value: Any) -> None:
        """Do so for rows by column, or for columns (or tensors) by name."""
        for k, row in enumerate(value if isinstance(value, list) else [value]):
            for name in self._numbers if isinstance(row, dict) else ():
                given = row.get(name)
                for n, item in enumerate(given if isinstance(given, list) else [given]):
                    if isinstance(item, bool):
                        raise bad_request(
                            f"row {k + n + 1}, column '{name}': a value does not fit its column"
                            f" (expected a number, or null where missing; received {str(item).lower()})"
                        )

    @functools.cached_property
    def _numbers(self) -> list[str]:
        """The names under which a table is given numbers: its columns' and, where no column has them, its tensors'."""
        codec = self.bundle.codec
        columns = codec.columns if isinstance(codec, TableCodec) else ()
        taken = {column.name for column in columns}
        found = [column.name for column in columns if column.type == "number"]
        return found + [spec.name for spec in self.inputs if spec.dtype != "string" and spec.name not in taken]

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
        if self.bundle.codec.kind in STRINGS:
            return self.decode(cleaned[TEXT].tolist())
        if self.streams is not None:
            codec, tokens = self.streams.generator.codec, cleaned[TOKENS]
            if tokens.shape[1] > codec.length or ((tokens < 0) | (tokens >= codec.vocabulary)).any():
                raise bad_request(
                    f"{where}: expected at most {codec.length:,} tokens, each below {codec.vocabulary:,}, "
                    f"received {tokens.shape[1]:,} from {tokens.min()} to {tokens.max()}"
                )
        return cleaned


class Lease:
    """Holds a model within a `with`. One serves all requests: it has nothing of its own to remember."""

    __slots__ = ("_model",)

    def __init__(self, model: Model) -> None:
        self._model = model

    def __enter__(self) -> None:
        """Begin to hold it."""
        self._model.in_hand += 1

    def __exit__(self, *error: object) -> None:
        """Hold it no longer."""
        self._model.let_go()


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
