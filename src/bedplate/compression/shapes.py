"""The change that takes rows and columns away: parameters and buffers get smaller shapes.

It names tensors and not layers, so that it serves any module, a user's own too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bedplate.compression.structure import changes
from bedplate.models import Network

SHAPES = "shapes"


@changes.register(SHAPES)
def shapes(network: Network, *, tensors: Mapping[str, Sequence[int]]) -> None:
    """Give parameters and buffers smaller shapes, and their modules the sizes that follow."""
    touched: set[str] = set()
    for name, shape in tensors.items():
        owner, _, last = name.rpartition(".")
        module = network.get_submodule(owner)
        old = getattr(module, last)
        if not isinstance(old, Tensor) or len(shape) != old.ndim:
            raise ValueError(f"'{name}' is no tensor of {len(shape)} axes")
        if not all(type(size) is int and 1 <= size <= most for size, most in zip(shape, old.shape, strict=True)):
            raise ValueError(f"'{name}' of {list(old.shape)} can't become {list(shape)}")
        empty = torch.empty(list(shape), dtype=old.dtype, device=old.device)
        setattr(module, last, nn.Parameter(empty, old.requires_grad) if isinstance(old, nn.Parameter) else empty)
        touched.add(owner)
    for owner in sorted(touched):
        _resize(network.get_submodule(owner))


def _resize(module: nn.Module) -> None:
    """Set what a known module notes of its sizes to what its tensors now say."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        out, columns = module.weight.shape[:2]
        if module.groups > 1:  # depthwise, of which only whole channels go
            module.groups = out * module.groups // module.out_channels
        module.out_channels, module.in_channels = out, columns * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        held = module.running_mean if module.running_mean is not None else module.weight
        module.num_features = len(held)
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
