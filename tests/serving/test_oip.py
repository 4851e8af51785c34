"""Open Inference Protocol v2 over REST: what it says, and what it refuses."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.bundle.boxes import image_bundle, images, table_rows
from tests.serving.running import running

from bedplate.bundle import Bundle

PIXELS = images(3, seed=21)
INPUT: dict[str, Any] = {
    "name": "image",
    "shape": [3, 8, 8, 1],
    "datatype": "UINT8",
    "data": PIXELS.ravel().tolist(),
}


def infer(client: httpx.Client, name: str = "small", **request: Any) -> httpx.Response:
    return client.post(f"/v2/models/{name}/infer", json=request)


def test_health_and_metadata(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "bedplate"
    for base in ("/v2/models/small", "/v2/models/small/versions/1"):
        assert client.get(base).json() == {
            "name": "small",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        }
        assert client.get(f"{base}/ready").status_code == 200
    inputs = client.get("/v2/models/prices").json()["inputs"]
    assert {i["name"]: (i["datatype"], i["shape"]) for i in inputs}["town"] == ("BYTES", [-1])


def test_flat_and_nested_data_get_the_graphs_own_numbers(client: httpx.Client, image_box: Bundle) -> None:
    expected = image_box.predictor()({"image": PIXELS})["probabilities"]
    for data in (PIXELS.ravel().tolist(), PIXELS.tolist()):
        reply = infer(client, id="abc", inputs=[INPUT | {"data": data}], outputs=[{"name": "probabilities"}]).json()
        assert (reply["id"], reply["model_name"], reply["model_version"]) == ("abc", "small", "1")
        (output,) = reply["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, 3])
        np.testing.assert_array_equal(np.array(output["data"], np.float32).reshape(3, 3), expected)


def test_columns_of_a_table_are_tensors_and_null_is_missing(client: httpx.Client, table_box: Bundle) -> None:
    rows = table_rows(4, seed=31)
    arrays = table_box.codec.decode(rows)
    inputs = [
        {
            "name": name,
            "shape": [4],
            "datatype": "BYTES" if array.dtype == object else "FP64",
            "data": [None if v == "" or v != v else v for v in array.tolist()],
        }
        for name, array in arrays.items()
    ]
    reply = infer(client, "prices", inputs=inputs)
    assert reply.status_code == 200, reply.text
    expected = [answer["value"] for answer in table_box.predict(rows)]
    np.testing.assert_allclose(reply.json()["outputs"][0]["data"], expected, rtol=1e-6)
    # A category is cleaned as in training: "NA" and blanks mean missing there, too.
    for entry in inputs:
        if entry["name"] == "town":
            entry["data"] = ["NA" if v is None else f" {v} " for v in entry["data"]]
    np.testing.assert_allclose(infer(client, "prices", inputs=inputs).json()["outputs"][0]["data"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "picture"}, "expected one of ['image']"),
        ({"name": None}, "expected one of ['image']"),
        ({"datatype": "FP32"}, "expected the datatype UINT8"),
        ({"datatype": None}, "expected the datatype UINT8"),
        ({"shape": [2, 8, 8, 1]}, "needs 128 values, received 192"),
        ({"shape": [3, 64]}, "expected the shape"),
        ({"shape": [-1, 8, 8, 1]}, "whole numbers"),
        ({"shape": [1 << 62, 8, 8, 1]}, "whole numbers"),
        ({"shape": [2_000_000_000, 8, 8, 1]}, "rows"),
        ({"shape": [True, 8, 8, 1]}, "whole numbers"),
        ({"shape": []}, "whole numbers"),
        ({"shape": [0, 8, 8, 1], "data": []}, "no rows"),
        ({"shape": "3"}, "whole numbers"),
        ({"data": "AAAA"}, "data must be a list"),
        ({"data": [256] * 192}, "whole numbers from 0 to 255, received 256"),
        ({"data": [-1] * 192}, "whole numbers from 0 to 255"),
        ({"data": [0.5] * 192}, "fractions"),
        ({"data": ["1"] * 192}, "received strings"),
        ({"data": [True] * 192}, "true or false"),
        ({"data": [None] * 192}, "null"),
        ({"data": [1e30] * 192}, "fractions or numbers out of range"),
        ({"data": [1] * 191 + [[1]]}, "ragged"),
        ({"data": [[1, 2], [3]]}, "ragged"),
        ({"data": PIXELS[:, :4].tolist()}, "shape"),
        ({"parameters": {"binary_data_size": 192}}, "binary"),
    ],
)
def test_inputs_that_do_not_fit(client: httpx.Client, change: dict[str, Any], message: str) -> None:
    reply = infer(client, inputs=[INPUT | change])
    assert reply.status_code in (400, 413, 501)
    assert message in reply.json()["error"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "inputs: expected a list"),
        ({"inputs": {}}, "inputs: expected a list"),
        ({"inputs": [5]}, "inputs: expected a list of objects"),
        ({"inputs": []}, "missing ['image']"),
        ({"inputs": [INPUT, INPUT]}, "given twice"),
        ({"inputs": [INPUT], "outputs": [{"name": "logits"}]}, "expected one of ['probabilities']"),
        ({"inputs": [INPUT], "outputs": {}}, "outputs: expected"),
        ({"inputs": [INPUT], "outputs": ["probabilities"]}, "outputs[0].name"),
        (
            {"inputs": [INPUT], "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
            "classification isn't offered",
        ),
        ({"inputs": [INPUT], "parameters": []}, "parameters of the request: expected an object"),
        ({"inputs": [INPUT], "parameters": {"binary_data_output": 1}}, "binary_data_output"),
        ({"inputs": [INPUT], "parameters": {"timeout": -1}}, "whole microseconds"),
        ({"inputs": [INPUT], "outputs": [{"name": "probabilities"}] * 2}, "twice"),
        ({"inputs": [INPUT], "id": 5}, "id: expected a string"),
    ],
)
def test_requests_that_do_not_fit(client: httpx.Client, request_: dict[str, Any], message: str) -> None:
    reply = infer(client, **request_)
    assert reply.status_code == 400
    assert message in reply.json()["error"]


def test_tensors_of_a_table_must_have_equally_many_rows(client: httpx.Client, table_box: Bundle) -> None:
    inputs = [
        {"name": s.name, "shape": [1 + (s.name == "age")], "datatype": "BYTES" if s.dtype == "string" else "FP64",
         "data": (["east"] if s.dtype == "string" else [1.0]) * (1 + (s.name == "age"))}
        for s in table_box.inputs
    ]  # fmt: skip
    reply = infer(client, "prices", inputs=inputs)
    assert (reply.status_code, "different numbers of rows" in reply.text) == (400, True)


def test_what_is_not_there(client: httpx.Client) -> None:
    for path in ("/v2/models/none", "/v2/models/none/ready", "/v2/models/small/versions/2"):
        assert client.get(path).status_code == 404, path
    assert infer(client, "none").status_code == 404
    assert client.post("/v2/models/small/versions/7/infer", json={}).status_code == 404
    assert client.get("/v2/models/small/infer").status_code == 405
    assert client.post("/v2/models/small/infer", content=b"[]").status_code == 400
    assert client.post("/v2/models/small/infer", content=b"\xff\xfe").status_code == 400
    binary = {"Inference-Header-Content-Length": "99999999999"}
    assert client.post("/v2/models/small/infer", content=b"{}", headers=binary).status_code == 400
    assert infer(client, inputs=[INPUT], parameters={"timeout": 1}).status_code == 504


def test_no_outputs_named_means_all(client: httpx.Client) -> None:
    assert infer(client, inputs=[INPUT], outputs=[]).json() == infer(client, inputs=[INPUT]).json()


def test_a_raw_body_is_the_only_input(client: httpx.Client, image_box: Bundle) -> None:
    zero = {"Inference-Header-Content-Length": "0"}
    reply = client.post("/v2/models/small/infer", content=PIXELS.tobytes(), headers=zero)
    assert reply.status_code == 200
    size = int(reply.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(reply.content[:size])["outputs"]
    given = np.frombuffer(reply.content[size:], np.float32).reshape(output["shape"])
    np.testing.assert_array_equal(given, image_box.predictor()({"image": PIXELS})["probabilities"])
    assert client.post("/v2/models/small/infer", content=PIXELS.tobytes()[1:], headers=zero).status_code == 400
    assert client.post("/v2/models/small/infer", content=b"", headers=zero).status_code == 400
    assert client.post("/v2/models/prices/infer", content=b"x", headers=zero).status_code == 400


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("wanted", ["identity", "gzip", "deflate", "br, deflate;q=0.5", "gzip;q=0, *;q=0"])
def test_both_directions_may_be_compressed(client: httpx.Client, packed: str | None, wanted: str) -> None:
    """Lengths speak of the plain bytes."""
    pixels = images(600, seed=3)
    entry = {
        "name": "image",
        "shape": [600, 8, 8, 1],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": 600 * 64},
    }
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    body = head + pixels.tobytes()
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}
    headers = {"Inference-Header-Content-Length": str(len(head)), "Accept-Encoding": wanted}
    if packed:
        body, headers["Content-Encoding"] = pack[packed](body), packed
    with client.stream("POST", "/v2/models/small/infer", content=body, headers=headers) as reply:
        raw = b"".join(reply.iter_raw())
    expected = "gzip" if wanted == "gzip" else "deflate" if "deflate" in wanted else None
    assert reply.headers.get("Content-Encoding") == expected
    plain = {None: bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[expected](raw)
    size = int(reply.headers["Inference-Header-Content-Length"])
    assert len(plain) - size == json.loads(plain[:size])["outputs"][0]["parameters"]["binary_data_size"] == 600 * 3 * 4


def test_configuration_and_statistics(client: httpx.Client) -> None:
    for base in ("/v2/models/small", "/v2/models/small/versions/1"):
        config = client.get(f"{base}/config").json()
        assert (config["name"], config["platform"], config["max_batch_size"]) == ("small", "onnxruntime_onnx", 10_000)
        assert config["input"] == [
            {"name": "image", "data_type": "TYPE_UINT8", "dims": [8, 8, 1], "format": "FORMAT_NONE"}
        ]
        assert config["output"] == [
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3], "label_filename": ""}
        ]

        def told(base: str = base) -> dict[str, Any]:
            (found,) = client.get(f"{base}/stats").json()["model_stats"]
            return found

        before = told()
        assert infer(client, inputs=[INPUT]).status_code == 200
        assert infer(client, inputs=[]).status_code == 400
        after = told()
        assert after["inference_count"] - before["inference_count"] == 3
        assert after["execution_count"] - before["execution_count"] == 1
        for part, count in (("success", 1), ("fail", 1), ("queue", 1), ("compute_infer", 1), ("cache_hit", 0)):
            grown = {
                key: after["inference_stats"][part][key] - before["inference_stats"][part][key]
                for key in ("count", "ns")
            }
            assert grown["count"] == count, part
            assert (grown["ns"] > 0) == (count > 0), part
        assert sum(one["compute_infer"]["count"] for one in after["batch_stats"]) == after["execution_count"]
        assert abs(after["last_inference"] / 1000 - time.time()) < 60
    names = [one["name"] for one in client.get("/v2/models/stats").json()["model_stats"]]
    assert names == ["prices", "small"]
    assert client.get("/v2/models/none/stats").status_code == 404
    assert client.get("/v2/models/small/versions/2/config").status_code == 404


def test_the_extensions_that_are_told_are_spoken(client: httpx.Client) -> None:
    assert client.get("/v2").json()["extensions"] == [
        "binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics",
    ]  # fmt: skip


def test_models_can_be_unloaded_and_loaded(image_box: Bundle, table_box: Bundle) -> None:
    with running([("", image_box.path), ("", table_box.path)]) as server, httpx.Client(base_url=server.url) as client:
        index = client.post("/v2/repository/index").json()
        assert index == [
            {"name": "prices", "version": "1", "state": "READY", "reason": ""},
            {"name": "small", "version": "1", "state": "READY", "reason": ""},
        ]
        assert client.post("/v2/repository/models/small/unload", json={}).status_code == 200
        assert client.get("/v2/models/small/ready").status_code == 404
        assert infer(client, inputs=[INPUT]).status_code == 404
        told = client.post("/v2/repository/index", json={}).json()[1]
        assert (told["state"], told["reason"]) == ("UNAVAILABLE", "unloaded")
        assert [one["name"] for one in client.post("/v2/repository/index", json={"ready": True}).json()] == ["prices"]
        reply = client.post("/v2/repository/models/small/load", json={"parameters": {"config": "{}"}})
        assert (reply.status_code, "can't be given" in reply.text) == (400, True)
        assert client.post("/v2/repository/models/small/load").status_code == 200
        assert infer(client, inputs=[INPUT]).status_code == 200
        for path in ("none/load", "none/unload"):
            assert client.post(f"/v2/repository/models/{path}").status_code == 404
        assert client.post("/v2/repository/index", json={"ready": 1}).status_code == 400
        assert client.post("/v2/repository/index", content=b"[").status_code == 400


def test_a_model_that_cannot_be_loaded_again_goes_on_as_it_was(tmp_path: Path) -> None:
    box = image_bundle(tmp_path / "secret-place")
    with running([("", box.path)]) as server, httpx.Client(base_url=server.url) as client:
        graph = next((tmp_path / "secret-place").rglob("*.onnx"))
        graph.chmod(0o644)
        graph.write_bytes(b"damaged")
        reply = client.post("/v2/repository/models/small/load")
        assert reply.status_code == 400
        assert "what was served goes on" in reply.json()["error"]
        assert "secret-place" not in reply.text
        assert infer(client, inputs=[INPUT]).status_code == 200
        assert "secret-place" not in client.post("/v2/repository/index").text
