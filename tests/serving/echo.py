"""A bundle that gives back what it is given, in every type of tensor that the protocols know; and a plane to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper
from tests.bundle.boxes import golden_of, image_bundle, serialise

from bedplate.bundle import Bundle, Golden
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import TensorCodec
from bedplate.serving.asgi import AsgiApp

DTYPES = {
    "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
    "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE, "string": TensorProto.STRING,
}  # fmt: skip


def specs(prefix: str, dtypes: Sequence[str]) -> tuple[TensorSpec, ...]:
    # Golden rows keep texts only one a row.
    return tuple(TensorSpec(f"{prefix}_{dtype}", dtype, () if dtype == "string" else (2,)) for dtype in dtypes)


def values(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of every type, as wide as the type."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for dtype in DTYPES:
        size = (rows,) if dtype == "string" else (rows, 2)
        if dtype == "string":
            array: np.ndarray = np.empty(size, object)
            array[...] = rng.choice(["", "a", "Zürich", "line\nend", "日本語"], size)
        elif dtype == "bool":
            array = rng.random(size) < 0.5
        elif dtype.startswith("float"):
            array = rng.normal(size=size).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            array = rng.integers(limits.min, limits.max, size, dtype=dtype, endpoint=True)
        found[f"in_{dtype}"] = array
    return found


def echo_bundle(path: Path, *, name: str = "echo", dtypes: Sequence[str] = tuple(DTYPES)) -> Bundle:
    """An input and an output of each type, two values a row, or one text."""
    graph = serialise(
        [helper.make_node("Identity", [f"in_{dtype}"], [f"out_{dtype}"]) for dtype in dtypes],
        [_signature("in", dtype) for dtype in dtypes],
        [_signature("out", dtype) for dtype in dtypes],
        {},
    )
    given = {f"in_{dtype}": values(4)[f"in_{dtype}"] for dtype in dtypes}
    return image_bundle(
        path, name=name, task="tensors", codec=TensorCodec(specs("in", dtypes)), outputs=specs("out", dtypes),
        answers=Answers("echo", tensors=tuple(spec.name for spec in specs("out", dtypes))), graphs={"f32": graph},
        golden=_without_texts(golden_of(given, {"f32": graph}, None)),
    )  # fmt: skip


def _signature(prefix: str, dtype: str) -> ValueInfoProto:
    shape = ["rows"] if dtype == "string" else ["rows", 2]
    return helper.make_tensor_value_info(f"{prefix}_{dtype}", DTYPES[dtype], shape)


def _without_texts(golden: Golden) -> Golden:
    """Golden rows are kept as safetensors, which hold no texts as outputs."""
    kept = {name: {k: a for k, a in outputs.items() if a.dtype != object} for name, outputs in golden.outputs.items()}
    return Golden(golden.inputs, kept, golden.labels)


def open_bundle(path: Path, *, name: str = "open") -> Bundle:
    """The sum of two vectors of any size: `a` and `b` must agree, which only the graph knows."""
    graph = serialise(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [helper.make_tensor_value_info(side, TensorProto.FLOAT, ["rows", side]) for side in ("a", "b")],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows", None])],
        {},
    )
    inputs = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}
    return image_bundle(
        path, name=name, task="tensors",
        codec=TensorCodec((TensorSpec("a", "float32", (-1,)), TensorSpec("b", "float32", (-1,)))),
        outputs=[TensorSpec("sum", "float32", (-1,))], answers=Answers("sum", tensors=("sum",)),
        graphs={"f32": graph}, golden=golden_of(inputs, {"f32": graph}, None),
    )  # fmt: skip


class Asking:
    """Ask an application in this process, as a server would; faults of the server are raised."""

    def __init__(self, app: AsgiApp, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.loop = app, loop

    def __call__(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, query: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        given = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in (headers or {}).items()]
        scope = {
            "type": "http", "method": method, "path": path, "headers": given, "query_string": query.encode(),
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        self.loop.run_until_complete(self.app(scope, receive, send))
        found = {key.decode("latin-1"): value.decode("latin-1") for key, value in sent[0]["headers"]}
        return sent[0]["status"], found, b"".join(part.get("body", b"") for part in sent[1:])


@contextmanager
def asking(*bundles: Bundle) -> Iterator[Asking]:
    from bedplate.serving import create_app

    loop = asyncio.new_event_loop()
    app = create_app([("", bundle) for bundle in bundles])
    loop.run_until_complete(app.plane.start())
    try:
        yield Asking(app, loop)
    finally:
        loop.run_until_complete(app.plane.stop())
        loop.close()
