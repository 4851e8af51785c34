"""Layers of low rank: a dense layer or convolution becomes two of the plain kind, with a rank between them.

- A dense layer and a 1×1 convolution: in → rank → out.
- A convolution `spatial`: a column of the kernel, then a row: [rank, in, kh, 1] and [out, rank, 1, kw]. Jaderberg et
  al. 2014, "Speeding up Convolutional Neural Networks with Low Rank Expansions", section 2.2 (scheme 2).
- A convolution `channel`: fewer filters, then a mix of them: [rank, in, kh, kw] and [out, rank, 1, 1]. Zhang et al.
  2015, "Accelerating Very Deep Convolutional Networks", section 3.1.

Each is a matrix of low rank (`low_rank`), once the kernel is laid out as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bedplate.compression.low_rank import METHODS, Factors, weighted_svd
from bedplate.compression.structure import Change, changed, changes, replace
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError
from bedplate.models import Network, to_tensors

Scheme = Literal["dense", "spatial", "channel"]
Layer = nn.Linear | nn.Conv2d

PATCHES = 4096
"""Rows of inputs that the weighted SVD looks at, for a convolution patches of them."""


def scheme_of(layer: nn.Module, *, weighted: bool = False) -> Scheme | None:
    """Return how a layer is factorised; None where it can't be.

    A kernel of one row or column has no two directions, and inputs weigh only whole patches: both go by `channel`.
    """
    if isinstance(layer, nn.Linear):
        return "dense"
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1 or layer.padding_mode != "zeros":
        return None
    if isinstance(layer.padding, str):
        return None
    return "channel" if weighted or 1 in layer.kernel_size else "spatial"


def as_matrix(layer: Layer, scheme: Scheme) -> np.ndarray:
    """Return a layer's weight as the matrix [rows, columns] whose rank is cut."""
    weight = layer.weight.detach().cpu().double().numpy()
    if scheme == "spatial":  # [out, in, kh, kw] → [out · kw, in · kh]
        out, columns, high, wide = weight.shape
        matrix: np.ndarray = weight.transpose(0, 3, 1, 2).reshape(out * wide, columns * high)
        return matrix
    return weight.reshape(len(weight), -1)


def factorisable(network: Network) -> dict[str, Layer]:
    """Return the layers that can be factorised, by name, in the order of the network; shared ones are left alone."""
    uses: dict[int, int] = {}
    for _, parameter in network.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and type(module) in (nn.Linear, nn.Conv2d)
        and scheme_of(module)
        and uses[id(module.weight)] == 1
    }


@torch.no_grad()
def layer_inputs(network: Network, features: Arrays, names: list[str]) -> dict[str, np.ndarray]:
    """Return what reaches each layer on these rows: [rows, in] or [rows, in, height, width], of all its calls."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: seen[name].append(given[0].detach())

    hooks = [network.get_submodule(name).register_forward_pre_hook(look(name)) for name in names]
    training = network.training
    network.eval()
    try:
        network(*to_tensors(network, features))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(tensors).numpy() for name, tensors in seen.items()}


def patches(layer: Layer, inputs: np.ndarray, *, most: int = PATCHES, seed: int = 0) -> np.ndarray:
    """Return the vectors [rows, columns of the weight] that a layer's matrix is multiplied by, at most `most`."""
    found = torch.from_numpy(inputs)
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        unfolded = functional.unfold(found, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        found = unfolded.transpose(1, 2)
    rows = found.reshape(-1, found.shape[-1])
    chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
    return rows[torch.from_numpy(np.sort(chosen))].double().numpy()


def _factors(layer: Layer, scheme: Scheme, rank: int, method: str, inputs: np.ndarray | None) -> Factors:
    matrix = as_matrix(layer, scheme)
    if method == "weighted-svd":
        if inputs is None:
            raise ValueError("the weighted SVD needs the inputs of each layer")
        return weighted_svd(matrix, rank, patches(layer, inputs))
    return METHODS[method](matrix, rank)


def factorise(
    network: Network,
    ranks: Mapping[str, int],
    *,
    method: str = "svd",
    inputs: Mapping[str, np.ndarray] | None = None,
) -> tuple[Network, list[Change]]:
    """Return a network whose layers are products of two, and how it differs.

    Args:
        network: stays as it is.
        ranks: by layer, from 1 to the rank of its matrix. Whether it pays is not asked here (`rank_choice`).
        method: one of `low_rank.METHODS`, or "weighted-svd".
        inputs: what reaches each layer (`layer_inputs`); needed by the weighted one alone.

    Raises:
        InputError: a layer that can't be factorised, or a rank that it can't have.
    """
    known, made = factorisable(network), list[Change]()
    found: dict[str, tuple[Scheme, Factors]] = {}
    for name, rank in ranks.items():
        scheme = scheme_of(known[name], weighted=method == "weighted-svd") if name in known else None
        if scheme is None:
            raise InputError("this layer can't be factorised", where=name, expected="a dense layer or convolution")
        most = min(as_matrix(known[name], scheme).shape)
        if not 1 <= rank <= most:
            raise InputError("no such rank", where=name, expected=f"1 to {most}", received=str(rank))
        found[name] = scheme, _factors(known[name], scheme, rank, method, (inputs or {}).get(name))
        made.append({"change": "factorised", "layer": name, "rank": rank, "scheme": scheme})
    smaller = changed(network, made)
    state = {name: tensor for name, tensor in network.state_dict().items() if name in smaller.state_dict()}
    for name, (scheme, factors) in found.items():
        state |= _weights(name, known[name], smaller.get_submodule(name), scheme, factors)
    smaller.load_state_dict(state)
    return smaller, made


def _weights(name: str, layer: Layer, pair: nn.Module, scheme: Scheme, factors: Factors) -> dict[str, Tensor]:
    """Return the two layers' weights; the factors share the scale, so that neither is tiny beside the other."""
    left, right = factors
    scale = np.sqrt(np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(right, axis=1), 1e-30))
    scale = np.where(scale > 0, scale, 1.0)
    left, right = left / scale, right * scale[:, None]
    first, second = pair.get_parameter("0.weight"), pair.get_parameter("1.weight")
    if scheme == "spatial":  # left [out · kw, rank] → [out, rank, 1, kw]
        out, wide = len(layer.weight), layer.weight.shape[3]
        left = left.reshape(out, wide, 1, -1).transpose(0, 3, 2, 1)
    found = {
        f"{name}.0.weight": torch.from_numpy(np.ascontiguousarray(right)).reshape(first.shape),
        f"{name}.1.weight": torch.from_numpy(np.ascontiguousarray(left)).reshape(second.shape),
    }
    if layer.bias is not None:
        found[f"{name}.1.bias"] = layer.bias.detach()
    return {key: tensor.to(layer.weight.dtype) for key, tensor in found.items()}


@changes.register("factorised")
def factorised(network: Network, *, layer: str, rank: int, scheme: str) -> None:
    """Put two layers in the place of one."""
    old = network.get_submodule(layer)
    if type(rank) is not int or rank < 1 or scheme not in ("dense", "spatial", "channel"):
        raise ValueError(f"no rank {rank} by '{scheme}'")
    if scheme == "dense":
        if not isinstance(old, nn.Linear):
            raise ValueError(f"'{layer}' is no dense layer")
        bias = old.bias is not None
        pair = nn.Sequential(nn.Linear(old.in_features, rank, False), nn.Linear(rank, old.out_features, bias))
    else:
        if not isinstance(old, nn.Conv2d) or old.groups != 1 or isinstance(old.padding, str):
            raise ValueError(f"'{layer}' is no convolution that can be factorised")
        pair = nn.Sequential(*_convolutions(old, rank, spatial=scheme == "spatial"))
    pair.train(old.training)
    replace(network, layer, pair)


def _convolutions(old: nn.Conv2d, rank: int, *, spatial: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return the two convolutions that stand for one."""
    geometry: dict[str, Any] = {
        "kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "dilation": old.dilation,
    }  # fmt: skip
    point: dict[str, Any] = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    first, second = geometry, point
    if spatial:
        first = {key: (value[0], point[key]) for key, value in geometry.items()}
        second = {key: (point[key], value[1]) for key, value in geometry.items()}
    before = nn.Conv2d(old.in_channels, rank, bias=False, **first)
    return before, nn.Conv2d(rank, old.out_channels, bias=old.bias is not None, **second)
