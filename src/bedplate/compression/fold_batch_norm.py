"""Folding: a batch normalisation that follows a convolution or dense layer becomes part of its weights.

    w' = w · γ / √(σ² + ε),   b' = (b − μ) · γ / √(σ² + ε) + β

so that what is quantised is what will be multiplied. Jacob et al. 2018, section 3.2.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from bedplate.compression.flow import steps_of
from bedplate.compression.structure import replace
from bedplate.models import Network


def fold_batch_norm(network: Network) -> Network:
    """Return a copy that answers alike in evaluation, without the batch normalisations that directly follow a layer."""
    folded = copy.deepcopy(network)
    for step in steps_of(network).values():
        if step.norm is None:
            continue
        layer, norm = folded.get_submodule(step.name), folded.get_submodule(step.norm)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        _fold(layer, norm)
        replace(folded, step.norm, nn.Identity())
    return folded


@torch.no_grad()
def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None  # without them evaluation takes the batch's own, and export has no constant
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gain = 1 / torch.sqrt(variance + norm.eps)
    if norm.affine:
        gain = gain * norm.weight.double()
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    bias = (bias - mean) * gain + (norm.bias.double() if norm.affine else 0)
    weight = layer.weight.double() * gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight.copy_(weight.to(layer.weight.dtype))
    if layer.bias is None:
        layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
    else:
        layer.bias.copy_(bias.to(layer.bias.dtype))
