"""TensorFlow Serving's REST interface, with its error texts."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bundle.boxes import images, table_rows
from tests.serving.echo import Asking, asking, echo_bundle, open_bundle, values

from bedplate.bundle import Bundle
from bedplate.serving.app import application
from bedplate.serving.asgi import AsgiApp
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.tfserving import _as_json

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
    assert client.get("/v1/models/small/versions/1").json() == expected
    status = client.get("/v1/models/small").json()  # beside it what KServe's and OpenAI's clients read
    assert status == {**status, "name": "small", "ready": True, **expected}
    assert set(status) == {"name", "ready", "id", "object", "created", "owned_by", *expected}
    metadata = client.get("/v1/models/small/metadata").json()
    assert metadata["model_spec"] == {"name": "small", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image"]["dtype"] == "DT_UINT8"
    assert [d["size"] for d in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]] == ["-1", "3"]
    assert client.get("/v1/models").json()["models"] == ["prices", "small"]


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
        (b'{"instances": [[NaN]]}', "expected whole numbers"),
        (b'{"instances": [[Nan]]}', "JSON Parse error"),
        (b'{"instances": "\xff"}', "isn't UTF-8"),
        (b"[" * 200_000, "JSON Parse error"),
        (b'{"signature_name": 5, "instances": [1]}', "'signature_name' key must be a string value"),
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
    version = client.post("/v1/models/small/versions/9:predict", json={"instances": [1]})
    assert (version.status_code, version.json()["error"]) == (404, "Servable not found for request: Specific(small, 9)")
    version = client.get("/v1/models/small/versions/9")
    assert (version.status_code, version.json()["error"]) == (404, "Could not find version 9 of model small")
    status = client.get("/v1/models/none")
    assert (status.status_code, status.json()["error"]) == (404, "Could not find any versions of model none")
    label = client.post("/v1/models/small/labels/canary:predict", json={"instances": [1]})
    assert (label.status_code, label.json()["error"]) == (400, "Unrecognized servable version label: canary")
    assert client.get("/v1/models/small/labels/canary").status_code == 400
    assert client.get("/v1/models/none/metadata").status_code == 404
    wrong = client.get("/v1/models/small:predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"] == "Malformed request: GET /v1/models/small:predict"
    for path in ("/v1/models/small:guess", "/v1/models/small/versions/one:predict", "/v1/models/:predict", "/v1/x"):
        reply = client.post(path, json={})
        assert (reply.status_code, reply.json()["error"]) == (400, f"Malformed request: POST {path}")
    too_large = client.get(f"/v1/models/small/versions/{1 << 63}")
    assert (too_large.status_code, "to numeric" in too_large.json()["error"]) == (400, True)


def test_paths_in_any_case_text_after_the_object_and_gzip(client: httpx.Client) -> None:
    rows = PIXELS.tolist()
    expected = client.post("/v1/models/small:predict", json={"instances": rows}).json()
    assert client.post("/V1/Models/small/VERSIONS/1:PREDICT", json={"instances": rows}).json() == expected
    assert client.post("/v1/models/Small:predict", json={"instances": rows}).status_code == 404
    body = json.dumps({"instances": rows}).encode()
    assert client.post("/v1/models/small:predict", content=b" " + body + b"} and more").json() == expected
    packed = client.post("/v1/models/small:predict", content=gzip.compress(body), headers={"content-encoding": "gzip"})
    assert packed.json() == expected


def test_nan_in_a_column_means_missing(client: httpx.Client) -> None:
    row = {"age": None, "town": "east", "since": "2015-02-03", "note": ""}
    expected = client.post("/v1/models/prices:predict", json={"instances": [row]}).json()
    body = json.dumps({"instances": [row]}).replace('"age": null', '"age": NaN')
    assert "NaN" in body
    assert client.post("/v1/models/prices:predict", content=body).json() == expected
    columns = json.dumps({"inputs": {key: [value] for key, value in row.items()}}).replace("[null]", "[NaN]")
    assert client.post("/v1/models/prices:predict", content=columns).json() == {"outputs": expected["predictions"]}
    infinite = client.post("/v1/models/prices:predict", content=body.replace("NaN", "Infinity"))
    assert (infinite.status_code, "column 'age'" in infinite.text) == (400, True)


def test_classify_images(client: httpx.Client, image_box: Bundle, png: bytes) -> None:
    expected = image_box.predictor()({"image": PIXELS})["probabilities"]
    examples: list[Any] = [{"image": image.ravel().tolist()} for image in PIXELS]
    for signature in ({}, {"signature_name": "classification"}):
        reply = client.post("/v1/models/small:classify", json={**signature, "examples": examples})
        assert reply.status_code == 200, reply.text
        results = reply.json()["results"]
        assert [[label for label, _ in row] for row in results] == [["zero", "one", "two"]] * 3
        np.testing.assert_array_equal(np.array([[s for _, s in row] for row in results], np.float32), expected)
    b64 = {"b64": base64.b64encode(png).decode()}
    whole = client.post("/v1/models/small:predict", json={"instances": [b64]}).json()["predictions"][0]
    for example in ({"image": b64}, {"image/encoded": [b64]}):
        results = client.post("/v1/models/small:classify", json={"examples": [example]}).json()["results"]
        assert [score for _, score in results[0]] == whole


def test_regress_a_table_with_context(client: httpx.Client) -> None:
    rows = [{"age": 40.5, "town": "east"}, {"age": [], "town": ["west"]}, {"age": 41}]
    context = {"since": "2015-02-03", "town": {"b64": base64.b64encode(b"west").decode()}}
    reply = client.post("/v1/models/prices:regress", json={"context": context, "examples": rows})
    assert reply.status_code == 200, reply.text
    plain = [
        {"age": 40.5, "town": "east", "since": "2015-02-03"},
        {"age": None, "town": "west", "since": "2015-02-03"},
        {"age": 41, "town": "west", "since": "2015-02-03"},
    ]
    expected = client.post("/v1/models/prices:predict", json={"instances": plain}).json()["predictions"]
    assert reply.json() == {"results": expected}


@pytest.mark.parametrize(
    ("path", "request_", "message"),
    [
        ("small:classify", {}, "key 'examples' is expected and was not found"),
        ("small:classify", {"examples": {}}, "to be an list/array"),
        ("small:classify", {"examples": []}, "is an empty array"),
        ("small:classify", {"examples": [5]}, "Example must be JSON object"),
        ("small:classify", {"examples": [{"image": None}]}, "has element with unexpected JSON type: null"),
        ("small:classify", {"examples": [{"image": [[1]]}]}, "unexpected JSON type"),
        ("small:classify", {"examples": [{"image": [1, 2]}]}, "needs 64 values"),
        ("small:classify", {"examples": [{"image": [0.5] * 64}]}, "expected whole numbers"),
        ("small:classify", {"examples": [{"image": [256] * 64}]}, "expected uint8"),
        ("small:classify", {"examples": [{"pixels": [1]}]}, "the one feature 'image'"),
        ("small:classify", {"examples": [{"image": {"b64": "?"}}]}, "not base64"),
        ("small:classify", {"signature_name": "x", "examples": [{}]}, "No signature was found with the name: x"),
        ("small:classify", {"context": 5, "examples": [{}]}, "context: Example must be JSON object"),
        (
            "small:regress",
            {"examples": [{}]},
            "method_name to be tensorflow/serving/regress. Was: tensorflow/serving/cl",
        ),
        (
            "prices:classify",
            {"examples": [{}]},
            "method_name to be tensorflow/serving/classify. Was: tensorflow/serving/r",
        ),
        ("prices:regress", {"examples": [{"age": 1}]}, "lacks columns"),
        ("prices:regress", {"examples": [{"age": [1, 2]}]}, "expected one value, received 2"),
        ("prices:regress", {"examples": [{"town": {"b64": "//8="}}]}, "aren't UTF-8"),
    ],
)
def test_examples_that_do_not_fit(client: httpx.Client, path: str, request_: Any, message: str) -> None:
    reply = client.post(f"/v1/models/{path}", json=request_)
    assert reply.status_code == 400
    assert message in reply.json()["error"]


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory, image_box: Bundle, table_box: Bundle) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("boxes")
    with asking(echo_bundle(folder / "echo"), open_bundle(folder / "open"), image_box, table_box) as ask:
        yield ask


def post(ask: Asking, name: str, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, reply = ask("POST", f"/v1/models/{name}:predict", data)
    return status, json.loads(reply)


def test_several_inputs_and_outputs(tensors: Asking) -> None:
    arrays = values(3)
    given = {name: array.tolist() for name, array in arrays.items()}
    rows = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
    status, reply = post(tensors, "echo", {"instances": rows})
    assert status == 200, reply
    columns_of_rows = {key: [row[key] for row in reply["predictions"]] for key in reply["predictions"][0]}
    status, reply = post(tensors, "echo", {"inputs": {**given, "more": "is ignored"}})
    assert status == 200, reply
    assert reply["outputs"] == columns_of_rows
    for name, array in arrays.items():
        found = np.array(reply["outputs"][name.replace("in_", "out_")], array.dtype)
        np.testing.assert_array_equal(found, array)


def test_nan_and_infinity_go_in_and_come_out(tensors: Asking) -> None:
    given = {name: array.tolist() for name, array in values(1).items()}
    given |= {f"in_float{bits}": [[math.nan, -math.inf]] for bits in (16, 32, 64)} | {"in_string": ["NaN"]}
    status, reply = post(tensors, "echo", {"inputs": given})
    assert status == 200, reply
    assert str(reply["outputs"]["out_float32"]) == str(reply["outputs"]["out_float64"]) == "[[nan, -inf]]"
    assert reply["outputs"]["out_int64"] == given["in_int64"]
    assert reply["outputs"]["out_string"] == ["NaN"]


def test_a_float32_keeps_its_few_digits_beside_nan(tensors: Asking) -> None:
    status, _, body = tensors("POST", "/v1/models/open:predict", b'{"inputs": {"a": [[0.1, NaN]], "b": [[0.1, 1]]}}')
    assert (status, body) == (200, b'{"outputs":[[0.2,NaN]]}')
    status, _, body = tensors("POST", "/v1/models/open:predict", b'{"instances": [{"a": [0.1], "b": [1.9]}]}')
    assert (status, body) == (200, b'{"predictions":[[2.0]]}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [[1.0]]}, "expecting list of objects as multiple input tensors required"),
        ({"instances": [{"a": [1.0]}]}, "keys must be equal to: a,b"),
        ({"instances": [{"a": [1.0], "b": [1.0], "c": 1}]}, "keys must be equal to: a,b"),
        ({"instances": [{"a": [1.0], "b": [1.0]}, 5]}, "Expecting object but got list at item 1"),
        ({"inputs": [[1.0]]}, "inputs is a plain value/list"),
        ({"inputs": {"a": [[1.0]]}}, "Missing named input: b in 'inputs' object."),
        ({"inputs": {"a": [[1.0]], "b": [[1.0], [2.0]]}}, "different numbers of rows"),
        ({"inputs": {"a": [[True]], "b": [[1.0]]}}, "inputs['a']"),
        ({"inputs": {"a": [["1"]], "b": [[1.0]]}}, "inputs['a']"),
        ({"inputs": {"a": [[1e39]], "b": [[1.0]]}}, "without loss of precision"),
        ({"inputs": {"a": [[16777217]], "b": [[1.0]]}}, "without loss of precision"),
        ({"inputs": {"a": [[1.0], [1.0, 2.0]], "b": [[1.0], [1.0]]}}, "inputs['a']"),
        ({"inputs": {"a": 1.0, "b": [[1.0]]}}, "expected a list of rows"),
    ],
)
def test_tensors_that_do_not_fit(tensors: Asking, body: Any, message: str) -> None:
    status, reply = post(tensors, "open", body)
    assert status == 400
    assert message in reply["error"]


def test_texts_as_base64_and_in_integers(tensors: Asking) -> None:
    given = {name: array.tolist() for name, array in values(1).items()}
    text = {"b64": base64.b64encode("Zürich".encode()).decode()}
    assert post(tensors, "echo", {"inputs": given | {"in_string": [text]}})[1]["outputs"]["out_string"] == ["Zürich"]
    for change, message in (
        ({"in_string": [{"b64": "//8="}]}, "isn't UTF-8"),
        ({"in_string": [5]}, "expected strings"),
        ({"in_int8": [[1.0, 2]]}, "expected whole numbers"),
        ({"in_int8": [[128, 2]]}, "expected whole numbers from -128 to 127"),
        ({"in_bool": [[1, 0]]}, "expected true or false"),
    ):
        status, reply = post(tensors, "echo", {"inputs": given | change})
        assert (status, message in reply["error"]) == (400, True), reply


def test_plain_tensors_are_neither_classified_nor_regressed(tensors: Asking) -> None:
    for verb in ("classify", "regress"):
        status, _, body = tensors("POST", f"/v1/models/open:{verb}", b'{"examples": [{}]}')
        assert (status, b"Was: tensorflow/serving/predict; ask it with :predict" in body) == (400, True)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({"b64": "AA=="})
NAMES = st.sampled_from(["a", "b", "image", "age", "town", "b64", "signature_name", "context"]) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"]), VALUES))
def test_requests_at_random_are_answered_or_refused(tensors: Asking, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode(errors="surrogatepass")
    for name, verb in (
        ("open", "predict"),
        ("prices", "regress"),
        ("prices", "predict"),
        ("small", "classify"),
        ("small", "predict"),
    ):
        status, _, reply = tensors("POST", f"/v1/models/{name}:{verb}", data)
        assert status in (200, 400), reply
        assert status == 200 or isinstance(json.loads(reply)["error"], str)


def test_outputs_whose_name_ends_in_bytes_are_base64() -> None:
    texts = np.array([[b"\xff\x00", "a"]], object)
    assert _as_json("x_bytes", texts) == [[{"b64": "/wA="}, {"b64": "YQ=="}]]
    assert _as_json("x", np.array(["a"], object)) == ["a"]


def test_strictly_as_tensorflow_serving(image_box: Bundle) -> None:
    plane = DataPlane(compat="tfserving")
    plane.serve([("", image_box)])
    loop = asyncio.new_event_loop()
    ask = Asking(AsgiApp(application(plane)), loop)
    status, _, body = ask("GET", "/v1/models/small")
    assert (status, list(json.loads(body))) == (200, ["model_version_status"])
    assert ask("GET", "/v1/models")[::2] == (400, b'{"error":"Missing model name in request."}')
    status, _, body = ask("GET", "/v1/models/small:predict")
    assert (status, json.loads(body)) == (400, {"error": "Malformed request: GET /v1/models/small:predict"})
    assert ask("POST", "/v1/models/small:explain", b"{}")[0] == 400
    loop.run_until_complete(plane.stop())
    loop.close()
