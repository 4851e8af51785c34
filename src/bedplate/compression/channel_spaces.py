"""Channel spaces: which rows and columns of a network's weights stand for one and the same channel.

Every index of every axis of every tensor in the exported graph is an atom, and each operation says which atoms are
one: a dense layer's inputs and the columns of its weight, the two sides of a sum, a channel and the pixels it becomes
where a map is laid flat. What the inputs or the answers hold, and whatever an operation that isn't known here touches,
is frozen: joined with atom 0, which is never removed. The idea of grouping by dependence is that of Fang et al. 2023,
"DepGraph: Towards Any Structural Pruning", section 3.2; here it is worked out index by index, so that concatenation and
padding need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

Axes = tuple[np.ndarray, ...]
"""The atoms of one tensor: one array an axis, as long as the axis."""


class Atoms:
    """Disjoint sets of atoms (union-find); those in one set with atom 0 are frozen."""

    def __init__(self) -> None:
        self._parent = [0]

    def fresh(self, size: int) -> np.ndarray:
        """Return `size` new atoms, each alone."""
        first = len(self._parent)
        self._parent.extend(range(first, first + size))
        return np.arange(first, first + size)

    def find(self, atom: int) -> int:
        """Return the least atom of an atom's set."""
        root = atom
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[atom] != root:
            self._parent[atom], atom = root, self._parent[atom]
        return root

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Make two equally long axes one, index by index."""
        for pair in {tuple(sorted(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)}:
            one, other = sorted(map(self.find, pair))
            self._parent[other] = one

    def freeze(self, *axes: np.ndarray) -> None:
        """Let nothing of these axes be removed."""
        for axis in axes:
            self.join(axis, np.zeros_like(axis))

    def is_frozen(self, axis: np.ndarray) -> bool:
        """Return whether nothing of an axis can be removed."""
        return all(self.find(atom) == 0 for atom in np.unique(axis).tolist())


def unremovable(size: int) -> np.ndarray:
    """Return an axis of frozen atoms."""
    return np.zeros(size, np.int64)


class Spaces:
    """The channel spaces of an exported network, by the rules of `channel_rules`.

    Attributes:
        tensors: the atoms of each parameter and buffer that the graph uses, by qualified name.
        read: (tensor, axis) pairs over which an operation sums: what isn't there needn't be read.
        mixed: axes over which something is normalised, so that each channel's answer depends on the others.
    """

    def __init__(self, program: ExportedProgram, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        self.atoms = Atoms()
        self.tensors: dict[str, Axes] = {}
        self.read: set[tuple[str, int]] = set()
        self.mixed: list[np.ndarray] = []
        self._values: dict[Node, Axes] = {}
        self._origin: dict[int, tuple[str, int]] = {}
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self._place(node, names.get(node.name), program)
            elif node.op == "call_function":
                self._values[node] = self._through(node)
            else:
                self._freeze_inputs(node)

    def of(self, value: Any) -> Axes:
        """Return the atoms of an argument; a number has no axes."""
        return self._values[value] if isinstance(value, Node) else ()

    def summed(self, axis: np.ndarray) -> None:
        """Note that an operation sums over an axis."""
        if len(axis) and int(axis[0]) in self._origin:
            self.read.add(self._origin[int(axis[0])])

    def _place(self, node: Node, name: str | None, program: ExportedProgram) -> None:
        shape = shape_of(node)
        if name is None or name not in program.state_dict or not node.users:
            self._values[node] = tuple(unremovable(size) for size in shape or ())
            return
        axes = tuple(self.atoms.fresh(size) for size in shape or ())
        self._values[node] = self.tensors[name] = axes
        self._origin |= {int(axis[0]): (name, k) for k, axis in enumerate(axes) if len(axis)}

    def _through(self, node: Node) -> Axes:
        """Return the atoms of an operation's result, having joined what it joins."""
        shape = shape_of(node)
        rule = self.rules.get(operation_of(node))
        if rule is not None and shape is not None:
            found = rule(self, _arguments(node), shape)
            if found is not None:
                assert tuple(len(axis) for axis in found) == shape, (node, shape)
                return found
        self._freeze_inputs(node)
        return tuple(unremovable(size) for size in shape or ())

    def _freeze_inputs(self, node: Node) -> None:
        for value in node.all_input_nodes:
            self.atoms.freeze(*self.of(value))


Rule = Callable[[Spaces, dict[str, Any], tuple[int, ...]], "Axes | None"]
"""Takes the spaces, an operation's arguments and its result's shape; returns the result's atoms, None: not known."""


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of a node's value; None where it isn't one tensor."""
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, torch.Tensor) else None


def operation_of(node: Node) -> str:
    """Return `aten::relu` for `aten.relu_.default`."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removesuffix("_") if schema is not None else ""


def _arguments(node: Node) -> dict[str, Any]:
    """Return an operation's arguments by name, defaults included."""
    known = node.target._schema.arguments  # type: ignore[union-attr]
    found = {argument.name: argument.default_value for argument in known}
    return found | dict(zip((argument.name for argument in known), node.args, strict=False)) | node.kwargs


def argument_of(node: Node, name: str) -> Any:
    """Return one of an operation's arguments."""
    return _arguments(node)[name]
