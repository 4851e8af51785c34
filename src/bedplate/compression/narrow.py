"""Structured pruning: a network of the same family with fewer channels and units, whose weights are really gone.

The narrower network is built by its registered function, so that it is saved, trained on and exported like any other.
Where the layers stand in a chain, it takes over the weights of the channels that matter most; else it starts afresh
and learns from the original alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bedplate.models import models

WIDTHS = ("widths", "hidden", "dense")
"""Arguments of registered models that hold numbers of channels or units, a list of whole numbers each."""

MULTIPLE = 4
"""Widths are rounded to multiples of this: processors compute several channels at once."""


def widths_of(name: str, arguments: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return a model's widths by argument, defaults included; empty where it has none that can be changed."""
    known = models.arguments(name)
    found = {}
    for key in WIDTHS:
        if key not in known:
            continue
        value = arguments.get(key, known[key].default)
        if isinstance(value, list) and value and all(type(item) is int for item in value):
            found[key] = value
    return found


def narrower(name: str, arguments: Mapping[str, Any], factor: float) -> dict[str, Any] | None:
    """Return the arguments of a model with `factor` times the widths; None where that changes nothing.

    Args:
        name: a registered model.
        arguments: what the original was built with.
        factor: above 0 and below 1.
    """
    if not 0 < factor < 1:
        raise ValueError(f"a factor lies between 0 and 1, received {factor}")
    before = widths_of(name, arguments)
    after = {key: [_rounded(width, factor) for width in widths] for key, widths in before.items()}
    return None if after == before else {**arguments, **after}


def _rounded(width: int, factor: float) -> int:
    wanted = max(1, round(width * factor / MULTIPLE)) * MULTIPLE
    return min(wanted, width)


def importance(weight: Tensor) -> np.ndarray:
    """Return the sum of absolute weights of each output channel or unit.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1.
    """
    return weight.detach().abs().flatten(1).sum(1).cpu().numpy()


def chain_of(body: nn.Module) -> list[nn.Module] | None:
    """Return a network's layers in order where each takes what the one before gives, None where they don't."""
    features, classifier = getattr(body, "features", None), getattr(body, "classifier", None)
    if isinstance(features, nn.Sequential) and isinstance(classifier, nn.Sequential):
        return [*features, nn.Flatten(), *classifier]
    hidden, head = getattr(body, "hidden", None), getattr(body, "head", None)
    if isinstance(hidden, nn.Sequential) and isinstance(head, nn.Linear):
        return [*hidden, head]
    return None


@torch.no_grad()
def inherit(original: nn.Module, student: nn.Module) -> bool:
    """Copy into the narrower body the weights of the original's most important channels; return whether that was done.

    Parameters of equal shape outside of the chain (embeddings, a linear path) are copied as they are.
    """
    old, new = chain_of(original), chain_of(student)
    if old is None or new is None or len(old) != len(new):
        return False
    inside = {id(p) for layer in new for p in layer.parameters()}
    given = dict(original.named_parameters())
    for name, parameter in student.named_parameters():
        if id(parameter) not in inside and name in given and given[name].shape == parameter.shape:
            parameter.copy_(given[name])
    kept: Tensor | None = None  # the channels of the original that the next layer still gets; None: all
    channels = 0
    for before, after in zip(old, new, strict=True):
        if isinstance(before, nn.Conv2d | nn.Linear) and isinstance(after, nn.Conv2d | nn.Linear):
            weight = before.weight
            if kept is not None:
                if isinstance(before, nn.Linear) and weight.shape[1] != channels:  # a map was laid flat before it
                    pixels = weight.shape[1] // channels
                    kept = (kept[:, None] * pixels + torch.arange(pixels)).flatten()
                weight = weight[:, kept]
            count, channels = len(after.weight), len(weight)
            most = np.argsort(-importance(before.weight), kind="stable")[:count]
            kept = torch.from_numpy(np.sort(most))
            after.weight.copy_(weight[kept])
            if before.bias is not None and after.bias is not None:
                after.bias.copy_(before.bias[kept])
        elif isinstance(before, nn.BatchNorm1d | nn.BatchNorm2d) and isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d):
            assert kept is not None
            for name, tensor in before.state_dict().items():
                after.state_dict()[name].copy_(tensor[kept] if tensor.ndim else tensor)
    return True
