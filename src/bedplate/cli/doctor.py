"""What this machine has, and a self-check of about ten seconds that it works."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.core.console import Console
from bedplate.core.files import write_bytes
from bedplate.core.hashing import sha256_bytes, sha256_file
from bedplate.core.machine import describe


def _numpy() -> str:
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    a @ a
    started = time.perf_counter()
    for _ in range(5):
        a @ a
    return f"{5 * 2 * 1024**3 / (time.perf_counter() - started) / 1e9:.0f} GFLOP/s in float32"


def _disk() -> str:
    data = np.random.default_rng(0).bytes(1 << 24)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe"
        started = time.perf_counter()
        write_bytes(path, data)
        seconds = time.perf_counter() - started
        if sha256_file(path) != sha256_bytes(data):
            raise RuntimeError("the disk gave back other bytes")
    return f"wrote and verified 17 MB at {17 / seconds:.0f} MB/s"


def _images() -> str:
    import io

    from PIL import Image

    from bedplate.codecs.image import ImageCodec

    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[0]).save(buffer, "PNG")
    if not np.array_equal(ImageCodec.fit(pixels).decode([buffer.getvalue()])["image"], pixels):
        raise RuntimeError("a PNG came back with other pixels")
    return "a PNG decodes to the same pixels"


def _torch() -> str:
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 26 * 26, 10)
    )
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    started, losses = time.perf_counter(), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    if not losses[-1] < losses[0]:
        raise RuntimeError("twenty training steps did not lower the loss")
    return f"{20 * 64 / (time.perf_counter() - started):,.0f} images/s in a small training loop"


def _export() -> str:
    import onnx
    from onnx import helper

    from bedplate.bundle.session import OnnxPredict

    node = helper.make_node("Add", ["x", "x"], ["y"])
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows"]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    found = OnnxPredict(model.SerializeToString(), variant="probe")({"x": np.array([1.5], np.float32)})
    if found["y"].tolist() != [3.0]:
        raise RuntimeError("ONNX Runtime computed 1.5 + 1.5 wrongly")
    return "an ONNX graph runs and answers rightly"


def _check(name: str, probe: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "message": probe()}
    except Exception as error:  # noqa: BLE001 - whatever fails here is what the doctor is for
        return {"check": name, "ok": False, "message": f"{type(error).__name__}: {error}"}


def examine(console: Console) -> dict[str, Any]:
    """Return the machine's description and the checks' results, saying each as it is found."""
    machine = describe()
    console.stage("machine")
    for key, value in machine.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else ", ".join(map(str, value))
            if isinstance(value, list)
            else value
        )
        console.detail(f"{key:<16} {shown if shown not in (None, '') else '–'}")
    console.stage("checks")
    probes: list[tuple[str, Callable[[], str]]] = [("numpy", _numpy), ("disk", _disk), ("images", _images)]
    workshop = importlib.util.find_spec("torch") is not None
    if workshop:
        probes += [("torch", _torch), ("onnx", _export)]
    checks = []
    for name, probe in probes:
        checks.append(_check(name, probe))
        console.detail(f"{'ok    ' if checks[-1]['ok'] else 'FAILED'} {name:<9} {checks[-1]['message']}")
    if not workshop:
        console.detail('the workshop is not installed: pip install "bedplate[train]" to train')
    return {"machine": machine, "workshop": workshop, "checks": checks}
