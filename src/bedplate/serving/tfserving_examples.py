"""TensorFlow Serving's classify and regress: tf.Examples, as JSON or as messages, by a mapping that is declared here.

A feature is a list of values under a name. A table's feature is its column with one value; an empty list means missing.
An image's is its tensor's name (or "image/encoded"): the encoded file, or all pixels in row-major order. Of a model of
plain tensors it is the input's name with all values of one row. What the context holds counts for every example that
doesn't say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bedplate.codecs.codec import STRINGS, TensorSpec
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import json_kind
from bedplate.serving.exchange import Ask, Call, Question
from bedplate.serving.models import Model, decode_base64
from bedplate.serving.problems import bad_request
from bedplate.serving.tensors import check_rows
from bedplate.serving.tfserving_read import SIGNATURE, is_base64, parse_object, signature_name

CLASSIFY, REGRESS = "classify", "regress"
METHOD = {verb: f"tensorflow/serving/{verb}" for verb in (CLASSIFY, REGRESS, "predict")}
SIGNATURES = {CLASSIFY: "classification", REGRESS: "regression"}

ENCODED = "image/encoded"

Features = dict[str, list[Any]]


def answers_to(model: Model) -> str:
    """Return which of the verbs a model answers: "classify", "regress", or "" for plain tensors."""
    answers = model.bundle.answers
    if answers.dimensions or any(one is not None for one in (answers.many, answers.tags, answers.tensors)):
        return ""
    return REGRESS if answers.labels is None else CLASSIFY


def check_verb(model: Model, verb: str, signature: str) -> None:
    """Raise Problem 400 unless a model answers a verb under a signature's name ("" takes the default)."""
    own = answers_to(model)
    if signature not in ("", SIGNATURE, SIGNATURES[verb]):
        raise bad_request(f"No signature was found with the name: {signature[:100]}")
    if own != verb:
        kind = "classification" if verb == CLASSIFY else "regression"
        instead = f"; ask it with :{own}" if own else "; ask it with :predict"
        raise bad_request(
            f"Expected {kind} signature method_name to be {METHOD[verb]}. Was: {METHOD[own or 'predict']}{instead}"
        )


def read_json(call: Call, verb: str) -> Question:
    """Read a classify or regress request as JSON."""
    ask: Ask = call.payload
    request = parse_object(ask.body)
    check_verb(call.model, verb, signature_name(request))
    if "examples" not in request:
        raise bad_request(f"When method is {verb}, key 'examples' is expected and was not found")
    examples = request["examples"]
    if not isinstance(examples, list):
        raise bad_request(f"Expecting 'examples' value to be an list/array, received {json_kind(examples)}")
    if not examples:
        raise bad_request("'examples' value is an empty array")
    check_rows(len(examples), "examples")
    context = _json_features(request["context"], "context") if "context" in request else {}
    rows = [context | _json_features(example, f"examples[{k}]") for k, example in enumerate(examples)]
    return question(call.model, rows)


def _json_features(example: Any, where: str) -> Features:
    if not isinstance(example, dict):
        raise bad_request(f"{where}: Example must be JSON object but got JSON {json_kind(example)}")
    return {
        name: [
            _json_value(item, f"{where}, Feature: {name[:100]}")
            for item in (value if isinstance(value, list) else [value])
        ]
        for name, value in example.items()
    }


def _json_value(value: Any, where: str) -> Any:
    if is_base64(value):
        return decode_base64(value, where)
    if value is None or isinstance(value, (dict, list)):
        raise bad_request(f"{where} has element with unexpected JSON type: {json_kind(value)}")
    return value


def read_message(model: Model, given: Any) -> Question:
    """Read a `tensorflow.serving.Input`."""
    kind = given.WhichOneof("kind")
    if kind is None:
        raise bad_request("Input is empty.")
    found = getattr(given, kind)
    if not found.examples:
        raise bad_request("Input is empty.")
    check_rows(len(found.examples), "examples")
    context = _features(found.context) if kind == "example_list_with_context" else {}
    return question(model, [context | _features(example) for example in found.examples])


def _features(example: Any) -> Features:
    found: Features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = [] if kind is None else list(getattr(feature, kind).value)
    return found


def question(model: Model, rows: list[Features]) -> Question:
    """Return the tensors of examples. Raises Problem 400 where they don't fit the model."""
    if model.is_table:
        arrays = model.decode([_table_row(row, f"examples[{k}]") for k, row in enumerate(rows)])
    elif model.bundle.codec.kind == "image":
        arrays = _images(model, rows)
    else:
        arrays = {spec.name: _stacked(spec, rows) for spec in model.inputs}
    if model.bundle.codec.kind in STRINGS:
        arrays = model.cleaned(arrays, "examples")
    return Question(arrays, count(arrays))


def _table_row(features: Mapping[str, list[Any]], where: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, values in features.items():
        if len(values) > 1:
            raise bad_request(f"{where}, Feature: {name[:100]}: expected one value, received {len(values)}")
        row[name] = _as_text(values[0], f"{where}, Feature: {name[:100]}") if values else None
    return row


def _as_text(value: Any, where: str) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"{where}: the bytes aren't UTF-8") from error


def _images(model: Model, rows: list[Features]) -> Arrays:
    spec = model.inputs[0]
    given: list[list[Any]] = []
    for k, features in enumerate(rows):
        names = {spec.name, ENCODED} & features.keys()
        if len(names) != 1 or len(features) != 1:
            raise bad_request(
                f"examples[{k}]: expected the one feature '{spec.name}' (or '{ENCODED}'), received"
                f" {sorted(features)[:8]}"
            )
        given.append(features[names.pop()])
    encoded = [len(values) == 1 and isinstance(values[0], bytes) for values in given]
    if all(encoded):
        return model.decode([values[0] for values in given])
    if any(encoded):
        raise bad_request("examples: give all images as encoded bytes, or all as numbers")
    return {spec.name: np.stack([_row(spec, values, f"examples[{k}]") for k, values in enumerate(given)])}


def _stacked(spec: TensorSpec, rows: list[Features]) -> np.ndarray:
    for k, features in enumerate(rows):
        if spec.name not in features:
            raise bad_request(f"examples[{k}]: the feature '{spec.name}' is missing; received {sorted(features)[:8]}")
    return np.stack([_row(spec, features[spec.name], f"examples[{k}]") for k, features in enumerate(rows)])


def _row(spec: TensorSpec, values: list[Any], where: str) -> np.ndarray:
    """Return one row of a tensor from its flat values."""
    place = f"{where}, Feature: {spec.name}"
    if spec.shape.count(-1):
        raise bad_request(f"{place}: a tensor of any size can't be given as a feature; ask with :predict")
    if len(values) != math.prod(spec.shape):
        raise bad_request(
            f"{place}: the shape {list(spec.shape)} needs {math.prod(spec.shape)} values, got {len(values)}"
        )
    if spec.dtype == "string":
        array = np.empty(len(values), object)
        for k, value in enumerate(values):
            array[k] = _as_text(value, place)
            if not isinstance(array[k], str):
                raise bad_request(f"{place}: expected strings, received {json_kind(value)}")
        return array.reshape(spec.shape)
    whole = spec.dtype != "bool" and not spec.dtype.startswith("float")
    if not _all_of(values, (int,) if whole or spec.dtype == "bool" else (int, float)):
        raise bad_request(f"{place}: expected {'whole numbers' if whole else spec.dtype}")
    if whole and values and not np.iinfo(spec.dtype).min <= min(values) <= max(values) <= np.iinfo(spec.dtype).max:
        raise bad_request(f"{place}: expected {spec.dtype}, received {min(values)} to {max(values)}")
    with np.errstate(over="ignore"):
        return np.array(values).astype(spec.dtype).reshape(spec.shape)


def _all_of(values: Iterable[Any], types: tuple[type, ...]) -> bool:
    return all(isinstance(value, types) for value in values)


def results(model: Model, outputs: Arrays) -> list[Any]:
    """Return one result a row: [label, score] for all labels, or the value."""
    answers = model.bundle.answers
    array = outputs[model.output.name]
    if answers.labels is None:
        return [float(value) for value in _short(array.reshape(-1))]
    return [[[label, score] for label, score in zip(answers.labels, row, strict=True)] for row in _short(array)]


def _short(array: np.ndarray) -> list[Any]:
    """Return a float32 array's numbers with as few digits as tell them apart."""
    values: list[Any] = array.astype(str).astype(np.float64).tolist()
    return values
