"""Read an inference request of the Open Inference Protocol v2: JSON, and tensors as bytes behind it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import count
from bedplate.core.errors import json_kind, json_text
from bedplate.serving.body import json_object
from bedplate.serving.exchange import Ask, Call, Question, after
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import (
    DATATYPES,
    ONLY_BINARY,
    Bytes,
    check_datatype,
    check_finite,
    check_shape,
    tensor_from_bytes,
    text,
)
from bedplate.serving.problems import bad_request
from bedplate.serving.tensors import refuse_truths, speaks_of_truths, tensor_from_flat

HEADER = "inference-header-content-length"
"""The header that says how many bytes of JSON come before the tensors' bytes."""

_LENGTH = re.compile(r"\d{1,15}")


@dataclass(slots=True)
class Asked:
    """What the reply needs: the request's id, and for each output whether it is wanted as bytes."""

    identity: str | None
    outputs: list[tuple[str, bool]]


def read(call: Call) -> Question:
    """Read one inference request over REST. Raises Problem 400 or 413."""
    ask: Ask = call.payload
    length = ask.headers.get(HEADER) if HEADER in ask.headers else None
    if length is None:
        return _question(json_object(ask.body), None, call.model, speaks_of_truths(ask.body))
    size = _header_size(length, len(ask.body))
    behind = memoryview(ask.body)[size:]
    if size == 0:
        return _raw(behind, call.model)
    return _question(json_object(ask.body[:size]), behind, call.model, speaks_of_truths(ask.body[:size]))


def _header_size(given: str, most: int) -> int:
    if not _LENGTH.fullmatch(given.strip()):
        raise bad_request(f"Inference-Header-Content-Length: expected a number of bytes, received {given[:40]!r}")
    size = int(given)
    if size > most:
        raise bad_request(f"Inference-Header-Content-Length: {size}, but the body has {most} bytes (unpacked)")
    return size


def _raw(body: memoryview, model: Model) -> Question:
    """Read a body that is nothing but the values of the only input; all outputs are answered as bytes."""
    if len(model.inputs) != 1:
        raise bad_request(
            f"Inference-Header-Content-Length: 0 is for models with one input, '{model.name}' has {len(model.inputs)}"
        )
    (spec,) = model.inputs
    where = f"input '{spec.name}'"
    if spec.dtype == "string":
        if spec.shape:
            raise bad_request(f"{where}: a raw body is one text, but a row here has the shape {list(spec.shape)}")
        array = np.array([text(bytes(body), where)], object)
    else:
        shape = check_shape(_raw_shape(len(body), spec, where), spec, where)
        array = tensor_from_bytes(body, DATATYPES[spec.dtype], shape, spec, where)
    return question({spec.name: array}, model, Asked(None, [(output.name, True) for output in model.outputs]))


def _raw_shape(size: int, spec: TensorSpec, where: str) -> list[int]:
    """Return the shape of a raw body: as many rows as fit, or one row where a size of its shape is free."""
    free = spec.shape.count(-1)
    if free > 1:
        raise bad_request(f"{where}: of a raw body only one size may be open, but a row has {list(spec.shape)}")
    each = math.prod(size for size in spec.shape if size != -1) * np.dtype(spec.dtype).itemsize
    whole, left = divmod(size, each)
    if left:
        raise bad_request(f"{where}: a raw body of {size} bytes ends within a row or value of {each} bytes")
    return [1, *(whole if one == -1 else one for one in spec.shape)] if free else [whole, *spec.shape]


def _question(request: dict[str, Any], behind: memoryview | None, model: Model, truths: bool) -> Question:
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise bad_request(f"id: expected a string, received {json_kind(identity)}")
    parameters = parameters_of(request, "the request")
    asked = Asked(identity, wanted(request.get("outputs"), parameters, model))
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for spec, entry in named_inputs(request.get("inputs"), model):
        where = f"input '{spec.name}'"
        size = _binary_size(entry, behind, where)
        if size is None:
            arrays[spec.name] = _from_json(entry, spec, where)
            if truths and spec.dtype not in ("bool", "string"):
                refuse_truths(entry["data"], where)
            continue
        assert behind is not None
        if at + size > len(behind):
            raise bad_request(
                f"{where}: binary_data_size is {size}, but only {len(behind) - at} bytes are left behind the JSON"
            )
        arrays[spec.name] = _from_bytes(behind[at : at + size], entry, spec, where)
        at += size
    if behind is not None and at != len(behind):
        raise bad_request(
            f"inputs: {len(behind)} bytes stand behind the JSON, but all binary_data_size together are {at}"
        )
    return question(arrays, model, asked, deadline_of(parameters.get("timeout")), binary=behind is not None)


def question(
    arrays: dict[str, np.ndarray], model: Model, asked: Asked, deadline: float | None = None, *, binary: bool = True
) -> Question:
    """Return the question of checked tensors, cleaned as the model's codec cleans them."""
    if binary and not model.is_tensor:  # plain tensors may hold what they like
        check_finite(arrays)
    inputs = model.cleaned(arrays, "inputs")
    return Question(inputs, count(inputs), asked, deadline)


def parameters_of(holder: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of a request, an input or an output; those that mean nothing here are ignored."""
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise bad_request(f"parameters of {where}: expected an object, received {json_kind(parameters)}")
    if "shared_memory_region" in parameters:
        raise bad_request(f"{where}: shared memory isn't offered; send the tensor's bytes or JSON")
    return parameters


def deadline_of(timeout: Any) -> float | None:
    """Return the deadline of `parameters.timeout`, in microseconds from now; 0 and None mean none."""
    if timeout is None:
        return None
    if type(timeout) is not int or not 0 <= timeout < 1 << 63:
        raise bad_request(f"parameters.timeout: expected whole microseconds, received {json_text(timeout)}")
    return after(timeout * 1e-6) if timeout else None


def named_inputs(inputs: Any, model: Model) -> list[tuple[TensorSpec, dict[str, Any]]]:
    """Return the request's inputs in its own order: each of the model's inputs once, and no other."""
    known = {spec.name: spec for spec in model.inputs}
    if not isinstance(inputs, list) or not all(isinstance(entry, dict) for entry in inputs):
        raise bad_request(f"inputs: expected a list of objects, received {json_kind(inputs)}")
    found: dict[str, tuple[TensorSpec, dict[str, Any]]] = {}
    for k, entry in enumerate(inputs):
        name = entry.get("name")
        if not isinstance(name, str) or name not in known:
            raise bad_request(f"inputs[{k}].name: expected one of {list(known)[:20]}, received {json_text(name, 100)}")
        if name in found:
            raise bad_request(f"inputs[{k}]: the input '{name}' is given twice")
        found[name] = known[name], entry
    missing = [name for name in known if name not in found]
    if missing:
        raise bad_request(f"inputs: missing {missing[:20]}")
    return list(found.values())


def wanted(outputs: Any, parameters: dict[str, Any], model: Model) -> list[tuple[str, bool]]:
    """Return the outputs that are asked for, in the request's order, and whether each is to be sent as bytes."""
    otherwise = _flag(parameters, "binary_data_output", "the request")
    known = {spec.name: spec for spec in model.outputs}
    if outputs is None or outputs == []:
        found = [(name, otherwise) for name in known]
    else:
        if not isinstance(outputs, list):
            raise bad_request(f"outputs: expected a list of objects, received {json_kind(outputs)}")
        found = []
        for k, entry in enumerate(outputs):
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or name not in known:
                raise bad_request(f"outputs[{k}].name: expected one of {list(known)}, received {json_text(name, 100)}")
            own = parameters_of(entry, f"output '{name}'")
            if own.get("classification"):
                raise bad_request(f"output '{name}': classification isn't offered; ask for the whole tensor")
            found.append((name, _flag(own, "binary_data", f"output '{name}'", otherwise)))
        if len({name for name, _ in found}) < len(found):
            raise bad_request("outputs: an output is asked for twice")
    for name, binary in found:
        if not binary and DATATYPES[known[name].dtype] in ONLY_BINARY:
            raise bad_request(f"output '{name}': {DATATYPES[known[name].dtype]} is sent as bytes only; ask binary_data")
    return found


def _flag(parameters: dict[str, Any], name: str, where: str, otherwise: bool = False) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise bad_request(f"{name} of {where}: expected true or false, received {json_kind(value)}")
    return value


def _binary_size(entry: dict[str, Any], behind: memoryview | None, where: str) -> int | None:
    """Return how many bytes behind the JSON are an input's, or None where its values stand in the JSON."""
    size = parameters_of(entry, where).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise bad_request(f"{where}: binary_data_size: expected a number of bytes, received {json_text(size)}")
    if behind is None:
        raise bad_request(f"{where}: binary_data_size without the header Inference-Header-Content-Length")
    if "data" in entry:
        raise bad_request(f"{where}: give either data or binary_data_size")
    return size


def _from_bytes(data: Bytes, entry: dict[str, Any], spec: TensorSpec, where: str) -> np.ndarray:
    datatype = entry.get("datatype")
    check_datatype(datatype, spec, where)
    return tensor_from_bytes(data, str(datatype), check_shape(entry.get("shape"), spec, where), spec, where)


def _from_json(entry: dict[str, Any], spec: TensorSpec, where: str) -> np.ndarray:
    datatype = entry.get("datatype")
    check_datatype(datatype, spec, where)
    if datatype in ONLY_BINARY:
        raise bad_request(f"{where}: {datatype} is sent as bytes only, with binary_data_size")
    shape = check_shape(entry.get("shape"), spec, where)
    data = entry.get("data")
    if not isinstance(data, list):
        raise bad_request(f"{where}: data must be a list, received {json_kind(data)}")
    array = tensor_from_flat(data, shape, spec, where)
    if datatype != DATATYPES[spec.dtype]:  # FP32 for an FP64 input: the numbers that FP32 holds, as in bytes
        with np.errstate(over="ignore"):
            array = array.astype(np.float32).astype(spec.dtype)
        if np.isinf(array).any():
            raise bad_request(f"{where}: expected numbers within FP32")
    return array
