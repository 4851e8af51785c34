"""What each operation of a graph says of channels: which indices of its arguments and of its result are one.

A rule returns the atoms of the result (see `channel_spaces`), having joined and frozen what it must; None where it
doesn't know the form it was given. An operation without a rule freezes all that it touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bedplate.compression.channel_spaces import Axes, Rule, Spaces, unremovable


def _convolution(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes | None:
    x, weight, atoms = spaces.of(given["input"]), spaces.of(given["weight"]), spaces.atoms
    if len(x) != len(weight):
        return None  # a single image, without rows
    out, columns = weight[:2]
    atoms.freeze(*weight[2:])
    if given["groups"] == 1:
        atoms.join(x[1], columns)
        spaces.summed(columns)
    elif len(columns) == 1:  # depthwise: each channel makes as many of its own
        atoms.freeze(columns)
        atoms.join(np.repeat(x[1], len(out) // len(x[1])), out)
    else:
        atoms.freeze(x[1], out, columns)
    for bias in spaces.of(given["bias"]):
        atoms.join(bias, out)
    return (x[0], out, *map(unremovable, shape[2:]))


def _linear(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    x, (out, columns) = spaces.of(given["input"]), spaces.of(given["weight"])
    spaces.atoms.join(x[-1], columns)
    spaces.summed(columns)
    for bias in spaces.of(given["bias"]):
        spaces.atoms.join(bias, out)
    return (*x[:-1], out)


def _product(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes | None:
    left, right = (spaces.of(given[name]) for name in (("self", "other") if "other" in given else ("self", "mat2")))
    if len(right) != 2 or len(left) < 2:
        return None
    spaces.atoms.join(left[-1], right[0])
    spaces.summed(right[0])
    spaces.summed(left[-1])
    return (*left[:-1], right[1])


def _batch_norm(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    x = spaces.of(given["input"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        for axis in spaces.of(given[name]):
            spaces.atoms.join(axis, x[1])
    return x


def _layer_norm(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    x = spaces.of(given["input"])
    last = x[len(x) - len(given["normalized_shape"]) :]
    for name in ("weight", "bias"):
        for axis, other in zip(spaces.of(given[name]), last, strict=False):
            spaces.atoms.join(axis, other)
    spaces.mixed.extend(last)
    return x


def _same(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    """Pass on what each number becomes by itself."""
    return spaces.of(next(iter(given.values())))


def _elementwise(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    """Join two tensors by broadcasting: axes of one size are one, an axis of size 1 goes with any."""
    found: list[np.ndarray | None] = [None] * len(shape)
    for axes in (spaces.of(given["self"]), spaces.of(given.get("other", given.get("exponent")))):
        for k, axis in enumerate(axes, start=len(shape) - len(axes)):
            before = found[k]
            if len(axis) == 1 < shape[k]:
                spaces.atoms.freeze(axis)
            elif before is None:
                found[k] = axis
            else:
                spaces.atoms.join(before, axis)
    return tuple(unremovable(size) if axis is None else axis for axis, size in zip(found, shape, strict=True))


def _pool(axes: int) -> Rule:
    def rule(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
        x = spaces.of(next(iter(given.values())))
        return (*x[:-axes], *map(unremovable, shape[-axes:]))

    return rule


def _reduce(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes | None:
    x, dims = spaces.of(given["self"]), given.get("dim")
    if dims is None:
        return None
    reduced = {dim % len(x) for dim in ([dims] if isinstance(dims, int) else dims)}
    spaces.atoms.freeze(*(x[k] for k in reduced))
    if given["keepdim"]:
        return tuple(unremovable(1) if k in reduced else axis for k, axis in enumerate(x))
    return tuple(axis for k, axis in enumerate(x) if k not in reduced)


def _reshape(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    """Split both shapes into the shortest runs of equal products, and carry each run over."""
    x, atoms = spaces.of(given["self"]), spaces.atoms
    sizes, found, i, j = [len(axis) for axis in x], [], 0, 0
    while i < len(sizes) or j < len(shape):
        k, m = i + 1, j + 1
        while (left := math.prod(sizes[i:k])) != (right := math.prod(shape[j:m])):
            k, m = (k + 1, m) if left < right else (k, m + 1)
        run = x[i:k]
        loose = [n for n, axis in enumerate(run) if not atoms.is_frozen(axis)]
        if len(shape[j:m]) == 1 and len(loose) == 1:
            at = np.unravel_index(np.arange(shape[j]), sizes[i:k])[loose[0]]
            found.append(run[loose[0]][at])
        else:
            atoms.freeze(*run)
            found += [unremovable(size) for size in shape[j:m]]
        i, j = k, m
    return tuple(found)


def _moved(order: Callable[[dict[str, Any], int], Sequence[int]]) -> Rule:
    def rule(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
        x = spaces.of(given["self"])
        return tuple(x[k] for k in order(given, len(x)))

    return rule


def _swapped(given: dict[str, Any], ndim: int) -> list[int]:
    order = list(range(ndim))
    one, other = given["dim0"], given["dim1"]
    order[one], order[other] = order[other], order[one]
    return order


def _concatenation(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    parts, dim = [spaces.of(value) for value in given["tensors"]], given["dim"] % len(shape)
    for part in parts[1:]:
        for k, axis in enumerate(part):
            if k != dim:
                spaces.atoms.join(parts[0][k], axis)
    joined = np.concatenate([part[dim] for part in parts])
    return tuple(joined if k == dim else axis for k, axis in enumerate(parts[0]))


def _padding(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes | None:
    """Put frozen channels around: the module says how many, and goes on saying so."""
    found, pads = list(spaces.of(given["self"])), list(given["pad"])
    if min(pads) < 0 or given.get("mode", "constant") != "constant":
        return None
    for k in range(len(pads) // 2):
        before, after = pads[2 * k : 2 * k + 2]
        found[-1 - k] = np.concatenate([unremovable(before), found[-1 - k], unremovable(after)])
    return tuple(found)


def _slice(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    """Pass a whole axis on and freeze one that is cut: the module says where to cut."""
    x = spaces.of(given["self"])
    for axis, size in zip(x, shape, strict=True):
        if len(axis) != size:
            spaces.atoms.freeze(axis)
    return tuple(axis if len(axis) == size else unremovable(size) for axis, size in zip(x, shape, strict=True))


def _select(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    x = spaces.of(given["self"])
    dim = given["dim"] % len(x)
    spaces.atoms.freeze(x[dim])
    return x[:dim] + x[dim + 1 :]


def _softmax(spaces: Spaces, given: dict[str, Any], shape: tuple[int, ...]) -> Axes:
    x = spaces.of(given["self"])
    spaces.atoms.freeze(x[given["dim"]])
    return x


_UNARY = """relu relu6 gelu tanh sigmoid silu mish hardswish hardsigmoid hardtanh leaky_relu elu selu softplus abs neg
square sqrt exp clamp dropout alpha_dropout feature_dropout contiguous clone alias detach to _to_copy type_as"""

RULES: dict[str, Rule] = {
    **{f"aten::{name}": _same for name in _UNARY.split()},
    **{f"aten::{name}": _elementwise for name in ("add", "sub", "mul", "div", "maximum", "minimum", "pow")},
    **{f"aten::conv{k}d": _convolution for k in (1, 2, 3)},
    **{f"aten::{kind}_pool{k}d": _pool(k) for kind in ("max", "avg", "adaptive_avg") for k in (1, 2, 3)},
    **{f"aten::{name}": _reduce for name in ("mean", "sum", "amax")},
    **{f"aten::{name}": _reshape for name in ("view", "reshape", "_unsafe_view", "flatten", "unsqueeze", "squeeze")},
    **{f"aten::{name}": _padding for name in ("pad", "constant_pad_nd")},
    **{f"aten::{name}": _softmax for name in ("softmax", "log_softmax")},
    **{f"aten::{name}": _product for name in ("matmul", "mm")},
    "aten::linear": _linear,
    "aten::batch_norm": _batch_norm,
    "aten::layer_norm": _layer_norm,
    "aten::permute": _moved(lambda given, ndim: [dim % ndim for dim in given["dims"]]),
    "aten::transpose": _moved(_swapped),
    "aten::t": _moved(lambda given, ndim: range(ndim)[::-1]),
    "aten::cat": _concatenation,
    "aten::slice": _slice,
    "aten::select": _select,
}  # fmt: skip
"""By operation of ATen, without the underscore of its in-place form."""
