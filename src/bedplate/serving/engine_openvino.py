"""A graph's bytes → a `Predict` by OpenVINO. The package is optional: `pip install "bedplate[openvino]"`.

https://docs.openvino.ai/2025/openvino-workflow/running-inference.html
"""

from __future__ import annotations

import queue
from typing import Any, Literal

import numpy as np

from bedplate.bundle.session import OnnxPredict, loadable, run_prepared
from bedplate.core.arrays import Arrays, concatenate, count, take
from bedplate.core.errors import BundleError
from bedplate.core.machine import cpu_features, own_signal_stack
from bedplate.core.openvino_import import installed, load_openvino

Precision = Literal["f32", "bf16"]

_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def precisions() -> list[Precision]:
    """Return the precisions that this processor computes in: f32, and bf16 where it has instructions for it."""
    return ["f32", "bf16"] if cpu_features() & _BF16 else ["f32"]


class OpenVinoPredict:
    """A `Predict` over one compiled model. As many threads may call it at once as it has `streams`; more wait.

    Args:
        graph: the graph as ONNX bytes, checked to be self-contained.
        like: ONNX Runtime's session of the same graph, whose signature holds.
        streams: how many requests run at once.
        threads: how many threads all streams have together.
        precision: what is computed in; inputs and outputs keep their types.

    Raises:
        BundleError: OpenVINO doesn't take this graph (text among the inputs, an operator that it lacks).
    """

    def __init__(
        self, graph: bytes, like: OnnxPredict, *, threads: int, streams: int = 1, precision: Precision = "f32"
    ) -> None:
        strange = [spec.name for spec in (*like.inputs, *like.outputs) if spec.dtype == "string"]
        if strange:
            raise BundleError("OpenVINO takes no text", received=f"strings in {strange[:3]}")
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # Pinned threads of two models, or of two servers, would sit on the same processors.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = load_openvino().Core()
            with loadable(graph) as source, own_signal_stack():
                model = core.read_model(source, b"") if isinstance(source, bytes) else core.read_model(source)
                compiled = core.compile_model(model, "CPU", options)
            self._ports = {spec.name: compiled.input(spec.name) for spec in like.inputs}
            self._outputs = {spec.name: compiled.output(spec.name) for spec in like.outputs}
            self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(streams):
                self._idle.put(compiled.create_infer_request())
        except Exception as error:  # what a compiler raises is of many types, and so is what a broken install does
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise BundleError("OpenVINO doesn't take this graph", received=lines[-1][:200]) from error
        self.variant, self.inputs, self.outputs = like.variant, like.inputs, like.outputs
        self.row_by_row, self.prepare = like.row_by_row, like.prepare
        self.threads, self.precision = threads, precision

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the graph's outputs by name."""
        return run_prepared(self._run, inputs, self.prepare, self.inputs)

    def _run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        rows = count({spec.name: inputs[spec.name] for spec in self.inputs}) if self.row_by_row else 1
        if rows != 1:
            return concatenate([self._run(take(inputs, slice(row, row + 1))) for row in range(rows)])
        feed = {self._ports[spec.name]: np.ascontiguousarray(inputs[spec.name]) for spec in self.inputs}
        request = self._idle.get()
        try:
            request.infer(feed, share_inputs=True)
            # Copied, since the request's own memory is written again by the next one.
            return {name: np.array(request.get_tensor(port).data) for name, port in self._outputs.items()}
        finally:
            self._idle.put(request)


__all__ = ["OpenVinoPredict", "Precision", "installed", "load_openvino", "precisions"]
