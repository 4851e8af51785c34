"""Describe a served model for people and for the page: what to give it, with examples from its golden rows."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image

from bedplate.bundle.golden import PROMPT
from bedplate.codecs.codec import SEPARATOR, TOKENS
from bedplate.codecs.columns import ColumnSchema, tensor_names
from bedplate.codecs.table import TableCodec
from bedplate.codecs.words import END
from bedplate.core.arrays import Arrays, count
from bedplate.serving.models import Model

MOST_EXAMPLES = 12
MOST_CHOICES = 40
MOST_VALUES = 4096


def describe(model: Model) -> dict[str, Any]:
    """Return a model's name, id, task, answers, inputs and some examples, as JSON."""
    bundle = model.bundle
    answers = bundle.answers
    kind = bundle.codec.kind
    found: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "bundle": bundle.id,
        "task": bundle.task,
        "variant": model.chosen.variant,
        "kind": kind,
        "target": answers.target,
        "labels": None if answers.labels is None else list(answers.labels),
        "predict": f"/predict/{model.name}",
    }
    if isinstance(bundle.codec, TableCodec):
        return found | {"columns": table_columns(bundle.codec), "examples": table_examples(model, bundle.codec)}
    if answers.columns is not None:
        found["columns"] = list(answers.columns)
    if answers.tags is not None:
        found["tags"] = list(answers.tags)
    if answers.many is not None:
        found["any_of"] = list(answers.many)
    other = answers.columns is not None or answers.tags is not None or answers.dimensions > 0
    if answers.tensors is not None or other:
        found["outputs"] = [spec.to_json() for spec in model.outputs]
    if model.streams is not None:
        template = model.streams.generator.codec.template
        found["template"] = None if template is None else asdict(template)
        return found | {"inputs": [spec.to_json() for spec in model.inputs], "examples": text_examples(model)}
    if model.is_tensor:
        inputs = [spec.to_json() for spec in model.inputs]
        examples = tensor_examples(bundle.golden.inputs)
        if kind == "sentence":
            examples = [{name: text.replace(END, " ").strip() for name, text in row.items()} for row in examples]
        return found | {"inputs": inputs, "examples": examples}
    height, width, channels = model.inputs[0].shape
    return found | {
        "image": {"height": height, "width": width, "channels": channels},
        "examples": image_examples(bundle.golden.inputs[model.inputs[0].name]),
    }


def text_examples(model: Model) -> list[dict[str, Any]]:
    """Return the beginnings of a few golden texts as payloads; of texts with answers the texts that are whole."""
    assert model.streams is not None
    codec, tokens = model.streams.generator.codec, model.bundle.golden.inputs[TOKENS][:MOST_EXAMPLES]
    if codec.pairs:
        whole = [row[: row.index(SEPARATOR)] for row in tokens.tolist() if SEPARATOR in row]
        return [{"text": codec.text(row)} for row in whole if row]
    return [{"text": codec.text(row[:PROMPT])} for row in tokens.tolist()]


def tensor_examples(inputs: Arrays) -> list[dict[str, Any]]:
    """Return a few golden rows as payloads, an object by input name; none where they are too long to show."""
    size = sum(array[0].size if array.ndim > 1 else 1 for array in inputs.values())
    rows = count(inputs) if size <= MOST_VALUES else 0
    return [
        {name: array[row].tolist() if array.ndim > 1 else array[row] for name, array in inputs.items()}
        for row in range(min(rows, MOST_EXAMPLES))
    ]


def table_columns(codec: TableCodec) -> list[dict[str, Any]]:
    """Return the columns that a row must have: name, type, and for a category the values seen in training."""
    tensors = tensor_names(codec.columns)
    known = {item.tensor: item for item in codec.learned.categories if not item.codes}
    found = []
    for column in codec.columns:
        if not column.read:
            continue
        entry: dict[str, Any] = {"name": column.name, "type": "time" if column.form == "clock" else column.type}
        item = known.get(tensors.get((column.name, ""), ""))
        if column.type == "category" and item is not None and len(item.values) <= MOST_CHOICES:
            entry["values"] = [str(value) for value in item.values]
        found.append(entry)
    return found


def table_examples(model: Model, codec: TableCodec) -> list[dict[str, Any]]:
    """Return a few golden rows as payloads: column to value, null where missing."""
    golden = model.bundle.golden
    names = tensor_names(codec.columns)
    return [
        {column.name: _cell(column, golden.inputs, names, row) for column in codec.columns if column.read}
        for row in range(min(golden.rows, MOST_EXAMPLES))
    ]


def _cell(column: ColumnSchema, inputs: Arrays, names: dict[tuple[str, str], str], row: int) -> Any:
    if column.type == "category":
        return str(inputs[names[column.name, ""]][row]) or None
    part = "" if column.type == "number" else "hour" if column.form == "clock" else "days"
    value = float(inputs[names[column.name, part]][row])
    if math.isnan(value):
        return None
    if column.type == "number":
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    if column.form == "clock":
        minutes = min(round(value * 60), 24 * 60 - 1)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    try:
        moment = datetime(1970, 1, 1) + timedelta(days=value)
    except OverflowError:
        return None
    return moment.replace(microsecond=0).isoformat(sep=" ") if column.clock else moment.date().isoformat()


def image_examples(images: np.ndarray) -> list[dict[str, str]]:
    """Return a few golden images as `{"b64": PNG}`, of the model's own size."""
    return [{"b64": base64.b64encode(to_png(image)).decode()} for image in images[:MOST_EXAMPLES]]


def to_png(image: np.ndarray) -> bytes:
    """Return a uint8 image [H,W,C] as PNG."""
    page = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()
