"""A graph's bytes → a `Predict` by ONNX Runtime."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bedplate.codecs.codec import PAST, PRESENT, Prepare, TensorSpec
from bedplate.core.arrays import Arrays, by_length, concatenate, count, take
from bedplate.core.errors import BundleError
from bedplate.core.machine import threads_granted

_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(uint16)": "uint16",
    "tensor(int32)": "int32", "tensor(uint32)": "uint32", "tensor(int64)": "int64", "tensor(uint64)": "uint64",
    "tensor(bool)": "bool", "tensor(string)": "string",
}  # fmt: skip


# Where another program loaded onnxruntime first, what `bedplate/__init__.py` sets came too late for it.
ort.disable_telemetry_events()

_STALLS = 32 << 20
"""Graphs of so many bytes are loaded by way of a file."""


@contextlib.contextmanager
def loadable(graph: bytes) -> Iterator[bytes | str]:
    """Give what an engine loads a graph from: its bytes, or for a large graph the path of a private copy.

    Engines read bytes while they hold Python's lock, 0.6 ms a megabyte in which a server answers nobody; a file they
    read without it (decision 18). The copy lies alone in a folder of its own, so nothing is found beside it. Where no
    copy can be written, the bytes do.
    """
    with contextlib.ExitStack() as stack:
        source: bytes | str = graph
        if len(graph) >= _STALLS:
            with contextlib.suppress(OSError):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bedplate-"))
                file = Path(folder) / "graph.onnx"
                file.write_bytes(graph)
                source = str(file)
        yield source


class OnnxPredict:
    """A `Predict` over one ONNX Runtime session; threads may share it.

    `threads` is the size of the pool that one call may use; None means all that this machine grants. Threads never
    spin while they wait, since a server shares its processors with others. A graph made for exactly one row is run
    once a row. Outputs that are no tensors (sequences, maps) are left out. `prepare` makes the graph's inputs of what
    is given (`Codec.prepare`). Where a graph carries a past (`PAST`), a call begins without one, and `step` goes on.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        variant: str,
        threads: int | None = None,
        where: str = "graph",
        prepare: Prepare | None = None,
    ) -> None:
        self.prepare = prepare
        options = ort.SessionOptions()
        self.threads = threads_granted() if threads is None else threads
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised; it needn't be printed, too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The arena keeps what the largest batch needed, for ever; without it nothing got slower (decision 18).
        options.enable_cpu_mem_arena = False
        try:
            with loadable(graph) as source:
                self._session = ort.InferenceSession(
                    source, options, providers=["CPUExecutionProvider"], enable_fallback=0
                )
            taken, given = self._session.get_inputs(), self._session.get_outputs()
            self.inputs = [_spec(node) for node in taken]
            self.outputs = [_spec(node) for node in given if node.type.startswith("tensor(")]
            # With the row axis; -1 where a size is free.
            self.shapes = {node.name: _sizes(node) for node in taken}
            self.output_shapes = {node.name: _sizes(node) for node in given}
        except Exception as error:  # onnxruntime raises a dozen unrelated types of its own; names may be no text
            raise BundleError("onnxruntime can't load this graph", where=where, received=_first(error)) from error
        self.variant = variant
        self.row_by_row = bool(taken) and all(shape[:1] == (1,) for shape in self.shapes.values())
        self.past = [spec for spec in self.inputs if spec.name.startswith(PAST)]
        """The inputs that carry what earlier calls left behind; [] where a call is complete in itself."""
        self._names = [spec.name for spec in self.outputs if not spec.name.startswith(PRESENT)]
        self._all = [spec.name for spec in self.outputs]

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the graph's outputs by name."""
        return run_prepared(self._run, inputs, self.prepare, self.inputs)

    def _run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        if self.past:
            return self.step(inputs, self._names)
        feed = {spec.name: _fitted(inputs[spec.name], spec) for spec in self.inputs}
        rows = count(feed) if self.row_by_row else 1
        if rows != 1:
            return concatenate([self._run(take(feed, slice(row, row + 1))) for row in range(rows)])
        return dict(zip(self._names, self._session.run(self._names, feed), strict=True))

    def step(self, inputs: Arrays, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Return outputs by name, all where none are named, of a call that goes on from the past among its inputs.

        What isn't given of the past is empty.
        """
        rows = count({name: array for name, array in inputs.items() if not name.startswith(PAST)})
        feed = {
            spec.name: _empty(rows, spec) if spec.name not in inputs and spec in self.past
            else _fitted(inputs[spec.name], spec)
            for spec in self.inputs
        }  # fmt: skip
        wanted = list(names or self._all)
        return dict(zip(wanted, self._session.run(wanted, feed), strict=True))


def _empty(rows: int, spec: TensorSpec) -> np.ndarray:
    return np.zeros((rows, *(0 if size < 0 else size for size in spec.shape)), spec.dtype)


def run_prepared(
    run: Callable[[Arrays], dict[str, np.ndarray]], inputs: Arrays, prepare: Prepare | None, specs: Sequence[TensorSpec]
) -> dict[str, np.ndarray]:
    """Return what `run` answers to prepared inputs; rows of a free length run in parts of like length."""
    if prepare is None:
        return run(inputs)
    made = prepare(inputs)
    if len(specs) == 1 and specs[0].shape == (-1,):
        return dict(by_length(run, made, specs[0].name))
    return run(made)


def _first(error: Exception) -> str:
    """Return an error's first line, without the path of a private copy and the place in onnxruntime's source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = re.sub(r"/\S+\.(?:h|cc):\d+ .*?\) (?=[A-Z])", "", lines[0])
    return re.sub(r"\S*/bedplate-[^/\s]+/graph\.onnx", "the graph", line)[:300]


def _spec(node: ort.NodeArg) -> TensorSpec:
    return TensorSpec(node.name, _TYPES.get(node.type, node.type), _sizes(node)[1:])


def _sizes(node: ort.NodeArg) -> tuple[int, ...]:
    """Return a tensor's shape; -1 where a size is free, () where it isn't known (sequences and maps)."""
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ())


def _fitted(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if spec.dtype == "string":
        return array if array.dtype == object else array.astype(object)
    return np.ascontiguousarray(array)


def check_boundary(
    predict: OnnxPredict, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str
) -> None:
    """Raise a BundleError unless the graph takes exactly the contract's tensors and gives its outputs."""
    taken = {spec.name: spec for spec in predict.inputs if spec not in predict.past}
    known = {spec.name: spec for spec in inputs}
    if set(taken) - set(known):
        raise BundleError(
            "the graph takes tensors that the contract doesn't give", where=where,
            expected=f"a part of {sorted(known)}", received=f"{sorted(taken)}",
        )  # fmt: skip
    for name, spec in taken.items():
        promised = known[name]
        fits = len(spec.shape) == len(promised.shape) and all(
            a in (-1, b) for a, b in zip(spec.shape, promised.shape, strict=True)
        )
        if spec.dtype != promised.dtype or not fits:
            raise BundleError(
                f"the graph's input '{name}' isn't what the contract says", where=where,
                expected=f"{promised.dtype}{list(promised.shape)}", received=f"{spec.dtype}{list(spec.shape)}",
            )  # fmt: skip
    given = [spec.name for spec in predict.outputs]
    for output in outputs:
        if output.name not in given:
            raise BundleError(
                "the graph lacks an output that the contract promises", where=where, expected=output.name,
                received=str(given),
            )  # fmt: skip
