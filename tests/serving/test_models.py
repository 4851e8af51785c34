"""Imported models over every protocol: what is served is what ONNX Runtime answers to the bare file."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.bundle.test_foreign import linear, value, write
from tests.serving.running import running

from bedplate.bundle.foreign import ImportSpec, import_onnx
from bedplate.serving.engine_openvino import installed


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inputs of two types, one with an open size; two outputs."""
    nodes = [
        helper.make_node("Cast", ["n"], ["nf"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "nf"], ["product"]),
        helper.make_node("ReduceSum", ["product", "one"], ["total"], keepdims=0),
    ]
    return write(
        tmp_path_factory.mktemp("two") / "two.onnx", nodes,
        [value("x", TensorProto.FLOAT, ["r", "s"]), value("n", TensorProto.INT64, ["r", 1])],
        [value("product", TensorProto.FLOAT, ["r", "s"]), value("total", TensorProto.FLOAT, ["r"])],
        one=np.array([1], np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def client(two: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("tensors")
    boxes = [import_onnx(two, folder / "two", ImportSpec())]
    boxes.append(import_onnx(linear(folder / "one.onnx"), folder / "one", ImportSpec()))
    with (
        running([("", box.path) for box in boxes]) as process,
        httpx.Client(base_url=process.url, timeout=30) as client,
    ):
        yield client


X, N = np.array([[1.5, 2, 3], [4, 5, 6]], np.float32), np.array([[2], [10]], np.int64)
ROWS = [{"x": x.tolist(), "n": n.tolist()} for x, n in zip(X, N, strict=True)]


@pytest.fixture(scope="module")
def expected(two: Path) -> dict[str, list]:
    names = ["product", "total"]
    session = ort.InferenceSession(str(two))
    return {k: v.tolist() for k, v in zip(names, session.run(names, {"x": X, "n": N}), strict=True)}


def test_the_native_interface(client: httpx.Client, expected: dict[str, list]) -> None:
    answers = client.post("/predict/two", json=ROWS).json()["answers"]
    assert [one["outputs"]["product"] for one in answers] == expected["product"]
    assert [one["outputs"]["total"] for one in answers] == expected["total"]
    assert client.post("/predict/two", json=ROWS[0]).json()["answers"] == answers[:1]
    bare = client.post("/predict/one", json=[[1, 0, 0, 0]]).json()["answers"]
    named = client.post("/predict/one", json={"features": [1, 0, 0, 0]}).json()["answers"]
    assert bare == named


def test_the_open_inference_protocol(client: httpx.Client, expected: dict[str, list]) -> None:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": X.ravel().tolist()},
        {"name": "n", "datatype": "INT64", "shape": [2, 1], "data": [2, 10]},
    ]
    outputs = client.post("/v2/models/two/infer", json={"inputs": inputs}).json()["outputs"]
    found = {one["name"]: np.reshape(one["data"], one["shape"]).tolist() for one in outputs}
    assert found == expected
    metadata = client.get("/v2/models/two").json()
    assert [(one["name"], one["datatype"], one["shape"]) for one in metadata["inputs"] + metadata["outputs"]] == [
        ("x", "FP32", [-1, -1]), ("n", "INT64", [-1, 1]), ("product", "FP32", [-1, -1]), ("total", "FP32", [-1]),
    ]  # fmt: skip


def test_tensorflow_serving(client: httpx.Client, expected: dict[str, list]) -> None:
    predictions = client.post("/v1/models/two:predict", json={"instances": ROWS}).json()["predictions"]
    assert [one["product"] for one in predictions] == expected["product"]
    outputs = client.post("/v1/models/two:predict", json={"inputs": {"x": X.tolist(), "n": N.tolist()}}).json()[
        "outputs"
    ]
    assert outputs == expected
    row = client.post("/v1/models/one:predict", json={"instances": [[1, 0, 0, 0]]}).json()["predictions"]
    assert len(row[0]) == 3


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([{"x": [1]}], "without n"),
        ([{"x": [1], "n": [1], "z": 2}], "also z"),
        ([{"x": [1, "a"], "n": [1]}], "input 'x'"),
        ([{"x": [1], "n": [1.5]}], "input 'n'"),
        ([{"x": [1], "n": [1, 2]}], "expected [1]"),
        ([{"x": [1], "n": [1]}, {"x": [1, 2], "n": [1]}], "one shape"),
        ([1], "all inputs"),
    ],
)
def test_what_does_not_fit_is_a_400(client: httpx.Client, payload: object, words: str) -> None:
    reply = client.post("/predict/two", json=payload)
    assert reply.status_code == 400
    assert words in reply.json()["error"]


def test_it_is_described(client: httpx.Client) -> None:
    described = {one["name"]: one for one in client.get("/models").json()["models"]}["two"]
    assert described["kind"] == "tensor"
    assert [one["name"] for one in described["outputs"]] == ["product", "total"]
    assert client.post("/predict/two", json=described["examples"][0]).status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert "/predict/two" in paths
    metrics = client.get("/metrics").text
    assert 'bedplate_engine_info{engine="' in metrics
    assert "bedplate_engine_rows_per_second{" in metrics


@pytest.mark.skipif(not installed(), reason="openvino isn't installed")
def test_a_server_can_be_told_which_engine(tmp_path: Path) -> None:
    path = linear(tmp_path / "one.onnx")
    box = import_onnx(path, tmp_path / "one", ImportSpec())
    rows = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    (own,) = ort.InferenceSession(str(path)).run(None, {"features": rows})
    for engine in ("openvino", "onnxruntime"):
        with running([("", box.path)], engine=engine) as process:
            answers = httpx.post(f"{process.url}/predict/one", json=rows.tolist(), timeout=60).json()["answers"]
            metrics = httpx.get(f"{process.url}/metrics", timeout=60).text
            assert process.stop() == (0, "HEAVY []\n")
        assert f'bedplate_engine_info{{engine="{engine}"' in metrics
        # Its f32 may be left to bf16 where that agrees: within the golden tolerance.
        np.testing.assert_allclose([one["outputs"]["scores"] for one in answers], own, rtol=1e-3, atol=1e-3)


def test_a_heavy_model_is_answered_by_threads(tmp_path: Path) -> None:
    """What isn't quick enough for the event loop goes through the queue, the budget and the pool."""
    path = linear(tmp_path / "wide.onnx", inputs=2048, outputs=2048)
    box = import_onnx(path, tmp_path / "wide", ImportSpec())
    rows = np.random.default_rng(2).normal(size=(70, 2048)).astype(np.float32)
    (own,) = ort.InferenceSession(str(path)).run(None, {"features": rows})
    with running([("", box.path), ("twin", box.path)], engine="onnxruntime") as process:
        reply = httpx.post(f"{process.url}/v1/models/twin:predict", json={"instances": rows.tolist()}, timeout=60)
    np.testing.assert_allclose(np.array(reply.json()["predictions"], np.float32), own, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_published_model_is_served_as_onnx_runtime_answers_it(tmp_path: Path) -> None:
    """Magika (Apache-2.0): what kind of file 2,048 bytes come from."""
    got = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(tmp_path), "magika==1.0.3"],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    wheels = list(tmp_path.glob("magika-*.whl"))
    if got.returncode or not wheels:
        pytest.skip(f"the magika package can't be had: {got.stderr.strip().splitlines()[-1:]}")
    with zipfile.ZipFile(wheels[0]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".onnx"))
        (tmp_path / "magika.onnx").write_bytes(archive.read(name))
    box = import_onnx(tmp_path / "magika.onnx", tmp_path / "magika", ImportSpec())
    rows = np.random.default_rng(0).integers(0, 257, (5, 2048)).astype(np.int32)
    (own,) = ort.InferenceSession(str(tmp_path / "magika.onnx")).run(None, {"bytes": rows})
    with running([("", box.path)], engine="onnxruntime") as process:
        reply = httpx.post(f"{process.url}/predict/magika", json=[{"bytes": row.tolist()} for row in rows], timeout=60)
    given = np.array([one["outputs"]["target_label"] for one in reply.json()["answers"]], np.float32)
    np.testing.assert_allclose(given, own, atol=1e-6)
