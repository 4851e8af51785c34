"""The Open Inference Protocol's datatypes, and its tensors as bytes: little-endian, row-major, without gaps.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

BOOL takes one byte a value, BYTES a length (uint32) before each value. The same bytes stand behind the JSON of a REST
request and in gRPC's `raw_input_contents`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.errors import json_text
from bedplate.serving.problems import bad_request
from bedplate.serving.tensors import check_rows

Bytes = bytes | bytearray | memoryview

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES",
}  # fmt: skip
"""The protocol's name of each type of tensor."""

WIDENED = {"float32": ("BF16", "FP16"), "float64": ("BF16", "FP16", "FP32")}
"""What else an input takes: the narrower kinds whose every number it holds exactly."""

ONLY_BINARY = ("FP16", "BF16")
"""What JSON can't carry, says the protocol."""

_WIRE = {name: np.dtype(kind).newbyteorder("<") for kind, name in DATATYPES.items() if kind != "string"}
_WIRE["BF16"] = np.dtype("<u2")

_MOST_DIMENSIONS = 8


def datatype_of(array: np.ndarray) -> str:
    """Return the protocol's name of an array's type."""
    return DATATYPES.get(array.dtype.name, "BYTES")


def check_datatype(datatype: object, spec: TensorSpec, where: str) -> None:
    """Raise a Problem unless an input takes tensors of a datatype."""
    own = DATATYPES[spec.dtype]
    if datatype != own and datatype not in WIDENED.get(spec.dtype, ()):
        raise bad_request(f"{where}: expected the datatype {own}, received {json_text(datatype)}")


def check_shape(shape: object, spec: TensorSpec, where: str) -> list[int]:
    """Return a request's shape if it is one that the input takes, with a number of rows that one request may hold."""
    plain = isinstance(shape, list) and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    if not isinstance(shape, list) or not plain or not 1 <= len(shape) <= _MOST_DIMENSIONS:
        raise bad_request(
            f"{where}: the shape must be a list of whole numbers below 2³¹, {['rows', *spec.shape]},"
            f" received {str(shape)[:100]}"
        )
    if not spec.fits(shape[1:]) or 0 in shape[1:]:
        raise bad_request(f"{where}: expected the shape {['rows', *spec.shape]}, received {shape}")
    check_rows(shape[0], where)
    return shape


def tensor_from_bytes(data: Bytes, datatype: str, shape: Sequence[int], spec: TensorSpec, where: str) -> np.ndarray:
    """Return a tensor that lies in some bytes, without copying it where its type and place allow.

    Args:
        data: the tensor's bytes and no other.
        datatype: what they are; checked by `check_datatype` already.
        shape: rows first; checked by `check_shape` already.
        spec: the input.
        where: how a message calls it.

    Raises:
        Problem: 400 where the bytes are too few or too many, a BOOL is neither 0 nor 1, or a text isn't UTF-8.
    """
    values = math.prod(shape)
    if datatype == "BYTES":
        return texts_from_bytes(data, values, where).reshape(tuple(shape))
    wire = _WIRE[datatype]
    needed = values * wire.itemsize
    if len(data) != needed:
        raise bad_request(f"{where}: {datatype}{list(shape)} takes {needed} bytes, received {len(data)}")
    array = np.frombuffer(data, wire).reshape(tuple(shape))
    if datatype == "BOOL":
        if (array.view(np.uint8) > 1).any():
            raise bad_request(f"{where}: a BOOL is the byte 0 or 1")
        return array
    if datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if not array.flags.aligned:  # it begins anywhere behind the JSON; engines read whole words
        array = array.copy()
    return array.astype(spec.dtype, copy=False)


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise a Problem where a number is infinite; NaN stands for a missing value, as null does in JSON."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise bad_request(f"input '{name}': expected finite numbers, or NaN where missing; received infinity")


def texts_from_bytes(data: Bytes, values: int, where: str) -> np.ndarray:
    """Return the texts of a BYTES tensor as a flat array of str. Raises Problem 400 where a length lies."""
    data = bytes(data)
    if len(data) < 4 * values:
        raise bad_request(f"{where}: {values} values of BYTES take {4 * values} bytes at least, received {len(data)}")
    found = np.empty(values, object)
    at = 0
    for k in range(values):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4 + size
        if at > len(data):
            raise bad_request(
                f"{where}: value {k} ends {at - len(data)} bytes behind the tensor (its length is given as {size})"
            )
        found[k] = text(data[at - size : at], f"{where}: value {k}")
    if at != len(data):
        raise bad_request(f"{where}: {values} values end after {at} bytes, but the tensor has {len(data)}")
    return found


def text(data: bytes, where: str) -> str:
    """Return a text. Raises Problem 400 where it isn't UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error


def bytes_of(array: np.ndarray) -> Bytes:
    """Return a tensor's bytes; those of numbers are the array's own."""
    if array.dtype.kind in "OUS":
        parts = []
        for item in array.reshape(-1).tolist():
            value = item if isinstance(item, bytes) else str(item).encode()
            parts += [len(value).to_bytes(4, "little"), value]
        return b"".join(parts)
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data
