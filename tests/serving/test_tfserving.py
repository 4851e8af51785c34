"""TensorFlow Serving's REST interface, with its error texts."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images, table_rows

from bedplate.bundle import Bundle

PIXELS = images(3, seed=21)


def test_row_and_column_forms_of_images(client: httpx.Client, image_box: Bundle, png: bytes) -> None:
    expected = image_box.predictor()({"image": PIXELS})["probabilities"]
    rows = PIXELS.tolist()
    forms: list[tuple[str, Any]] = [
        ("predictions", {"instances": rows}),
        ("predictions", {"instances": [{"image": row} for row in rows]}),
        ("predictions", {"instances": PIXELS[..., 0].tolist()}),
        ("predictions", {"signature_name": "serving_default", "instances": rows}),
        ("outputs", {"inputs": {"image": rows}}),
        ("outputs", {"inputs": rows}),
    ]
    for key, request in forms:
        for base in ("/v1/models/small:predict", "/v1/models/small/versions/1:predict"):
            reply = client.post(base, json=request)
            assert reply.status_code == 200, reply.text
            np.testing.assert_array_equal(np.array(reply.json()[key], np.float32), expected)
    b64 = {"b64": base64.b64encode(png).decode()}
    expected = image_box.predictor()(image_box.codec.decode([png]))["probabilities"]
    for instance in (b64, {"image": b64}):
        reply = client.post("/v1/models/small:predict", json={"instances": [instance]})
        np.testing.assert_array_equal(np.array(reply.json()["predictions"], np.float32), expected)


def test_rows_and_columns_of_a_table(client: httpx.Client, table_box: Bundle) -> None:
    rows = table_rows(4, seed=31)
    expected = [answer["value"] for answer in table_box.predict(rows)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    tensors = {
        name: [None if v == "" or v != v else v for v in array.tolist()]
        for name, array in table_box.codec.decode(rows).items()
    }
    for key, request in (
        ("predictions", {"instances": rows}),
        ("outputs", {"inputs": columns}),
        ("outputs", {"inputs": tensors}),
    ):
        reply = client.post("/v1/models/prices:predict", json=request)
        assert reply.status_code == 200, reply.text
        np.testing.assert_allclose(reply.json()[key], expected, rtol=1e-6)


def test_status_and_metadata(client: httpx.Client) -> None:
    expected = {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    for path in ("/v1/models/small", "/v1/models/small/versions/1"):
        assert client.get(path).json() == expected
    metadata = client.get("/v1/models/small/metadata").json()
    assert metadata["model_spec"] == {"name": "small", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image"]["dtype"] == "DT_UINT8"
    assert [d["size"] for d in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]] == ["-1", "3"]
    assert client.get("/v1/models").json() == {"models": ["prices", "small"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error"),
        (b"[]", "JSON Parse error: expected an object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": [1], "inputs": [1]}', "both"),
        (b'{"instances": []}', "at least one row"),
        (b'{"instances": {}}', "at least one row"),
        (b'{"instances": [5]}', "received a number"),
        (b'{"instances": [[[1, 2], [3]]]}', "ragged"),
        (b'{"instances": [[[1, 2], [3, 4]]]}', "shape [8, 8, 1]"),
        (b'{"instances": [{"pixels": []}]}', "'image' or 'b64'"),
        (b'{"inputs": {"pixels": []}}', "expected the input 'image'"),
        (b'{"inputs": {"image": []}}', "no rows"),
        (b'{"instances": [[NaN]]}', "NaN and Infinity"),
        (b'{"signature_name": "x", "instances": [1]}', 'Serving signature name: "x" not found in signature def'),
    ],
)
def test_requests_that_do_not_fit(client: httpx.Client, body: bytes, message: str) -> None:
    reply = client.post("/v1/models/small:predict", content=body)
    assert reply.status_code == 400
    assert message in reply.json()["error"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"age": [1, 2], "town": ["east"], "since": [None]}, "different numbers of rows"),
        ({"age": [1], "town": ["east"]}, "lacks column 'since'"),
        ({"age": 1, "town": "east", "since": None}, "expected a list"),
        ([1, 2], "expected an object with a list a column"),
        ({}, "no rows"),
    ],
)
def test_columns_that_do_not_fit(client: httpx.Client, inputs: Any, message: str) -> None:
    reply = client.post("/v1/models/prices:predict", json={"inputs": inputs})
    assert reply.status_code == 400
    assert message in reply.json()["error"]


def test_what_is_not_there(client: httpx.Client) -> None:
    missing = client.post("/v1/models/none:predict", json={"instances": [1]})
    assert (missing.status_code, missing.json()["error"]) == (404, "Servable not found for request: Latest(none)")
    version = client.get("/v1/models/small/versions/9")
    assert (version.status_code, version.json()["error"]) == (404, "Servable not found for request: Specific(small, 9)")
    assert client.get("/v1/models/none/metadata").status_code == 404
    assert client.post("/v1/models/small:classify", json={}).status_code == 501
    assert "Malformed request: POST" in client.post("/v1/models/small:guess", json={}).json()["error"]
    assert client.get("/v1/models/small:predict").status_code == 405
