"""Make a sealed bundle of a bare ONNX file that was made elsewhere (`bedplate import`)."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from bedplate.bundle.bundle import Bundle
from bedplate.bundle.foreign_frame import Framed, Preprocessing, frame_image, frame_table, frame_tensors
from bedplate.bundle.foreign_graph import MOST_BYTES, self_contained
from bedplate.bundle.foreign_rows import ROWS, check_steady, keeps_rows, made_up, read_rows_of, run_checked
from bedplate.bundle.golden import MOST_ROWS, Golden
from bedplate.bundle.layout import FOUNDATION
from bedplate.bundle.onnxscan import GraphFacts, scan_graph
from bedplate.bundle.session import OnnxPredict
from bedplate.bundle.write import write_bundle
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import DTYPES
from bedplate.core.arrays import Arrays, count
from bedplate.core.errors import BundleError, InputError, RunError, listing
from bedplate.core.hashing import sha256_bytes
from bedplate.core.machine import cpu_features, cpu_model, versions

CodecName = Literal["tensor", "image", "table"]
Activation = Literal["auto", "softmax", "none"]


@dataclass(frozen=True)
class ImportSpec:
    """What is known of a foreign graph beside its bytes.

    Attributes:
        codec: what payloads are.
        name: the bundle's name; None takes the file's.
        golden: an `.npz` file with an array an input; None makes rows up.
        rows: how many rows are made up.
        labels: the classes, in the order of the output; None answers with the outputs as they are.
        activation: what turns the output into probabilities; "auto" looks whether its rows add up to 1 already.
        output: which output the labels belong to, or the table's answer is; None takes the only one.
        columns: the names of a table's columns, in the order of the input.
        target: what is predicted, in words.
        image: how pixels become what the graph takes.
    """

    codec: CodecName = "tensor"
    name: str | None = None
    golden: Path | None = None
    rows: int = ROWS
    labels: tuple[str, ...] | None = None
    activation: Activation = "auto"
    output: str | None = None
    columns: tuple[str, ...] | None = None
    target: str = "answer"
    image: Preprocessing = field(default_factory=Preprocessing)


def import_onnx(path: Path, out: Path, spec: ImportSpec) -> Bundle:
    """Write a sealed bundle of an ONNX file to the new folder `out` and return it, opened and verified.

    The golden answers are ONNX Runtime's own. Without `onnx` installed, graphs that need no change can be imported.

    Raises:
        InputError: the file is no ONNX graph that runs here, its answers are random or not finite, or `spec` doesn't
            fit it; `out` exists.
    """
    if out.exists():
        raise RunError("already exists", where=str(out), hint="remove it, or name another folder with --out")
    data, facts = read_graph(path)
    session = _session(data, path, facts)
    _check_signature(session, path)
    framed = _framed(session, data, spec, path)
    predict, inputs, outputs = _answered(framed, spec, path)
    check_steady(predict, inputs, outputs)
    if framed.finish is not None:
        framed = framed.finish(outputs)
        predict = OnnxPredict(framed.graph, variant=FOUNDATION, where=str(path))
        outputs = run_checked(predict, inputs, str(path))
    given = framed.outputs and [_as_seen(one, outputs[one.name]) for one in framed.outputs]
    sealed = {name: outputs[name] for name in ([one.name for one in given] if given else [framed.answers.output])}
    strange = [name for name, array in sealed.items() if array.dtype == object]
    if strange:
        raise InputError("text among the outputs can't be sealed yet", where=str(path), received=listing(strange))
    origin = _origin(path, data, facts, session)
    return write_bundle(
        out,
        name=spec.name or default_name(path),
        task=framed.task,
        codec=framed.codec,
        answers=framed.answers,
        graphs={FOUNDATION: framed.graph},
        default=FOUNDATION,
        variants_info={FOUNDATION: {"reason": "imported as it was", "isa": {"made_on": sorted(cpu_features())}}},
        weights=None,
        model={"name": "imported", "arguments": {}, "imported": origin},
        report={"imported": origin, "metrics": {}},
        golden=Golden(inputs, {FOUNDATION: sealed}, None, "rows" if spec.golden else "synthetic"),
        reference={},
        lineage={"imported": origin, "versions": versions(), "machine": {"cpu": cpu_model()}},
        card=_card(spec.name or default_name(path), framed, origin),
        outputs=given,
    )


def _as_seen(spec: TensorSpec, array: np.ndarray) -> TensorSpec:
    """Return an output as its exporter declared it, or with open sizes where that isn't what came out."""
    if spec.fits(array.shape[1:]):
        return spec
    return TensorSpec(spec.name, spec.dtype, (-1,) * (array.ndim - 1))


def default_name(path: Path) -> str:
    """Return a file's name as a bundle's name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64]
    return plain or "imported"


def read_graph(path: Path) -> tuple[bytes, GraphFacts]:
    """Return a self-contained graph and what it says of itself; weights in a second file are packed in."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError("too large for one ONNX file", where=str(path), expected="less than 2 GiB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError("can't be read", where=str(path), received=error.strerror or str(error)) from error
    try:
        return data, scan_graph(data, str(path))
    except BundleError as error:
        # Tensors in a second file and local functions have a remedy, which may need installing; other reasons stay.
        remedy = "other files" in error.what or "local functions" in error.what
        if "not a readable" in error.what or not (remedy or importlib.util.find_spec("onnx")):
            raise
    data = self_contained(path)
    return data, scan_graph(data, str(path))


def _session(data: bytes, path: Path, facts: GraphFacts) -> OnnxPredict:
    try:
        return OnnxPredict(data, variant=FOUNDATION, where=str(path))
    except BundleError as error:
        said = (error.received or "").lower()
        if "opset" not in said and "ir version" not in said and "ir_version" not in said:
            raise
        raise InputError(
            "this onnxruntime doesn't know the graph's version", where=str(path),
            received=f"opset {facts.opsets.get('', 0)}, IR {facts.ir_version}; "
            f"onnxruntime {onnxruntime.__version__}: {error.received}",
            hint="export it with a lower opset, or upgrade onnxruntime",
        ) from error  # fmt: skip


def _check_signature(session: OnnxPredict, path: Path) -> None:
    if not session.inputs:
        raise InputError("the graph takes no inputs, so there is nothing to ask it", where=str(path))
    if not session.outputs:
        raise InputError("the graph gives no tensors", where=str(path), hint="export it without ZipMap or sequences")
    for one in (*session.inputs, *session.outputs):
        if one.dtype not in DTYPES:
            raise InputError(
                f"'{one.name}' is of a type that NumPy lacks", where=str(path), expected=listing(DTYPES),
                received=one.dtype,
            )  # fmt: skip


def _framed(session: OnnxPredict, data: bytes, spec: ImportSpec, path: Path) -> Framed:
    if spec.codec == "image":
        return frame_image(session, data, spec.image, spec.labels, spec.activation, spec.output, spec.target)
    if spec.codec == "table":
        return frame_table(session, data, spec.columns, spec.labels, spec.activation, spec.output, spec.target)
    whole = not _has_rows(session, spec, path)
    return frame_tensors(session, data, spec.labels, spec.activation, spec.output, spec.target, whole=whole)


def _has_rows(session: OnnxPredict, spec: ImportSpec, path: Path) -> bool:
    """Return whether the first axis of all inputs and outputs is the rows'."""
    first = {shape[:1] for shape in session.shapes.values()}
    if first not in ({(-1,)}, {(1,)}):
        return False
    specs = session.inputs
    if spec.golden is not None:
        return keeps_rows(session, read_rows_of(spec.golden, specs))
    inputs, _ = made_up(specs, session, rows=1)
    return keeps_rows(session, inputs)


def _answered(framed: Framed, spec: ImportSpec, path: Path) -> tuple[OnnxPredict, Arrays, Arrays]:
    """Return the framed graph's session, and golden rows with their answers."""
    predict = OnnxPredict(framed.graph, variant=FOUNDATION, where=str(path))
    specs = framed.codec.tensors
    if spec.golden is not None:
        inputs = read_rows_of(spec.golden, specs, whole=framed.whole)
        return predict, inputs, run_checked(predict, inputs, str(spec.golden))
    if not 1 <= spec.rows <= MOST_ROWS:
        raise InputError("golden rows", where="--rows", expected=f"1 to {MOST_ROWS}", received=str(spec.rows))
    inputs, outputs = made_up(specs, predict, rows=spec.rows)
    assert count(outputs) == spec.rows
    return predict, inputs, outputs


def _origin(path: Path, data: bytes, facts: GraphFacts, session: OnnxPredict) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": sha256_bytes(data),
        "opsets": dict(sorted(facts.opsets.items())),
        "ir_version": facts.ir_version,
        "nodes": facts.nodes,
        "inputs": {one.name: [one.dtype, list(session.shapes[one.name])] for one in session.inputs},
        "outputs": {one.name: one.dtype for one in session.outputs},
    }


def _card(name: str, framed: Framed, origin: Mapping[str, Any]) -> str:
    inputs = "\n".join(f"- `{one.name}`: {one.dtype}{list(one.shape)}" for one in framed.codec.tensors[:50])
    answers = (
        f"one of {len(framed.answers.labels)} labels, with probabilities" if framed.answers.labels
        else listing([one.name for one in framed.outputs]) if framed.outputs else "a number"
    )  # fmt: skip
    return (
        f"# {name}\n\nImported from `{origin['file']}` (SHA-256 `{origin['sha256'][:16]}…`), a graph of "
        f"{origin['nodes']} nodes. It was not trained or evaluated here: nothing is known of its quality, its data or "
        f"its licence beyond what its maker says.\n\n**Inputs** (a row each)\n\n{inputs}\n\n**Answers**: {answers}.\n"
        f"{framed.note}"
    )
