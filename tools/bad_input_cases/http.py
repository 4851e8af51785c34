"""Bad requests. The server holds `digits` (images) and `orders` (a table)."""

from __future__ import annotations

import gzip
import json

from tools.bad_input_cases.case import Request
from tools.bad_input_cases.images import _bomb, picture

PNG = "image/png"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _row(**more: object) -> bytes:
    return _json({"amount": 70, "city": "Rome", **more})


REQUESTS = (
    Request("a model that isn't served", "/predict/digitz", picture(1), ("no model 'digitz'", "digits"), 404, PNG),
    Request("a path that isn't there", "/nothing", b"{}", ("nothing is served at /nothing",), 404),
    Request("GET where POST is due", "/predict/digits", b"", ("GET isn't answered",), 405, PNG, "GET"),
    Request("an empty body", "/predict/digits", b"", ("the body is empty",), 400, PNG),
    Request("a text for a picture", "/predict/digits", b"hello", ("not an image",), 400, PNG),
    Request("a picture cut short", "/predict/digits", picture(1, size=(60, 50))[:2000], ("truncated or damaged",), 400, PNG),
    Request("a decompression bomb", "/predict/digits", _bomb(), ("too large to decode safely",), 400, PNG),
    Request("a form without a file", "/predict/digits", b"--x--", ("holds no file", "send one"), 400, "multipart/form-data; boundary=x"),
    Request("broken JSON", "/predict/orders", b'{"amount": ', ("JSON",)),
    Request("NaN in JSON", "/predict/orders", b'{"amount": NaN, "city": "Rome"}', ("NaN", "null")),
    Request("infinity in JSON", "/predict/orders", b'{"amount": 1e999, "city": "Rome"}', ("infinity",)),
    Request("a number where a row is due", "/predict/orders", b"7", ("expected a JSON object or a list",)),
    Request("no rows", "/predict/orders", b"[]", ("no rows",)),
    Request("text in a column of numbers", "/predict/orders", _row(amount="lots"), ("column 'amount'", "a number", "'lots'")),
    Request("a list in a cell", "/predict/orders", _row(city=["Rome"]), ("column 'city'",)),
    Request("a misspelt column", "/predict/orders", _json({"amont": 70, "city": "Rome"}), ("did you mean 'amount'?",)),
    Request("a column that isn't there", "/predict/orders", _json({"city": "Rome"}), ("lacks column 'amount'", "null")),
    Request("a column too many", "/predict/orders", _row(colour="red"), ("unknown column 'colour'",)),
    Request("a category that training never saw", "/predict/orders", _row(city="Atlantis"), ("answer",), 200),
    Request("a missing value", "/predict/orders", _row(amount=None), ("answer",), 200),
    Request("more rows than a request may hold", "/predict/orders", _json([{"amount": 1, "city": "Rome"}] * 10_001), ("10,000",), 413),
    Request("a ragged CSV", "/predict/orders", b"amount,city\n3\n", ("another number of values",), 400, "text/csv"),
    Request("CSV of another encoding", "/predict/orders", "amount,city\n3,Köln\n".encode("cp1252"), ("utf-8",), 400, "text/csv"),
    Request("a packed CSV", "/predict/orders", gzip.compress(b"amount,city\n3,Rome\n"), ("gzip",), 415, "text/csv"),
    Request("OIP: an image of another shape", "/v2/models/digits/infer", _json({"inputs": [{"name": "image", "shape": [1, 2, 2, 1], "datatype": "UINT8", "data": [1, 2, 3, 4]}]}), ("shape",)),
    Request("OIP: another datatype", "/v2/models/digits/infer", _json({"inputs": [{"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0.5] * 64}]}), ("UINT8",)),
    Request("OIP: an unknown input", "/v2/models/digits/infer", _json({"inputs": [{"name": "imago", "shape": [1], "datatype": "UINT8", "data": [1]}]}), ("image",)),
    Request("OIP: no inputs", "/v2/models/digits/infer", b"{}", ("inputs",)),
    Request("OIP: a pixel out of range", "/v2/models/digits/infer", _json({"inputs": [{"name": "image", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [300] * 64}]}), ("300",)),
    Request("TF-Serving: no instances", "/v1/models/digits:predict", b"{}", ("instances",)),
    Request("TF-Serving: an image of another shape", "/v1/models/digits:predict", _json({"instances": [[[1, 2], [3, 4]]]}), ("shape",)),
    Request("TF-Serving: an unknown model", "/v1/models/digitz:predict", _json({"instances": [1]}), ("digitz",), 404),
)  # fmt: skip
