"""Recurrent layers as ONNX's own: one RNN, LSTM or GRU node a layer, for texts and series of any length.

torch.export takes a recurrent layer apart step by step, and with torch 2.13 it fixes the number of steps from the
second export of a process on. So while a network is exported, its recurrent layers are replaced by ones that call an
operator of ours, which torch.export takes whole and which stands for ONNX's node. The layers keep what the network
computes; only their weights are put into ONNX's order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20
from torch import Tensor, nn

GATES: dict[type[nn.RNNBase], tuple[int, ...]] = {nn.RNN: (0,), nn.LSTM: (0, 3, 1, 2), nn.GRU: (1, 0, 2)}
"""Where ONNX's gates lie among torch's: LSTM's input, output, forget and cell; GRU's update, reset and hidden."""


@torch.library.custom_op("bedplate::recurrent", mutates_args=())
def recurrent(
    x: Tensor, weight: Tensor, recurrence: Tensor, bias: Tensor, first: Tensor, cell: Tensor, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute a layer step by step, as ONNX defines its node; the plain twin of what the exported graph does.

    Args:
        x: [length, rows, size].
        weight: [ways, gates · hidden, size], in ONNX's order of gates.
        recurrence: [ways, gates · hidden, hidden].
        bias: [ways, 2 · gates · hidden]: of the weight, then of the recurrence.
        first: the state before the first step [ways, rows, hidden].
        cell: the LSTM's memory before the first step, likewise.
        kind: "tanh", "relu", "lstm" or "gru".

    Returns:
        Every state [length, ways, rows, hidden], the last state and the last memory [ways, rows, hidden].
    """
    ways, hidden = recurrence.shape[0], recurrence.shape[2]
    states = x.new_empty((len(x), ways, x.shape[1], hidden))
    last, memory = torch.empty_like(first), torch.empty_like(first)
    for way in range(ways):
        h, c = first[way], cell[way]
        before, after = bias[way].chunk(2)
        for step in range(len(x)) if way == 0 else reversed(range(len(x))):
            given = x[step] @ weight[way].T + before
            held = h @ recurrence[way].T + after
            h, c = _STEPS[kind](given, held, h, c)
            states[step, way] = h
        last[way], memory[way] = h, c
    return states, last, memory


def _plain(given: Tensor, held: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tanh(given + held), c


def _relu(given: Tensor, held: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(given + held), c


def _lstm(given: Tensor, held: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    into, out, keep, new = (given + held).chunk(4, dim=1)
    c = torch.sigmoid(keep) * c + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(c), c


def _gru(given: Tensor, held: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    (z, r, new), (update, reset, before) = given.chunk(3, dim=1), held.chunk(3, dim=1)
    kept = torch.sigmoid(z + update)
    return (1 - kept) * torch.tanh(new + torch.sigmoid(r + reset) * before) + kept * h, c


_STEPS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "tanh": _plain, "relu": _relu, "lstm": _lstm, "gru": _gru,
}  # fmt: skip


@recurrent.register_fake
def _shapes(
    x: Tensor, weight: Tensor, recurrence: Tensor, bias: Tensor, first: Tensor, cell: Tensor, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    ways, hidden = recurrence.shape[0], recurrence.shape[2]
    return x.new_empty((x.shape[0], ways, x.shape[1], hidden)), torch.empty_like(first), torch.empty_like(first)


def _node(x: Any, weight: Any, recurrence: Any, bias: Any, first: Any, cell: Any, kind: str) -> Any:
    """Return the operator as ONNX's node."""
    ways, _, hidden = recurrence.shape
    told = {"hidden_size": int(hidden), "direction": "bidirectional" if int(ways) == 2 else "forward"}
    if kind == "lstm":
        return opset20.LSTM(x, weight, recurrence, bias, None, first, cell, **told)
    if kind == "gru":
        states, last = opset20.GRU(x, weight, recurrence, bias, None, first, linear_before_reset=1, **told)
    else:
        names = [kind.capitalize()] * int(ways)
        states, last = opset20.RNN(x, weight, recurrence, bias, None, first, activations=names, **told)
    return states, last, opset20.Identity(cell)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.bedplate.recurrent.default: _node}


class RecurrentLayers(nn.Module):
    """What an `nn.RNN`, `nn.LSTM` or `nn.GRU` computes in evaluation, by `recurrent`, with the same arguments."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.batch_first, self.ways = layer.batch_first, 2 if layer.bidirectional else 1
        self.hidden, self.layers = layer.hidden_size, layer.num_layers
        self.kind = layer.mode.removeprefix("RNN_").lower()
        order = GATES[type(layer)]
        for k in range(layer.num_layers):
            names = [f"l{k}{way}" for way in ("", "_reverse")[: self.ways]]
            weight, recurrence = (
                torch.stack([_ordered(getattr(layer, f"weight_{part}_{name}"), order) for name in names])
                for part in ("ih", "hh")
            )
            self.register_buffer(f"weight_{k}", weight)
            self.register_buffer(f"recurrence_{k}", recurrence)
            self.register_buffer(f"bias_{k}", torch.stack([_bias(layer, name, order) for name in names]))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Map [rows, length, size] (or length first, as the layer was made) to every state and the last one."""
        x = x.transpose(0, 1) if self.batch_first else x
        if state is None:
            zeros = x.new_zeros((self.layers * self.ways, x.shape[1], self.hidden))
            state = (zeros, zeros)
        firsts, cells = state if isinstance(state, tuple) else (state, state)
        last, memory = [], []
        for k in range(self.layers):
            own = slice(k * self.ways, (k + 1) * self.ways)
            weights = (getattr(self, f"{name}_{k}") for name in ("weight", "recurrence", "bias"))
            states, h, c = recurrent(x, *weights, firsts[own], cells[own], self.kind)
            x = states.transpose(1, 2).flatten(2)
            last.append(h)
            memory.append(c)
        out = x.transpose(0, 1) if self.batch_first else x
        ended = torch.cat(last)
        return out, (ended, torch.cat(memory)) if self.kind == "lstm" else ended


def _ordered(values: Tensor, order: Sequence[int]) -> Tensor:
    """Return a weight's or bias's gates in ONNX's order."""
    parts = values.detach().chunk(len(order))
    return torch.cat([parts[k] for k in order])


def _bias(layer: nn.RNNBase, name: str, order: Sequence[int]) -> Tensor:
    if not layer.bias:
        return torch.zeros(2 * len(order) * layer.hidden_size)
    return torch.cat([_ordered(getattr(layer, f"bias_{part}_{name}"), order) for part in ("ih", "hh")])


def exportable(network: nn.Module) -> nn.Module:
    """Return a network whose recurrent layers the exporter takes whole: a copy, or itself where it has none."""
    names = [name for name, module in network.named_modules() if _replaceable(module)]
    if not names:
        return network
    copied = copy.deepcopy(network)
    for name in names:
        layer = copied.get_submodule(name)
        assert isinstance(layer, nn.RNNBase)
        copied.set_submodule(name, RecurrentLayers(layer).to(next(layer.parameters()).device))
    return copied.train(network.training)


def _replaceable(module: nn.Module) -> bool:
    return type(module) in GATES and not getattr(module, "proj_size", 0)
