"""Change a graph that was made elsewhere so that it fits a bundle: what comes before it, behind it, and beside it.

All of this needs the `onnx` package; a graph that is taken as it is doesn't. The foreign graph's own names get a
prefix, so that what is put around it can't collide with them.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.errors import InputError

Layout = Literal["nchw", "nhwc"]
MOST_BYTES = (1 << 31) - 1
"""A protobuf message is smaller than two gigabytes."""

_PREFIX = "model/"


def onnx_package() -> Any:
    """Return the `onnx` package, or raise an InputError that names what to install."""
    try:
        import onnx
        import onnx.inliner
    except ModuleNotFoundError as error:
        raise InputError(
            "this graph must be changed to fit a bundle, and that needs the onnx package",
            received="it isn't installed",
            hint='pip install "bedplate[train]"; plain tensors (--codec tensor without --labels) need nothing',
        ) from error
    return onnx


def self_contained(path: Path) -> bytes:
    """Return a graph as one file: tensors that lie in other files are packed in, local functions are put in place.

    Only plain files of the graph's own folder are read: no link, no other folder.

    Raises:
        InputError: a tensor lies elsewhere or is missing, or all of it is two gigabytes or more.
    """
    onnx = onnx_package()
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own errors
        raise InputError("not a readable ONNX graph", where=str(path), received=str(error)[:200]) from error
    outside = [t for t in onnx.external_data_helper._get_all_tensors(model) if t.data_location == t.EXTERNAL]
    total = path.stat().st_size
    for location in {_location(tensor, path) for tensor in outside}:
        total += _beside(path, location)
    if total > MOST_BYTES:
        raise InputError(
            "too large for one ONNX file", where=str(path), expected="less than 2 GiB", received=f"{total:,} bytes"
        )
    if outside:
        try:
            onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # onnx raises its checker's errors here, and the system's
            raise InputError(
                "the tensors beside the graph can't be read", where=str(path), received=str(error).splitlines()[0][:200]
            ) from error
        for tensor in outside:
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    if model.functions:
        own = {function.domain for function in model.functions}
        model = onnx.inliner.inline_local_functions(model)
        kept = [entry for entry in model.opset_import if entry.domain not in own or not entry.domain]
        del model.opset_import[:]
        model.opset_import.extend(kept)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _location(tensor: Any, path: Path) -> str:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    # Text that isn't UTF-8 comes out of protobuf as bytes.
    if not isinstance(location, str) or location in ("", ".", "..") or set(location) & set("/\\\0"):
        raise InputError(
            "the graph keeps a tensor outside its own folder", where=str(path),
            expected="the name of a file beside the graph", received=repr(location[:100]),
        )  # fmt: skip
    plain: str = location
    return plain


def _beside(path: Path, location: str) -> int:
    """Return the size of a plain file beside the graph."""
    try:
        found = (path.parent / location).lstat()
    except OSError as error:
        raise InputError(
            "a file with the graph's tensors is missing", where=str(path.parent), expected=location,
            hint="keep both files together",
        ) from error  # fmt: skip
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise InputError(
            "the graph's tensors must lie in a plain file", where=str(path.parent / location),
            received="a link, or no file",
        )  # fmt: skip
    return found.st_size


def _prefix(graph: Any) -> None:
    """Put the prefix before every tensor's name, in the graphs inside it, too.

    Not by `onnx.compose.add_prefix`: it leaves names alone that an inner graph takes from around it (onnx 1.23).
    """
    for node in graph.node:
        node.input[:] = [_PREFIX + name if name else "" for name in node.input]
        node.output[:] = [_PREFIX + name if name else "" for name in node.output]
        for attribute in node.attribute:
            # Touching an absent graph would make it present.
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _prefix(inner)
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = _PREFIX + named.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = _PREFIX + sparse.values.name
    # What the exporter noted of shapes inside may speak of the old row axis.
    del graph.value_info[:], graph.quantization_annotation[:]


class Frame:
    """A foreign graph with nodes before and behind it.

    Args:
        data: the self-contained graph.
    """

    def __init__(self, data: bytes) -> None:
        self._onnx = onnx_package()
        model = self._onnx.load_from_string(data)
        # From IR 4 on constants needn't be inputs, too; nothing of what came before is lost.
        model.ir_version = max(model.ir_version, 8)
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        try:
            _prefix(model.graph)
        except TypeError as error:
            raise InputError("the graph has names that are no UTF-8", received=str(error)) from error
        self._model = model
        known = {tensor.name for tensor in self._model.graph.initializer}
        self._inputs = [item for item in self._model.graph.input if item.name not in known]
        self._before: list[Any] = []
        self._behind: list[Any] = []
        self._constants: list[Any] = []
        self._new_inputs: list[Any] = []
        self._new_outputs: list[Any] = []

    def inner(self, name: str) -> str:
        """Return what a tensor of the foreign graph is called inside."""
        return _PREFIX + name

    def constant(self, array: np.ndarray) -> str:
        """Add a constant; return its name."""
        name = f"frame/constant{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def before(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node before the graph; return its output's name."""
        return self._add(self._before, operator, inputs, output, attributes)

    def behind(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node behind the graph; return its output's name."""
        return self._add(self._behind, operator, inputs, output, attributes)

    def _add(
        self, nodes: list[Any], operator: str, inputs: Sequence[str], output: str | None, attributes: dict[str, Any]
    ) -> str:
        name = output or f"frame/{operator.lower()}{len(self._before) + len(self._behind)}"
        nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def take(self, spec: TensorSpec, rows: int | str = "rows") -> None:
        """Declare an input of the whole; `rows` is the row axis."""
        self._new_inputs.append(self._declared(spec, rows))

    def give(self, spec: TensorSpec, rows: int | str = "rows") -> None:
        """Declare an output of the whole."""
        self._new_outputs.append(self._declared(spec, rows))

    def _declared(self, spec: TensorSpec, rows: int | str) -> Any:
        shape = [rows, *(size if size != -1 else f"{spec.name}_{axis}" for axis, size in enumerate(spec.shape, 1))]
        return self._onnx.helper.make_tensor_value_info(spec.name, self.type_of(spec.dtype), shape)

    def type_of(self, dtype: str) -> int:
        """Return ONNX's number of a type."""
        if dtype == "string":
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def squeezed(self, name: str, output: str, *, undo: bool = False) -> None:
        """Take the first axis off an input of the whole, or put it before an output (`undo`)."""
        operator, add = ("Unsqueeze", self.behind) if undo else ("Squeeze", self.before)
        if self.opset < 13:
            add(operator, name, output=output, axes=[0])
        else:
            add(operator, name, self.constant(np.array([0], np.int64)), output=output)

    def keep_input(self, name: str) -> None:
        """Leave an input of the foreign graph as it is."""
        item = next(item for item in self._inputs if item.name == self.inner(name))
        declared = self._onnx.ValueInfoProto()
        declared.CopyFrom(item)
        declared.name = name
        self._new_inputs.append(declared)
        self.before("Identity", name, output=self.inner(name))

    def finished(self) -> bytes:
        """Return the whole as serialised ONNX."""
        model, graph = self._model, self._model.graph
        nodes = [*self._before, *graph.node, *self._behind]
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        graph.initializer.extend(self._constants)
        graph.input.extend(self._new_inputs)
        graph.output.extend(self._new_outputs)
        if model.ByteSize() > MOST_BYTES:
            raise InputError("too large for one ONNX file", expected="less than 2 GiB")
        serialised: bytes = model.SerializeToString(deterministic=True)
        return serialised
