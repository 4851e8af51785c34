"""JSON values → checked tensors, and tensors → JSON: what the OIP and TensorFlow-Serving protocols share.

Nothing is guessed: a number is no text, a truth value is no number, and a fraction doesn't fit an integer tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.errors import json_kind
from bedplate.serving.problems import Problem, bad_request

MOST_ROWS = 10_000
"""The most rows of one request."""

_INTEGERS = {"uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}


def check_rows(rows: int, where: str) -> None:
    """Raise a Problem unless there is at least one row and not more than a request may hold."""
    if rows == 0:
        raise bad_request(f"{where}: no rows")
    if rows > MOST_ROWS:
        raise Problem(413, f"{where}: {rows} rows, but one request may hold {MOST_ROWS:,}; send several")


def tensor_from_nested(value: Any, spec: TensorSpec, where: str) -> np.ndarray:
    """Return nested lists as a tensor [rows, *spec.shape]; null is a missing number or text where those may be missing.

    Raises:
        Problem: 400 for a wrong type, rank, shape or range, 413 for too many rows.
    """
    if not isinstance(value, list):
        raise bad_request(f"{where}: expected a list of rows, received {json_kind(value)}")
    check_rows(len(value), where)
    array = _texts(value, spec, where) if spec.dtype == "string" else numbers(value, spec, where)
    if array.ndim == len(spec.shape) and spec.shape[-1:] == (1,) and array.shape[1:] == spec.shape[:-1]:
        array = array[..., None]  # a grey image may leave its one channel out
    if not spec.fits(array.shape[1:]) or not array.size:
        raise bad_request(f"{where}: each row must have the shape {list(spec.shape)}, received {list(array.shape[1:])}")
    return array


def tensor_from_flat(data: list[Any], shape: Sequence[int], spec: TensorSpec, where: str) -> np.ndarray:
    """Return row-major values with their shape (rows first) as a tensor; the values may be nested, too."""
    if not spec.fits(shape[1:]):
        raise bad_request(f"{where}: expected the shape {['rows', *spec.shape]}, received {list(shape)}")
    check_rows(shape[0], where)
    flat = TensorSpec(spec.name, spec.dtype, ())
    if data and isinstance(data[0], list):
        array = tensor_from_nested(data, spec, where)
        if array.shape[0] != shape[0]:
            raise bad_request(f"{where}: the shape says {shape[0]} rows, the data has {array.shape[0]}")
        if array.shape != tuple(shape):
            raise bad_request(f"{where}: the shape says {list(shape)}, the data is nested as {list(array.shape)}")
        return array
    needed = math.prod(shape)
    if len(data) != needed:
        raise bad_request(f"{where}: the shape {list(shape)} needs {needed} values, received {len(data)}")
    array = _texts(data, flat, where) if spec.dtype == "string" else numbers(data, flat, where)
    if array.ndim != 1:
        raise bad_request(f"{where}: expected flat values, or lists nested as the shape says")
    return array.reshape(tuple(shape))


def speaks_of_truths(body: bytes | memoryview) -> bool:
    """Return whether `true` or `false` may stand in a JSON text; a letter that numbers lack is looked for first."""
    body = bytes(body)
    return (b"r" in body and b"true" in body) or (b"l" in body and b"false" in body)


def refuse_truths(value: Any, where: str) -> None:
    """Raise a Problem 400 where a truth value stands among numbers in nested lists or objects.

    NumPy would count it as 0 or 1. To look at every value's type costs as much as reading it, so this is asked only of
    a request that `speaks_of_truths`.
    """
    level = [value]
    while level:
        if bool in set(map(type, level)):
            raise bad_request(f"{where}: expected numbers, received true or false among them")
        level = [
            item for part in level if isinstance(part, list | dict)
            for item in (part.values() if isinstance(part, dict) else part)
        ]  # fmt: skip


def numbers(value: list[Any], spec: TensorSpec, where: str) -> np.ndarray:
    """Return JSON numbers, flat or nested, as an array of `spec.dtype`: what `plain_numbers` gives, sooner.

    Nested lists are laid flat where they are nested as the spec says, and whole numbers of one byte are read as bytes:
    a row of 28×28×1 is read five times sooner, a flat one ten times.
    """
    flat, shape = _laid_flat(value, spec.shape)
    if flat is not None:
        if spec.dtype == "uint8" and type(flat[0]) is not bool:
            try:
                return np.frombuffer(bytearray(flat), np.uint8).reshape(shape)
            except (TypeError, ValueError, OverflowError):
                pass  # something in it is no whole number from 0 to 255: the plain way says what
        if flat is not value:
            try:
                found = plain_numbers(flat, spec, where)
                if found.ndim == 1:  # else the lists go deeper than the spec
                    return found.reshape(shape)
            except (Problem, ValueError):
                pass  # for the message that fits the lists as they were given
    return plain_numbers(value, spec, where)


def _laid_flat(value: list[Any], sizes: Sequence[int]) -> tuple[list[Any] | None, tuple[int, ...]]:
    """Return the values of lists nested as (rows, *sizes) and that shape; a last size of 1 may have been left out."""
    if not value:
        return None, ()
    level, shape = value, [len(value)]
    for k, size in enumerate(sizes):
        if size == 1 and k == len(sizes) - 1:
            if type(level[0]) is not list:
                break
            try:
                level = [item for [item] in level]
            except (TypeError, ValueError):
                return None, ()
        else:
            if set(map(type, level)) != {list}:
                return None, ()
            size = len(level[0]) if size == -1 else size
            if size == 0 or set(map(len, level)) != {size}:
                return None, ()
            level = list(chain.from_iterable(level))
        shape.append(size)
    return level, tuple(shape)


def plain_numbers(value: list[Any], spec: TensorSpec, where: str) -> np.ndarray:
    """Return JSON numbers, flat or nested, as an array of `spec.dtype`, by way of NumPy's own reading of lists.

    Raises:
        Problem: 400 for ragged rows, other types, fractions in integers, numbers out of range, infinity.
    """
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise bad_request(f"{where}: the rows are ragged, or nested too deep") from error
    if array.dtype == object:
        array = _with_missing(array, spec, where)
    if spec.dtype == "uint64" and array.dtype.kind == "f":
        array = _largest(value, array)
    if spec.dtype == "bool" and array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "iuf" or spec.dtype == "bool":
        kind = {"b": "true or false", "U": "strings", "S": "strings"}.get(array.dtype.kind, "something else")
        kind = "numbers" if array.dtype.kind in "iuf" else kind
        raise bad_request(f"{where}: expected {_expected(spec)}, received {kind}")
    if spec.dtype in _INTEGERS:
        limits = np.iinfo(spec.dtype)
        if array.dtype.kind == "f":
            whole = array.size and (array == np.trunc(array)).all() and (np.abs(array) < 1 << 53).all()
            received = (
                f"numbers with a point, such as {array.flat[0]}" if whole else "fractions or numbers out of range"
            )
            raise bad_request(f"{where}: expected {_expected(spec)}, received {received}")
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            least, most = array.min(), array.max()
            received = f"{least} to {most}" if least != most else str(most)
            raise bad_request(f"{where}: expected {_expected(spec)}, received {received}")
    with np.errstate(over="ignore"):  # what doesn't fit becomes infinity, and is refused
        array = array.astype(spec.dtype)
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise bad_request(f"{where}: expected finite numbers")
    return array


def _largest(value: list[Any], array: np.ndarray) -> np.ndarray:
    """Return whole numbers as uint64: of those below and from 2⁶³ together NumPy makes floats, which lose digits."""
    items = np.array(value, dtype=object)
    if all(type(item) is int and item >= 0 for item in items.reshape(-1).tolist()):
        return items.astype(np.uint64)
    return array


def _with_missing(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    """Return numbers with nulls as float64 with NaN, where the tensor is a column that may lack values."""
    types = {type(item) for item in array.ravel().tolist()}
    if types & {list, dict}:
        raise bad_request(f"{where}: the rows are ragged, or not all of one kind")
    if spec.dtype != "float64":
        raise bad_request(f"{where}: expected {_expected(spec)}, received null or values of several kinds")
    if types - {int, float, type(None)}:
        raise bad_request(f"{where}: expected {_expected(spec)}, received values of several kinds")
    return array.astype(np.float64)


def _texts(value: list[Any], spec: TensorSpec, where: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=object)
    except ValueError as error:
        raise bad_request(f"{where}: the rows are ragged, or nested too deep") from error
    items = array.reshape(-1).tolist()
    for k, item in enumerate(items):
        if item is None:
            items[k] = ""
        elif not isinstance(item, str):
            raise bad_request(f"{where}: expected {_expected(spec)}, received {json_kind(item)}")
    texts = np.empty(len(items), object)
    texts[:] = items
    return texts.reshape(array.shape)


def _expected(spec: TensorSpec) -> str:
    if spec.dtype == "string":
        return "strings, or null where missing"
    if spec.dtype == "bool":
        return "true or false"
    if spec.dtype in _INTEGERS:
        limits = np.iinfo(spec.dtype)
        return f"whole numbers from {limits.min} to {limits.max}"
    return "finite numbers, or null where missing" if spec.dtype == "float64" else "finite numbers"
