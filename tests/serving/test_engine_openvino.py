"""OpenVINO answers as ONNX Runtime does, from several threads at once, and sends nothing home."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.bundle.boxes import image_graph, images, table_codec, table_graph

from bedplate.bundle.session import OnnxPredict
from bedplate.core.errors import BundleError
from bedplate.serving.engine_openvino import OpenVinoPredict, installed, precisions

needs_openvino = pytest.mark.skipif(not installed(), reason="openvino isn't installed")
GRAPH = image_graph(size=16, classes=10, scale=0.001)


@needs_openvino
@pytest.mark.parametrize("streams", [1, 2])
def test_its_answers_are_onnx_runtimes_own(streams: int) -> None:
    like = OnnxPredict(GRAPH, variant="f32", threads=1)
    run = OpenVinoPredict(GRAPH, like, threads=2, streams=streams)
    for rows in (1, 2, 7):
        inputs = {"image": images(rows, seed=rows, size=16)}
        inputs["image"].flags.writeable = False
        given, expected = run(inputs), like(inputs)
        assert given["probabilities"].dtype == expected["probabilities"].dtype
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"], atol=1e-5)


@needs_openvino
def test_many_threads_may_ask_at_once() -> None:
    like = OnnxPredict(GRAPH, variant="f32", threads=1)
    run = OpenVinoPredict(GRAPH, like, threads=2, streams=2)
    rows = [images(1 + k % 5, seed=k, size=16) for k in range(120)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda row: run({"image": row})["probabilities"], rows))
    for row, given in zip(rows, found, strict=True):
        np.testing.assert_allclose(given, like({"image": row})["probabilities"], atol=1e-5)


@needs_openvino
def test_bf16_is_offered_only_where_the_processor_has_it_and_is_near() -> None:
    offered = precisions()
    assert offered[0] == "f32"
    if "bf16" in offered:
        like = OnnxPredict(GRAPH, variant="f32", threads=1)
        run = OpenVinoPredict(GRAPH, like, threads=1, precision="bf16")
        inputs = {"image": images(32, size=16)}
        np.testing.assert_allclose(run(inputs)["probabilities"], like(inputs)["probabilities"], atol=0.05)


@needs_openvino
def test_text_is_refused() -> None:
    graph = table_graph(table_codec())
    with pytest.raises(BundleError, match="no text"):
        OpenVinoPredict(graph, OnnxPredict(graph, variant="f32", threads=1), threads=1)


@needs_openvino
def test_loading_it_looks_up_no_address() -> None:
    script = """
import sys
asked = []
sys.addaudithook(lambda event, rest: asked.append(event) if event.startswith(("socket.connect", "socket.getaddrinfo")) else None)
import time
from bedplate.serving.engine_openvino import load_openvino
load_openvino().Core()
time.sleep(0.5)
assert not asked, asked
assert "openvino_telemetry" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
