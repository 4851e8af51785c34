"""What is put around a foreign graph so that a codec's tensors fit in and answers come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bedplate.bundle.foreign_graph import Frame, Layout
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import PROBABILITIES, VALUE, Answers
from bedplate.codecs.codec import Codec, TensorSpec
from bedplate.codecs.columns import ColumnSchema, tensor_names
from bedplate.codecs.image import IMAGE, ImageCodec, Resize
from bedplate.codecs.table import TableCodec
from bedplate.codecs.table_learning import Learned
from bedplate.codecs.tensor import TensorCodec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, listing

_BATCH_OF_ONE = "The graph was made for one row; several are answered one after another."
_WHOLE = "The graph has no row axis; each row is one whole call."


@dataclass(frozen=True)
class Preprocessing:
    """How uint8 pixels become what an image graph takes: (pixel · scale − mean) / std, a figure a channel.

    `size` is (height, width) where the graph leaves it open; `scale` None is 1/255 for fractions and 1 for whole
    numbers; `order` is the order of the colours that the graph wants.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float | None = None
    layout: Layout | None = None
    size: tuple[int, int] | None = None
    order: Literal["rgb", "bgr"] = "rgb"
    resize: Resize = "stretch"


@dataclass(frozen=True)
class Framed:
    """A graph that fits a codec. `finish` is given its golden outputs and returns the graph with its answers' names."""

    graph: bytes
    codec: Codec
    answers: Answers
    outputs: list[TensorSpec] | None
    task: str
    whole: bool = False
    note: str = ""
    finish: Callable[[Arrays], Framed] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Head:
    """Which output is answered, and how."""

    spec: TensorSpec
    labels: tuple[str, ...] | None
    activation: str
    target: str


def frame_tensors(
    session: OnnxPredict, data: bytes, labels: tuple[str, ...] | None, activation: str, output: str | None, target: str,
    *, whole: bool,
) -> Framed:  # fmt: skip
    """Return a graph that takes its own inputs. Without labels and with a row axis it stays as it is, byte by byte.

    `whole`: the graph has no row axis, so an axis of one is put before each input and output.
    """
    note = f"\n{_WHOLE}\n" if whole else f"\n{_BATCH_OF_ONE}\n" if session.row_by_row else ""
    if whole:
        data, inputs, given = _whole_calls(session, data)
    else:
        inputs, given = list(session.inputs), list(session.outputs)
    codec = TensorCodec(tuple(inputs))
    if labels is None:
        answers = Answers(target, tensors=tuple(one.name for one in given))
        return Framed(data, codec, answers, given, "tensors", whole, note)
    if whole:
        raise InputError("labels need a graph with a row axis", hint="leave --labels out")
    head = _Head(_pick(given, output), labels, activation, target)

    def build(frame: Frame) -> None:
        for one in session.inputs:
            frame.keep_input(one.name)

    return _with_head(data, build, codec, head, "tensor-classification", note, _rows_of(session))


def _rows_of(session: OnnxPredict) -> int | str:
    return 1 if session.row_by_row else "rows"


def _whole_calls(session: OnnxPredict, data: bytes) -> tuple[bytes, list[TensorSpec], list[TensorSpec]]:
    frame = Frame(data)
    inputs = [TensorSpec(one.name, one.dtype, session.shapes[one.name]) for one in session.inputs]
    given = [TensorSpec(one.name, one.dtype, session.output_shapes[one.name]) for one in session.outputs]
    for one in inputs:
        frame.take(one, 1)
        frame.squeezed(one.name, frame.inner(one.name))
    for one in given:
        frame.give(one, 1)
        frame.squeezed(frame.inner(one.name), one.name, undo=True)
    return frame.finished(), inputs, given


def frame_image(
    session: OnnxPredict, data: bytes, how: Preprocessing, labels: tuple[str, ...] | None, activation: str,
    output: str | None, target: str,
) -> Framed:  # fmt: skip
    """Return a graph that takes uint8 images [N,H,W,C] and normalises them itself."""
    if len(session.inputs) != 1:
        raise InputError(
            "an image graph has one input", received=listing(one.name for one in session.inputs),
            hint="use --codec tensor",
        )  # fmt: skip
    spec = session.inputs[0]
    layout, height, width, channels = _image_shape(spec, how)
    whole_numbers = not spec.dtype.startswith("float")
    if spec.dtype not in {"float16", "float32", "float64", "uint8"}:
        raise InputError("an image graph takes fractions or uint8", where=spec.name, received=spec.dtype)
    scale = how.scale if how.scale is not None else 1.0 if whole_numbers else 1 / 255
    mean, std = _per_channel(how.mean, 0.0, channels, "--mean"), _per_channel(how.std, 1.0, channels, "--std")
    if scale <= 0 or min(std) <= 0:
        raise InputError("scale and deviations must lie above 0", received=f"scale {scale}, std {std}")
    if whole_numbers and (scale, mean, std) != (1.0, (0.0,) * channels, (1.0,) * channels):
        raise InputError("a graph of uint8 takes the pixels as they are", hint="leave --mean, --std and --scale out")
    # The codec speaks of pixels from 0 to 255; one that divides by zero isn't possible.
    codec = ImageCodec(
        height, width, channels, how.resize, tuple(one / scale for one in mean), tuple(one / scale for one in std)
    )

    def build(frame: Frame) -> None:
        frame.take(TensorSpec(IMAGE, "uint8", (height, width, channels)), _rows_of(session))
        pixels = IMAGE
        if how.order == "bgr" and channels == 3:
            pixels = frame.before("Gather", pixels, frame.constant(np.array([2, 1, 0], np.int64)), axis=3)
        if not whole_numbers:
            pixels = frame.before("Cast", pixels, to=frame.type_of("float32"))
            pixels = frame.before("Mul", pixels, frame.constant(np.array(scale, np.float32)))
            pixels = frame.before("Sub", pixels, frame.constant(np.array(mean, np.float32)))
            pixels = frame.before("Div", pixels, frame.constant(np.array(std, np.float32)))
            pixels = frame.before("Cast", pixels, to=frame.type_of(spec.dtype))
        last = frame.inner(spec.name)
        if layout == "nchw":
            frame.before("Transpose", pixels, output=last, perm=[0, 3, 1, 2])
        else:
            frame.before("Identity", pixels, output=last)

    note = f"\n{_BATCH_OF_ONE}\n" if session.row_by_row else ""
    if labels is None:
        return _as_given(session, data, build, codec, target, note)
    head = _Head(_pick(session.outputs, output), labels, activation, target)
    return _with_head(data, build, codec, head, "image-classification", note, _rows_of(session))


def _image_shape(spec: TensorSpec, how: Preprocessing) -> tuple[Layout, int, int, int]:
    """Return (layout, height, width, channels)."""
    if len(spec.shape) != 3:
        raise InputError(
            "not an image's shape", where=spec.name, expected="[rows, channels, height, width] or channels last",
            received=str(["rows", *spec.shape]), hint="use --codec tensor",
        )  # fmt: skip
    fitting: list[Layout] = [name for name, axis in _AXES.items() if spec.shape[axis] in {1, 3, -1}]
    sure: list[Layout] = [name for name in fitting if spec.shape[_AXES[name]] != -1]
    candidates = [how.layout] if how.layout else sure or fitting
    if len(candidates) != 1 or candidates[0] not in fitting:
        raise InputError(
            "can't tell where the channels are", where=spec.name, expected="1 or 3 channels, first or last",
            received=str(["rows", *spec.shape]), hint="say --layout nchw or --layout nhwc",
        )  # fmt: skip
    layout = candidates[0]
    axis = _AXES[layout]
    channels = spec.shape[axis] if spec.shape[axis] != -1 else len(how.mean) or 3
    height, width = (size for k, size in enumerate(spec.shape) if k != axis)
    if how.size is not None:
        for said, given in zip((height, width), how.size, strict=True):
            if said not in (-1, given) or given < 1:
                raise InputError(
                    "the graph has a size of its own", where="--size", expected=f"{height}x{width}",
                    received=f"{how.size[0]}x{how.size[1]}",
                )  # fmt: skip
        height, width = how.size
    if -1 in (height, width):
        raise InputError("the graph takes images of any size", where=spec.name, hint="say --size HEIGHTxWIDTH")
    return layout, height, width, channels


_AXES: dict[Layout, int] = {"nchw": 0, "nhwc": 2}


def _per_channel(given: Sequence[float], plain: float, channels: int, where: str) -> tuple[float, ...]:
    if len(given) in {0, 1}:
        return tuple(given or (plain,)) * channels
    if len(given) != channels:
        raise InputError("a figure a channel is needed", where=where, expected=str(channels), received=str(len(given)))
    return tuple(given)


def frame_table(
    session: OnnxPredict, data: bytes, columns: tuple[str, ...] | None, labels: tuple[str, ...] | None, activation: str,
    output: str | None, target: str,
) -> Framed:  # fmt: skip
    """Return a graph that takes one float64 tensor a column, in place of one of all columns side by side."""
    spec = session.inputs[0]
    if len(session.inputs) != 1 or not spec.dtype.startswith("float") or len(spec.shape) != 1:
        raise InputError(
            "a table's graph has one input of fractions, [rows, columns]",
            received=listing(f"{one.name}: {one.dtype}{list(one.shape)}" for one in session.inputs),
            hint="use --codec tensor",
        )  # fmt: skip
    if columns is None:
        if spec.shape[0] == -1:
            raise InputError("how many columns the graph takes isn't known", hint="name them with --columns FILE")
        columns = tuple(f"column{k}" for k in range(1, spec.shape[0] + 1))
    if len(set(columns)) < len(columns) or not spec.fits((len(columns),)) or target in columns:
        raise InputError(
            "the columns don't fit the graph", where="--columns", expected=f"{spec.shape[0]} names, none twice",
            received=f"{len(columns)}, {len(set(columns))} of them different",
        )  # fmt: skip
    schema = [ColumnSchema(name, "number", form=".") for name in columns]
    codec = TableCodec(schema, target, Learned((), (), (), ()))
    names = [tensor_names(schema)[name, ""] for name in columns]

    def build(frame: Frame) -> None:
        for name in names:
            frame.take(TensorSpec(name, "float64"), _rows_of(session))
        shape = frame.constant(np.array([-1, 1], np.int64))
        whole = frame.before("Concat", *(frame.before("Reshape", name, shape) for name in names), axis=1)
        frame.before("Cast", whole, output=frame.inner(spec.name), to=frame.type_of(spec.dtype))

    note = f"\n{_BATCH_OF_ONE}\n" if session.row_by_row else ""
    head = _Head(_pick(session.outputs, output), labels, activation, target)
    task = "tabular-regression" if labels is None else "tabular-classification"
    return _with_head(data, build, codec, head, task, note, _rows_of(session))


def _as_given(
    session: OnnxPredict, data: bytes, build: Callable[[Frame], None], codec: Codec, target: str, note: str
) -> Framed:
    """Frame the inputs and leave the outputs as they are."""
    frame = Frame(data)
    build(frame)
    for one in session.outputs:
        frame.give(one, _rows_of(session))
        frame.behind("Identity", frame.inner(one.name), output=one.name)
    answers = Answers(target, tensors=tuple(one.name for one in session.outputs))
    return Framed(frame.finished(), codec, answers, list(session.outputs), "tensors", note=note)


def _with_head(
    data: bytes, build: Callable[[Frame], None], codec: Codec, head: _Head, task: str, note: str, rows: int | str
) -> Framed:
    """Frame the inputs, and then, when its answers have been seen, the output that is answered."""

    def made(head_of: Callable[[Frame, str], TensorSpec]) -> bytes:
        frame = Frame(data)
        build(frame)
        frame.give(head_of(frame, frame.inner(head.spec.name)), rows)
        return frame.finished()

    def raw(frame: Frame, inner: str) -> TensorSpec:
        spec = TensorSpec(PROBABILITIES if head.labels else VALUE, head.spec.dtype, head.spec.shape)
        frame.behind("Identity", inner, output=spec.name)
        return spec

    answers = Answers(head.target, head.labels)

    def finish(outputs: Arrays) -> Framed:
        seen = outputs[answers.output]
        graph = made(_number(head, seen) if head.labels is None else _classes(head, seen))
        return Framed(graph, codec, answers, None, task, note=note)

    return Framed(made(raw), codec, answers, None, task, note=note, finish=finish)


def _number(head: _Head, seen: np.ndarray) -> Callable[[Frame, str], TensorSpec]:
    if seen[0].size != 1 or seen.dtype.kind not in "fiu":
        raise InputError(
            "a table's answer is one number a row, or one of --labels", where=head.spec.name,
            received=f"{seen.dtype}{list(seen.shape[1:])}", hint="give --labels, or name another with --output",
        )  # fmt: skip

    def build(frame: Frame, inner: str) -> TensorSpec:
        flat = frame.behind("Reshape", inner, frame.constant(np.array([-1], np.int64)))
        frame.behind("Cast", flat, output=VALUE, to=frame.type_of("float32"))
        return TensorSpec(VALUE, "float32")

    return build


def _classes(head: _Head, seen: np.ndarray) -> Callable[[Frame, str], TensorSpec]:
    labels = head.labels or ()
    if seen[0].size != len(labels) or seen.dtype.kind != "f" or len(labels) < 2:
        raise InputError(
            "the labels don't fit the output", where=head.spec.name,
            expected=f"{seen[0].size} labels, one a line" if seen.dtype.kind == "f" else "an output of fractions",
            received=f"{len(labels)} labels for {seen.dtype}{list(seen.shape[1:])}",
            hint="check the file of labels, or name another output with --output",
        )  # fmt: skip
    rows = seen.reshape(len(seen), -1).astype(np.float64)
    sums_to_one = bool((rows >= -1e-6).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))
    if head.activation == "none" and not sums_to_one:
        raise InputError(
            "the output isn't probabilities", where=head.spec.name, expected="rows that add up to 1",
            received=f"sums from {rows.sum(axis=1).min():.3g} to {rows.sum(axis=1).max():.3g}",
            hint="say --activation softmax, or leave it out",
        )  # fmt: skip
    softmax = head.activation == "softmax" or not sums_to_one

    def build(frame: Frame, inner: str) -> TensorSpec:
        flat = frame.behind("Reshape", inner, frame.constant(np.array([-1, len(labels)], np.int64)))
        flat = frame.behind("Cast", flat, to=frame.type_of("float32"))
        if softmax:
            frame.behind("Softmax", flat, output=PROBABILITIES, axis=1)
        else:
            frame.behind("Identity", flat, output=PROBABILITIES)
        return TensorSpec(PROBABILITIES, "float32", (len(labels),))

    return build


def _pick(outputs: Sequence[TensorSpec], name: str | None) -> TensorSpec:
    known = {one.name: one for one in outputs}
    if name is not None:
        if name not in known:
            raise InputError("no such output", where="--output", expected=listing(known), received=name)
        return known[name]
    fractions = [one for one in outputs if one.dtype.startswith("float")]
    if len(outputs) == 1 or len(fractions) == 1:
        return outputs[0] if len(outputs) == 1 else fractions[0]
    raise InputError("the graph has several outputs", received=listing(known), hint="say which with --output NAME")
