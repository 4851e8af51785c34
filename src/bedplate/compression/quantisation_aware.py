"""Quantisation-aware training: a network learns with weights and activations rounded to 8 bits, and is exported so.

`prepare` gives a network for the ordinary training loop, `export_quantised` the graph of what it has learnt: int8
weights and the learned ranges, as QuantizeLinear and DequantizeLinear. Jacob et al. 2018, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3.
"""

from __future__ import annotations

import copy

import onnx
import torch
from torch import nn

from bedplate.compression.affine import Affine
from bedplate.compression.fake_quantise import FakeQuantise, QuantisedLayer
from bedplate.compression.flow import steps_of
from bedplate.compression.fold_batch_norm import fold_batch_norm
from bedplate.compression.isa import types_for
from bedplate.compression.qdq import QuantisedNode, insert_qdq
from bedplate.compression.structure import replace
from bedplate.core.arrays import Arrays, count, take
from bedplate.export import export_network
from bedplate.models import Network, to_tensors

BATCH = 64


def prepare(network: Network, features: Arrays, cpu: frozenset[str]) -> Network:
    """Return a copy to train on: batch normalisations folded, Conv2d and Linear rounding to 8 bits.

    Layers that are used more than once stay in float. Where a layer's numbers meet others (in a sum, as in a residual
    block) its output is rounded, too; else the next layer's input is.

    Args:
        network: trained, or at least initialised; stays as it is.
        features: calibration rows, where the ranges begin.
        cpu: the features of the processor that it is for: where sums of 8-bit products saturate, weights get 7 bits.
    """
    prepared = fold_batch_norm(network)
    steps, levels = steps_of(prepared), types_for(cpu).levels
    modules = {name: prepared.get_submodule(name) for name in steps}
    # A dense layer's result needs no rounding: ONNX Runtime gives its integer product as floats.
    rounded = {name for name, step in steps.items() if isinstance(modules[name], nn.Conv2d) and not step.only_layers}
    for name, step in steps.items():
        layer = modules[name]
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        output = FakeQuantise(positive=step.relu) if name in rounded else None
        source = step.source if step.source in rounded else None
        replace(prepared, name, QuantisedLayer(layer, levels, source, output))
    _calibrate(prepared, features)
    return prepared


@torch.no_grad()
def _calibrate(network: Network, features: Arrays) -> None:
    """Set the ranges to the extremes of these rows."""
    quantisers = [module for module in network.modules() if isinstance(module, FakeQuantise)]
    training = network.training
    network.eval()
    for quantiser in quantisers:
        quantiser.calibrating = True
    for start in range(0, count(features), BATCH):
        network(*to_tensors(network, take(features, slice(start, start + BATCH))))
    for quantiser in quantisers:
        quantiser.calibrating = False
    network.train(training)


def _layers(network: Network) -> dict[str, QuantisedLayer]:
    return {name: module for name, module in network.named_modules() if isinstance(module, QuantisedLayer)}


def without_rounding(network: Network) -> Network:
    """Return a copy of a prepared network with ordinary layers, in float."""
    plain = copy.deepcopy(network)
    for name, layer in _layers(plain).items():
        replace(plain, name, layer.plain())
    return plain


def export_quantised(network: Network, sample: Arrays, cpu: frozenset[str]) -> onnx.ModelProto:
    """Return a prepared and trained network as a graph with int8 weights and its learned ranges.

    Args:
        network: of `prepare`, trained; stays as it is.
        sample: features of two rows or more.
        cpu: the features of the processor that it was prepared for.

    Raises:
        GateError: the exporter can't express the model, or loses a layer.
    """
    layers = _layers(network)
    signed = types_for(cpu).activations == "int8"

    def suited(by: Affine) -> Affine:
        return by.as_int8() if signed else by

    nodes = []
    for name, layer in layers.items():
        rounds = layer.input if layer.source is None else layers[layer.source].output
        assert rounds is not None
        output = None if layer.output is None else suited(layer.output.affine())
        nodes.append(QuantisedNode(f"network.{name}.weight", layer.levels, suited(rounds.affine()), output))
    return insert_qdq(export_network(without_rounding(network), sample), nodes)
