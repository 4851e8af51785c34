"""The engine is chosen by measurement, agrees with the golden answers, stays within its threads, and is remembered."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.bundle.boxes import golden_of, image_bundle, image_graph, serialise, table_bundle

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import TensorCodec
from bedplate.core.errors import InputError
from bedplate.serving import engines
from bedplate.serving.engine_openvino import installed
from bedplate.serving.engines import agreement, batches_agree, choose_engine

needs_openvino = pytest.mark.skipif(not installed(), reason="openvino isn't installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tensor_bundle(path: Path, graph: bytes, size: int, rows: int = 4) -> Bundle:
    """A bundle of a graph that takes `x` float32 [rows, size] and gives `y` of the same shape."""
    inputs = {"x": np.random.default_rng(0).normal(size=(rows, size)).astype(np.float32)}
    return image_bundle(
        path, name="tensors", codec=TensorCodec((TensorSpec("x", "float32", (size,)),)),
        answers=Answers("answer", tensors=("y",)), graphs={"f32": graph},
        golden=golden_of(inputs, {"f32": graph}, None), outputs=[TensorSpec("y", "float32", (size,))],
    )  # fmt: skip


def heavy_graph(size: int = 1024, layers: int = 12, rows: int | str = "rows") -> bytes:
    """A few milliseconds a row on one thread."""
    rng = np.random.default_rng(0)
    weights = {f"w{k}": rng.normal(0, size**-0.5, (size, size)).astype(np.float32) for k in range(layers)}
    nodes = [
        helper.make_node("MatMul", ["x" if k == 0 else f"h{k}", f"w{k}"], ["y" if k == layers - 1 else f"h{k + 1}"])
        for k in range(layers)
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, size]) for name in "xy"]
    return serialise(nodes, value[:1], value[1:], weights)


def mixing_graph(size: int = 4) -> bytes:
    """Each row less the mean of all rows: a batch gets other answers than its rows."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "zero"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size]) for name in "xy"]
    return serialise(nodes, value[:1], value[1:], {"zero": np.array([0], np.int64)})


def test_a_quick_model_runs_between_requests_on_onnx_runtime(tmp_path: Path) -> None:
    chosen = choose_engine(image_bundle(tmp_path / "a"), threads=2)
    assert (chosen.engine, chosen.plan.inline, chosen.plan.runners, chosen.threads) == ("onnxruntime", True, 1, 1)
    assert chosen.plan.most_rows > 1
    assert chosen.costs.seconds(chosen.plan.most_rows) <= 2 * engines.INLINE_SECONDS
    assert "rows/s" in chosen.words
    assert "\n" not in chosen.words


def test_batching_can_be_switched_off(tmp_path: Path) -> None:
    assert choose_engine(image_bundle(tmp_path / "a"), threads=2, batching=False).plan.most_rows == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_times_threads_never_exceed_what_is_granted(tmp_path: Path, threads: int) -> None:
    box = tensor_bundle(tmp_path / "a", heavy_graph(), 1024)
    chosen = choose_engine(box, threads=threads, wanted="onnxruntime")
    assert not chosen.plan.inline
    assert chosen.plan.runners * chosen.threads <= threads
    assert len(chosen.rates) == threads


def test_the_choice_is_remembered_and_costs_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = image_bundle(tmp_path / "a")
    first = choose_engine(box, threads=2)
    assert not first.remembered
    monkeypatch.setattr(engines, "race", lambda *_: pytest.fail("measured again"))
    again = choose_engine(box, threads=2)
    assert (again.remembered, again.plan, again.rates) == (True, first.plan, first.rates)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert not choose_engine(box, threads=2).remembered


def test_a_remembered_onnx_runtime_needs_no_import_of_openvino(tmp_path: Path, cache: Path) -> None:
    box = image_bundle(tmp_path / "a")
    choose_engine(box, threads=2)
    script = (
        "import sys; from bedplate.bundle import Bundle; from bedplate.serving.engines import choose_engine;"
        f"chosen = choose_engine(Bundle.open({str(box.path)!r}), threads=2);"
        "assert chosen.remembered and 'openvino' not in sys.modules"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "XDG_CACHE_HOME": str(cache)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)


def test_a_damaged_memory_is_measured_again(tmp_path: Path, cache: Path) -> None:
    box = image_bundle(tmp_path / "a")
    choose_engine(box, threads=2)
    (file,) = cache.rglob("*.json")
    file.write_bytes(file.read_bytes()[:-20])
    assert not choose_engine(box, threads=2).remembered
    assert choose_engine(box, threads=2).remembered


@needs_openvino
def test_openvino_is_taken_where_it_is_asked_for_and_agrees(tmp_path: Path) -> None:
    box = image_bundle(tmp_path / "a")
    for remembered in (False, True):
        chosen = choose_engine(box, threads=2, wanted="openvino")
        assert (chosen.engine, chosen.remembered) == ("openvino", remembered)
        box.golden.replay(chosen.run, "f32", chosen.tolerance, "here")


@needs_openvino
def test_what_openvino_cannot_run_stays_with_onnx_runtime_and_says_so(tmp_path: Path) -> None:
    for wanted in ("auto", "openvino"):
        chosen = choose_engine(table_bundle(tmp_path / wanted), threads=2, wanted=wanted)
        assert chosen.engine == "onnxruntime"
        assert "no text" in chosen.note


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="openvino"):
        choose_engine(image_bundle(tmp_path / "a"), threads=1, wanted="tensorrt")


def test_agreement_is_the_own_tolerance_or_every_label_and_two_hundredths(tmp_path: Path) -> None:
    box = image_bundle(tmp_path / "a", graphs={"f32": image_graph(scale=0.0005)})
    exact = box.predictor("f32")

    def off(by: float) -> dict[str, float] | None:
        def run(inputs):
            given = exact(inputs)["probabilities"]
            moved = given.copy()
            best = given.argmax(axis=1)
            moved[np.arange(len(given)), best] += by
            moved[np.arange(len(given)), (best + 1) % 3] -= by
            return {"probabilities": moved.astype(np.float32)}

        return agreement(box, run, "f32")

    assert off(0.0) == {}
    assert off(0.01) == {"atol": 0.02, "rtol": 0.0}
    assert off(0.03) is None
    assert off(-0.5) is None


def test_a_graph_that_mixes_rows_is_never_batched(tmp_path: Path) -> None:
    graph = mixing_graph()
    box = tensor_bundle(tmp_path / "a", graph, 4, rows=3)
    assert not batches_agree(OnnxPredict(graph, variant="f32"), box.golden.inputs)
    chosen = choose_engine(box, threads=2)
    assert chosen.plan.most_rows == 1
    assert "changes the answers" in chosen.note


def test_a_graph_for_one_row_answers_several_one_by_one(tmp_path: Path) -> None:
    graph = heavy_graph(64, 2, rows=1)
    box = tensor_bundle(tmp_path / "a", graph, 64, rows=5)
    chosen = choose_engine(box, threads=2)
    assert chosen.plan.most_rows == 1
    many = OnnxPredict(heavy_graph(64, 2), variant="f32")(box.golden.inputs)["y"]
    np.testing.assert_allclose(chosen.run(box.golden.inputs)["y"], many, rtol=1e-4, atol=1e-5)


def test_memory_comes_back_after_large_batches() -> None:
    script = """
import sys, numpy as np
from onnx import helper, TensorProto
sys.path.insert(0, sys.argv[1])
from tests.bundle.boxes import serialise
from bedplate.bundle.session import OnnxPredict
nodes = [helper.make_node("Conv", ["x", "w"], ["h"], pads=[1] * 4), helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("GlobalAveragePool", ["r"], ["y"])]
graph = serialise(nodes, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3, 64, 64])],
                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 64, 1, 1])],
                  {"w": np.ones((64, 3, 3, 3), np.float32)})
run = OnnxPredict(graph, variant="f32", threads=2)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
def ask(rows):
    run({"x": np.zeros((rows, 3, 64, 64), np.float32)})
ask(1)
before = resident()
seen = []
for _ in range(4):
    for rows in (2, 16, 64, 48, 9, 1):
        ask(rows)
    seen.append(resident())
print(before, *seen)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system doesn't say how much memory a process has")
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[2])], capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    before, *seen = map(int, done.stdout.split())
    # One batch of 64 needs 64 MiB for each of two tensors; an arena keeps that for ever, and more.
    assert max(seen) - before < 64, seen


@pytest.mark.slow
def test_loading_a_large_model_stalls_nobody() -> None:
    graph = heavy_graph(4096, 4)  # 256 MiB
    gaps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        OnnxPredict(graph, variant="f32", threads=1)
    finally:
        stop.set()
        thread.join()
    assert max(gaps) < 0.15  # by way of bytes: 0.6 ms a megabyte
