"""TensorFlow's TensorProto ↔ NumPy, for the models' own shapes; nothing is made before its size is known to be right.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/tensor.proto
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.serving import messages
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.tensors import check_rows

# dtype: (the enum's name, the field with one value an element)
_FIELDS = {
    "float32": ("DT_FLOAT", "float_val"), "float64": ("DT_DOUBLE", "double_val"), "int32": ("DT_INT32", "int_val"),
    "uint8": ("DT_UINT8", "int_val"), "int16": ("DT_INT16", "int_val"), "int8": ("DT_INT8", "int_val"),
    "uint16": ("DT_UINT16", "int_val"), "string": ("DT_STRING", "string_val"), "int64": ("DT_INT64", "int64_val"),
    "bool": ("DT_BOOL", "bool_val"), "uint32": ("DT_UINT32", "uint32_val"), "uint64": ("DT_UINT64", "uint64_val"),
    "float16": ("DT_HALF", "half_val"),
}  # fmt: skip
_MOST_REPEATED = 16 << 20  # elements that a message of a few bytes may stand for
_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


def dtype_name(dtype: str) -> str:
    """Return TensorFlow's name of a NumPy dtype or "string", as "DT_FLOAT"."""
    return _FIELDS[dtype][0]


def dtype_number(dtype: str) -> int:
    """Return the number of TensorFlow's DataType for a NumPy dtype or "string"."""
    return messages.enum_values("tensorflow.DataType")[dtype_name(dtype)]


def _dtype_of(number: int, where: str) -> str:
    wanted = {messages.enum_values("tensorflow.DataType")[name]: dtype for dtype, (name, _) in _FIELDS.items()}
    if number not in wanted:
        raise bad_request(f"{where}: dtype {number} isn't read; expected one of {', '.join(sorted(wanted.values()))}")
    return wanted[number]


def shape_of(proto: Any, where: str) -> tuple[int, ...]:
    """Return a TensorProto's shape. Raises Problem 400 for an unknown rank or a negative size."""
    if proto.tensor_shape.unknown_rank:
        raise bad_request(f"{where}: the shape's rank is unknown; give every dimension")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise bad_request(f"{where}: the shape {list(shape)[:16]} has a negative size")
    return shape


def to_array(proto: Any, where: str) -> np.ndarray:
    """Return a TensorProto's values; strings are an object array of bytes.

    The values stand in `tensor_content`, or in the typed field; fewer than there are elements mean that the last one is
    repeated, none at all that all are zero.

    Raises:
        Problem: 400 where the values don't fit shape and dtype, 413 for too many elements.
    """
    shape = shape_of(proto, where)
    dtype, size = _dtype_of(proto.dtype, where), math.prod(shape)
    if proto.tensor_content:
        if dtype == "string":
            return _packed_strings(proto.tensor_content, size, where).reshape(shape)
        width = np.dtype(dtype).itemsize
        if len(proto.tensor_content) != size * width:
            raise bad_request(
                f"{where}: tensor_content has {len(proto.tensor_content)} bytes, the shape {list(shape)} of {dtype}"
                f" needs {size * width}"
            )
        return np.frombuffer(proto.tensor_content, np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)
    values = getattr(proto, _FIELDS[dtype][1])
    if len(values) > size:
        raise bad_request(f"{where}: {len(values)} values for the shape {list(shape)}, which has {size}")
    found = _typed(list(values), dtype, where)
    if len(found) < size:
        if size > _MOST_REPEATED:
            raise Problem(413, f"{where}: a value may be repeated to {_MOST_REPEATED:,} elements, not to {size:,}")
        last: Any = found[-1] if len(found) else (b"" if dtype == "string" else 0)
        whole = np.empty(size, found.dtype)
        whole[: len(found)] = found
        whole[len(found) :] = last
        found = whole
    return found.reshape(shape)


def _typed(values: list[Any], dtype: str, where: str) -> np.ndarray:
    if dtype == "string":
        array = np.empty(len(values), object)
        array[:] = values
        return array
    if dtype == "float16":  # its bits, as integers
        return np.array(values, np.uint32).astype(np.uint16).view(np.float16)
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise bad_request(f"{where}: a value is out of the range of {dtype}") from error


def _packed_strings(data: bytes, size: int, where: str) -> np.ndarray:
    """Return strings from `tensor_content`: all lengths as varints, then all bytes."""
    lengths, at = [], 0
    for _ in range(size):
        length, shift = 0, 0
        while True:
            if at >= len(data) or shift > 28:
                raise bad_request(f"{where}: tensor_content ends within the strings' lengths")
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(data):
        raise bad_request(f"{where}: the strings' lengths in tensor_content don't add up to its {len(data)} bytes")
    array = np.empty(size, object)
    for k, length in enumerate(lengths):
        array[k] = data[at : at + length]
        at += length
    return array


def check_shape(proto: Any, spec: TensorSpec, where: str) -> None:
    """Raise Problem 400 or 413 unless a TensorProto's shape is [rows, *spec.shape]."""
    shape = shape_of(proto, where)
    if not shape or not spec.fits(shape[1:]):
        raise bad_request(f"{where}: expected the shape {['rows', *spec.shape]}, received {list(shape)[:16]}")
    check_rows(shape[0], where)


def fitted(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    """Return an array as the tensor that the model takes: whole numbers may become fractions, never back.

    Raises:
        Problem: 400 for another kind or range.
    """
    if spec.dtype == "string" or array.dtype == object:
        if spec.dtype != "string" or array.dtype != object:
            raise bad_request(f"{where}: expected {_words(spec.dtype)}, received {_words(array.dtype.name)}")
        return texts(array, where)
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in _KINDS[wanted.kind]:
        raise bad_request(f"{where}: expected {spec.dtype}, received {array.dtype.name}")
    if wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise bad_request(f"{where}: expected {spec.dtype}, received {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def _words(dtype: str) -> str:
    return "DT_STRING" if dtype in ("string", "object") else _FIELDS[dtype][0]


def texts(array: np.ndarray, where: str) -> np.ndarray:
    """Return bytes as texts. Raises Problem 400 where some aren't UTF-8."""
    found = np.empty(array.size, object)
    try:
        for k, item in enumerate(array.ravel()):
            found[k] = item.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"{where}: a string isn't UTF-8") from error
    return found.reshape(array.shape)


def fill(proto: Any, array: np.ndarray) -> None:
    """Write an array into an empty TensorProto, by its typed field: clients in every language read that one."""
    dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
    name, field = _FIELDS[dtype]
    proto.dtype = messages.enum_values("tensorflow.DataType")[name]
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    flat = array.ravel()
    if dtype == "string":
        values: list[Any] = [item if isinstance(item, bytes) else str(item).encode() for item in flat]
    elif dtype == "float16":
        values = flat.view(np.uint16).tolist()
    else:
        values = flat.tolist()
    getattr(proto, field).extend(values)
