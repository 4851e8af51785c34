"""Structured pruning: channels and units that go together are removed from every weight that holds them.

`channel_groups` finds out from the exported graph what goes together (`channel_spaces`), and proves it: a network
without a group's first channel must answer as the whole one does when nothing reads that channel. What fails is left
alone, so a module whose code counts on a width (a view of fixed size, say) is never pruned wrongly. What a channel is
worth and how many of them stay is decided elsewhere (`channel_importance`, `channel_allocation`).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bedplate.compression.channel_rules import RULES
from bedplate.compression.channel_spaces import Spaces
from bedplate.compression.shapes import SHAPES
from bedplate.compression.structure import Change, changed
from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import InputError
from bedplate.models import Network, to_tensors

ROWS = 3
"""Rows that the graph is traced with, and proofs are made on."""


@dataclass(frozen=True, eq=False)
class Part:
    """What one tensor loses with each channel of a group.

    Attributes:
        tensor: qualified name of a parameter or buffer.
        axis: of the tensor.
        index: positions along the axis, [channels, positions a channel]; a channel laid flat has one a pixel.
        read: whether the tensor reads the channel (a weight's columns) and doesn't help to make it.
    """

    tensor: str
    axis: int
    index: np.ndarray
    read: bool


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that are alike: each is held by the same axes of the same tensors.

    Attributes:
        name: the layer (or lone parameter) that makes the channels, with a number where it makes several groups.
        parts: what goes with a channel.
        exact: False where a channel's removal changes others by itself (layer normalisation).
    """

    name: str
    parts: tuple[Part, ...]
    exact: bool

    @property
    def width(self) -> int:
        """The number of channels."""
        return len(self.parts[0].index)


Keep = Mapping[str, Sequence[int] | np.ndarray]
"""By group, the channels that stay; a group that isn't named stays whole."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export off the terminal: where it fails, it prints all of the graph that it drew so far."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    aside = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(aside), contextlib.redirect_stdout(aside):
        warnings.filterwarnings("ignore", "The tensor attributes")
        try:
            yield
        finally:
            logger.setLevel(level)


def trace(network: nn.Module, tensors: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """Return the graph of a network in evaluation mode; the network stays as it is.

    Raises:
        InputError: it has control flow that depends on data.
    """
    # A copy, since some layers keep what torch.export leaves in them.
    drawn = copy.deepcopy(network).eval()
    try:
        with _quiet():
            return torch.export.export(drawn, tuple(tensors), strict=False)
    except (RuntimeError, TypeError, ValueError, torch._dynamo.exc.UserError) as error:
        raise InputError(
            "the model's graph can't be drawn", received=str(error).strip().splitlines()[0],
            hint="its structure is changed only where torch.export can follow it",
        ) from error  # fmt: skip


def sample_tensors(network: Network, sample: Arrays) -> list[Tensor]:
    """Return the first rows of a sample as the network takes them."""
    return to_tensors(network, take(sample, slice(0, ROWS)))


def channel_groups(network: Network, sample: Arrays) -> list[Group]:
    """Return the groups of channels that can be removed, in the order of the graph.

    Args:
        network: any; it stays as it is.
        sample: features of three rows or more.

    Raises:
        InputError: the network's graph can't be drawn.
    """
    tensors = sample_tensors(network, sample)
    spaces = Spaces(trace(network, tensors), RULES)
    for name in _shared(network):
        spaces.atoms.freeze(*spaces.tensors.get(name, ()))
    found = _grouped(spaces)
    probe = _scrambled(network)
    kept: list[Group] = []
    for exact in (True, False):
        alike = [group for group in found if group.exact is exact]
        if _faithful(probe, [*kept, *alike], tensors):
            kept += alike
            continue
        for group in alike:
            if _faithful(probe, [*kept, group], tensors):
                kept.append(group)
    return [group for group in found if group in kept]


def _shared(network: nn.Module) -> set[str]:
    """Return the names of parameters that go by several: one shape can't be changed without the other."""
    named = list(network.named_parameters(remove_duplicate=False))
    uses = Counter(id(parameter) for _, parameter in named)
    return {name for name, parameter in named if uses[id(parameter)] > 1}


def _grouped(spaces: Spaces) -> list[Group]:
    """Return the sets of atoms that aren't frozen, those with alike members as one group."""
    units: dict[int, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, axes in spaces.tensors.items():
        for k, axis in enumerate(axes):
            for position, atom in enumerate(axis.tolist()):
                root = spaces.atoms.find(atom)
                if root:
                    units[root][name, k].append(position)
    mixed = {spaces.atoms.find(atom) for axis in spaces.mixed for atom in axis.tolist()}
    alike: dict[tuple[tuple[tuple[str, int], int], ...], list[int]] = defaultdict(list)
    for root, members in units.items():
        alike[tuple((place, len(positions)) for place, positions in members.items())].append(root)
    groups, named = [], Counter[str]()
    for places, roots in alike.items():
        parts = tuple(
            Part(name, axis, np.array([units[root][name, axis] for root in roots]), (name, axis) in spaces.read)
            for (name, axis), _ in places
        )
        if len(roots) < 2 or all(part.read for part in parts):
            continue
        makers = [part for part in parts if not part.read]
        layers = [p.tensor.removesuffix(".weight") for p in makers if not p.axis and p.tensor.endswith(".weight")]
        maker = layers[0] if layers else makers[0].tensor
        named[maker] += 1
        name = maker if named[maker] == 1 else f"{maker}#{named[maker]}"
        groups.append(Group(name, parts, not mixed & set(roots)))
    return groups


@torch.no_grad()
def _scrambled(network: Network) -> Network:
    """Return a copy with random weights, so that a proof depends on no zero that happens to be there."""
    probe = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in probe.parameters():
        if parameter.ndim > 1:
            spread = max(1, parameter[0].numel()) ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        else:
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return probe


@torch.no_grad()
def _faithful(probe: Network, groups: Sequence[Group], tensors: Sequence[Tensor]) -> bool:
    """Return whether a network without each group's first channel answers as if nothing read those channels."""
    deaf = copy.deepcopy(probe)
    state = deaf.state_dict()
    for part in (part for group in groups for part in group.parts if part.read):
        state[part.tensor].index_fill_(part.axis, torch.from_numpy(part.index[0]), 0)
    wanted = deaf(*tensors)
    try:
        pruned, _ = prune_channels(probe, groups, {group.name: range(1, group.width) for group in groups})
        found = pruned(*tensors)
    except (RuntimeError, ValueError, IndexError, TypeError, InputError):
        return False  # the module's own code counts on a width: whatever it raises, it can't be pruned here
    if found.shape != wanted.shape:
        return False
    near = 1e-4 * float(wanted.abs().max()) + 1e-6
    return not all(group.exact for group in groups) or bool((found - wanted).abs().max() <= near)


def prune_channels(network: Network, groups: Sequence[Group], keep: Keep) -> tuple[Network, list[Change]]:
    """Return a network without the channels that aren't kept, with the others' weights, and how it differs.

    Args:
        network: stays as it is.
        groups: those of `channel_groups`.
        keep: by group, the channels that stay, one or more.

    Raises:
        InputError: an unknown group, or channels that it hasn't.
    """
    kept = _kept(groups, keep)
    masks: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    state = network.state_dict()
    for group in groups:
        gone = np.setdiff1d(np.arange(group.width), kept[group.name])
        for part in group.parts if len(gone) else ():
            axes = masks[part.tensor]
            mask = axes.setdefault(part.axis, np.ones(state[part.tensor].shape[part.axis], bool))
            mask[part.index[gone]] = False
    for name, axes in masks.items():
        for axis, mask in axes.items():
            state[name] = state[name].index_select(axis, torch.from_numpy(np.flatnonzero(mask)))
    if not masks:
        return copy.deepcopy(network), []
    made: list[Change] = [{"change": SHAPES, "tensors": {name: list(state[name].shape) for name in sorted(masks)}}]
    smaller = changed(network, made)
    smaller.load_state_dict(state)
    return smaller, made


def _kept(groups: Sequence[Group], keep: Keep) -> dict[str, np.ndarray]:
    """Return, for each group, the channels that stay."""
    widths = {group.name: group.width for group in groups}
    found = {name: np.arange(width) for name, width in widths.items()}
    for name, chosen in keep.items():
        index = np.unique(np.asarray(chosen, np.int64))
        if name not in widths or not len(index) or index[0] < 0 or index[-1] >= widths[name]:
            raise InputError(
                "no such channels to keep", where=name, received=str(index.tolist()[:8]),
                expected=f"some of 0 to {widths[name] - 1}" if name in widths else "the name of a group",
            )  # fmt: skip
        found[name] = index
    return found
