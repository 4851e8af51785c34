"""TensorFlow Serving's predict requests as JSON → checked tensors.

It is more lenient than JSON: NaN, Infinity and -Infinity are numbers, and text after the closing brace is ignored. Such
requests take a slower parser; all others take the usual one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson

from bedplate.codecs.codec import STRINGS, TEXT, TensorSpec
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import json_kind
from bedplate.serving.exchange import Ask, Call, Question
from bedplate.serving.models import Model, decode_base64
from bedplate.serving.problems import bad_request
from bedplate.serving.tensors import check_rows, speaks_of_truths, tensor_from_nested

SIGNATURE = "serving_default"


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Problem 400."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        value = _parse_leniently(data, str(error))
    if not isinstance(value, dict):
        raise bad_request(f"JSON Parse error: expected an object, received {json_kind(value)}")
    return value


def _parse_leniently(data: bytes, reason: str) -> Any:
    try:
        text = data.decode().lstrip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise bad_request(f"JSON Parse error: the body isn't UTF-8 ({error.reason} at {error.start})") from error
    if not text:
        raise bad_request("JSON Parse error: The document is empty")
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half a pair: no text, and nothing that a reply could repeat
        raise bad_request("JSON Parse error: The surrogate pair in string is invalid.") from error
    except RecursionError as error:
        raise bad_request("JSON Parse error: nested too deep") from error
    except ValueError as error:
        raise bad_request(f"JSON Parse error: {reason}") from error
    return value


def signature_name(request: Mapping[str, Any]) -> str:
    """Return the signature that a request asks for; "" where it names none. Raises Problem 400."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise bad_request(f"'signature_name' key must be a string value, received {json_kind(name)}")
    return name


def is_base64(value: Any) -> bool:
    """Return whether a JSON value is `{"b64": "…"}`."""
    return isinstance(value, dict) and value.keys() == {"b64"}


def read_predict(call: Call) -> Question:
    """Read one predict request; its notes say under which key the answer goes."""
    ask: Ask = call.payload
    request = parse_object(ask.body)
    signature = signature_name(request) or SIGNATURE
    if signature != SIGNATURE:
        raise bad_request(f'Serving signature name: "{signature[:100]}" not found in signature def')
    if "instances" not in request and "inputs" not in request:
        raise bad_request("Missing 'inputs' or 'instances' key")
    if "instances" in request and "inputs" in request:
        raise bad_request("Request has both 'instances' and 'inputs'; give one")
    own, texts = call.model.is_tensor, call.model.bundle.codec.kind in STRINGS
    if "instances" in request:
        rows = request["instances"]
        if not isinstance(rows, list) or not rows:
            raise bad_request(f"instances: expected a list with at least one row, received {json_kind(rows)}")
        check_rows(len(rows), "instances")
        rows = [call.model.in_one_string(row) for row in rows]
        arrays = _tensor_rows(call.model, rows) if own else call.model.decode_json(rows, "instances")
        if speaks_of_truths(ask.body):
            call.model.refuse_truths(rows, "instances")
        return Question(call.model.cleaned(arrays, "instances") if texts else arrays, len(rows), "predictions")
    arrays = _tensor_columns(call.model, request["inputs"]) if own else _columns(call.model, request["inputs"])
    if speaks_of_truths(ask.body):
        call.model.refuse_truths(request["inputs"], "inputs")
    return Question(call.model.cleaned(arrays, "inputs") if texts else arrays, count(arrays), "outputs")


def _columns(model: Model, inputs: Any) -> Arrays:
    """Return the tensors of `inputs` for a table or an image."""
    if isinstance(inputs, dict):
        return model.decode_columns(inputs, "inputs")
    if model.is_table:
        raise bad_request(f"inputs: expected an object with a list a column, received {json_kind(inputs)}")
    return model.decode_columns({model.inputs[0].name: inputs}, "inputs")


def _tensor_rows(model: Model, rows: list[Any]) -> Arrays:
    """Return the tensors of `instances`: objects with exactly the inputs' names, or bare values for the one input."""
    names = [spec.name for spec in model.inputs]
    named = isinstance(rows[0], dict) and not is_base64(rows[0])
    if not named:
        if len(names) > 1:
            raise bad_request(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
                f" tensorinfo_map: {', '.join(sorted(names))}"
            )
        stray = next((k for k, row in enumerate(rows) if isinstance(row, dict) and not is_base64(row)), None)
        if stray is not None:
            raise bad_request(f"Expecting value/list but got object at item {stray} of input list")
        return {names[0]: tensor(rows, model.inputs[0], "instances")}
    for k, row in enumerate(rows):
        if not isinstance(row, dict) or is_base64(row):
            raise bad_request(f"Expecting object but got list at item {k} of input list")
        if row.keys() != set(names):
            raise bad_request(
                f"Failed to process element: {k} of 'instances' list. JSON object: keys must be equal to:"
                f" {','.join(sorted(names))}; received {','.join(sorted(row))[:200]}"
            )
    return {
        spec.name: tensor([row[spec.name] for row in rows], spec, f"instances, key '{spec.name}'")
        for spec in model.inputs
    }


def _tensor_columns(model: Model, inputs: Any) -> Arrays:
    """Return the tensors of `inputs`: an object by name, or the bare value of the one input."""
    if not isinstance(inputs, dict) or is_base64(inputs):
        if len(model.inputs) > 1:
            raise bad_request(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                f" tensorinfo_map: {', '.join(sorted(spec.name for spec in model.inputs))}"
            )
        inputs = {model.inputs[0].name: inputs}
    for spec in model.inputs:
        if spec.name not in inputs:
            raise bad_request(f"Missing named input: {spec.name} in 'inputs' object.")
    if isinstance(inputs.get(TEXT), list):
        inputs = {**inputs, TEXT: [model.in_one_string(row) for row in inputs[TEXT]]}
    arrays = {spec.name: tensor(inputs[spec.name], spec, f"inputs['{spec.name}']") for spec in model.inputs}
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) > 1:
        raise bad_request(f"inputs: the inputs have different numbers of rows ({min(sizes)} to {max(sizes)})")
    return arrays


def tensor(value: Any, spec: TensorSpec, where: str) -> np.ndarray:
    """Return nested JSON lists as a tensor [rows, …]; strings may be base64 objects, floats NaN and infinite.

    Raises:
        Problem: 400 for a wrong type, rank, shape or range, 413 for too many rows.
    """
    if not isinstance(value, list):
        raise bad_request(f"{where}: expected a list of rows, received {json_kind(value)}")
    check_rows(len(value), where)
    if spec.dtype == "string":
        return _texts(value, spec, where)
    found = _floats(value, spec, where) if spec.dtype.startswith("float") else None
    return tensor_from_nested(value, spec, where) if found is None else found


def _floats(value: list[Any], spec: TensorSpec, where: str) -> np.ndarray | None:
    """Return nested numbers, NaN and infinite ones too; None where they aren't numbers in lists of the spec's shape."""
    try:
        flat: Iterable[Any] = value
        for _ in spec.shape:
            flat = chain.from_iterable(flat)
        kinds = set(map(type, flat))
        if bool not in kinds:
            found = np.array(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if bool in kinds:  # which NumPy would take for numbers
        raise bad_request(f"{where}: expected numbers, received true or false")
    if found.dtype.kind not in "iuf":
        return None
    if not spec.fits(found.shape[1:]):
        raise bad_request(
            f"{where}: each row must have the shape {list(spec.shape)}, received {list(found.shape[1:])[:16]}"
        )
    most = np.finfo(spec.dtype)
    if found.dtype.kind != "f":
        lossy = found.size and max(abs(int(found.min())), abs(int(found.max()))) >= 1 << (most.nmant + 1)
    else:
        lossy = bool((np.isfinite(found) & (np.abs(found) > most.max)).any())
    if lossy:
        raise bad_request(f"{where}: Cannot convert JSON value to {spec.dtype} without loss of precision.")
    return found.astype(spec.dtype)


def _texts(value: list[Any], spec: TensorSpec, where: str) -> np.ndarray:
    """Return nested strings; `{"b64": …}` stands for the text that its bytes are."""
    level: list[Any] = value
    found = [len(value)]
    for _ in spec.shape:
        if not all(isinstance(item, list) for item in level) or len({len(item) for item in level}) != 1:
            raise bad_request(f"{where}: each row must have the shape {list(spec.shape)}; it is ragged, or flatter")
        found.append(len(level[0]))
        level = [item for part in level for item in part]
    shape = found[1:]
    if not spec.fits(shape):
        raise bad_request(f"{where}: each row must have the shape {list(spec.shape)}, received {shape}")
    array = np.empty(math.prod(found), object)
    for k, item in enumerate(level):
        array[k] = _text(item, where)
    return array.reshape(found)


def _text(item: Any, where: str) -> str:
    if isinstance(item, str):
        return item
    if not is_base64(item):
        raise bad_request(f"{where}: expected strings, received {json_kind(item)}")
    try:
        return decode_base64(item, where).decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"{where}: the base64 data isn't UTF-8, which this model's strings are") from error
