"""Convolutions as chains of small ones: Tucker-2 and CP of a kernel [out, in, kh, kw].

- Tucker-2: 1×1 to fewer channels, kh×kw among them, 1×1 back. Kim et al. 2016, "Compression of Deep Convolutional
  Neural Networks for Fast and Low Power Mobile Applications", section 3.1.
- CP, with the kernel's rows and columns as one axis: 1×1 to the rank, kh×kw on each channel by itself, 1×1 back.
  Lebedev et al. 2015, "Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition", section 3, which
  also parts rows from columns.

Fitting CP can diverge: components grow without bound and cancel each other (Phan et al. 2020, "Stable Low-rank Tensor
Decomposition for Compression of Convolutional Neural Network", section 2). That is looked for, and such a layer gets a
Tucker-2 of as many parameters; the facts say so. The maths is tensorly's; what results are plain layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from bedplate.compression.factorised_layers import factorisable
from bedplate.compression.structure import Change, changed, changes, replace
from bedplate.core.errors import InputError
from bedplate.models import Network

Kernel = tuple[int, int, int, int]
"""A kernel's shape: out, in, high, wide."""

Facts = list[dict[str, Any]]
"""By layer: its method, rank, relative error, and, where CP failed, why."""

ITERATIONS = 300
STARTS = 3
"""Of 400 kernels made to have a rank of 1 to 4, one start missed four, three starts none."""

DEGENERATE = 5.0
"""A component of so many times the kernel's norm is there only to be cancelled by others."""

RIDGE = 1e-8
"""Added to the diagonal of each least squares problem, whose columns have norm 1: none is singular."""

EXACT = 1e-3
"""A relative error that leaves nothing to be better at."""


def decomposable(network: Network) -> dict[str, nn.Conv2d]:
    """Return the convolutions of more than one pixel, by name; those of one are matrices (`factorised_layers`)."""
    return {
        name: layer
        for name, layer in factorisable(network).items()
        if isinstance(layer, nn.Conv2d) and layer.weight[0, 0].numel() > 1
    }


def tucker_parameters(shape: Kernel, ranks: tuple[int, int]) -> int:
    """Return the numbers that a Tucker-2 of ranks (out, in) holds."""
    out, columns, high, wide = shape
    return out * ranks[0] + columns * ranks[1] + ranks[0] * ranks[1] * high * wide


def tucker_ranks(shape: Kernel, parameters: int) -> tuple[int, int]:
    """Return the largest ranks, about in proportion to the channels, of at most so many parameters; (1, 1) at least."""
    out, columns = shape[:2]
    best = (1, 1)
    for step in range(1, max(out, columns) + 1):
        share = step / max(out, columns)
        ranks = _fitting(shape, max(1, round(share * out)), max(1, round(share * columns)))
        if tucker_parameters(shape, ranks) <= parameters:
            best = ranks
    return best


def _fitting(shape: Kernel, out: int, columns: int) -> tuple[int, int]:
    """Return ranks of which neither is more than the other, times the pixels, can use."""
    pixels = shape[2] * shape[3]
    columns = min(columns, shape[1], out * pixels)
    return min(out, shape[0], columns * pixels), columns


def cp_rank(shape: Kernel, parameters: int) -> int:
    """Return the largest CP rank of at most so many parameters; 1 at least."""
    return max(1, parameters // (shape[0] + shape[1] + shape[2] * shape[3]))


def tucker2(kernel: np.ndarray, ranks: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return core [ranks[0], ranks[1], kh, kw], out [out, ranks[0]] and in [in, ranks[1]], whose product is near.

    Higher-order orthogonal iteration from the truncated HOSVD, whose squared error is at most the sum of both
    unfoldings' squared singular values beyond the ranks. De Lathauwer, De Moor and Vandewalle 2000, "A Multilinear
    Singular Value Decomposition", property 10, and "On the Best Rank-1 and Rank-(R1, …, RN) Approximation".
    """
    most = [min(kernel.shape[k], kernel.size // kernel.shape[k]) for k in (0, 1)]
    if kernel.ndim != 4 or not all(1 <= rank <= limit for rank, limit in zip(ranks, most, strict=True)):
        raise ValueError(f"a kernel of {kernel.shape} has no Tucker-2 of ranks {ranks}")
    if not kernel.any():
        return (
            np.zeros((*ranks, *kernel.shape[2:])),
            np.zeros((len(kernel), ranks[0])),
            np.zeros((kernel.shape[1], ranks[1])),
        )
    from tensorly.decomposition import partial_tucker  # takes half a second to load, and few need it

    (core, (out, columns)), _ = partial_tucker(np.asarray(kernel, np.float64), rank=list(ranks), modes=[0, 1])
    return core, out, columns


def cp(kernel: np.ndarray, rank: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return out [out, rank], in [in, rank] and pixels [kh · kw, rank], whose product is near, each of equal norms.

    Alternating least squares, which may end in a local minimum or diverge: of `STARTS` random starts the nearest, where
    one's components don't cancel each other the nearest of such, or the first that is exact. Whether it has converged
    to something of use, `diverged` says; NaN where no start could be followed.
    """
    if kernel.ndim != 4 or rank < 1:
        raise ValueError(f"a kernel of {kernel.shape} has no CP of rank {rank}")
    tensor = np.asarray(kernel, np.float64).reshape(*kernel.shape[:2], -1)
    if not tensor.any():
        return tuple(np.zeros((size, rank)) for size in tensor.shape)  # type: ignore[return-value]
    out, columns, pixels = (np.full((size, rank), np.nan) for size in tensor.shape)
    best = out, columns, pixels
    nearest = (True, np.inf)
    for start in range(STARTS):
        found = _least_squares(tensor, rank, seed=seed + start)
        if found is None:
            continue
        worth = (_cancel(kernel, found), cp_error(kernel, found))
        if worth < nearest:
            best, nearest = found, worth
        if nearest <= (False, EXACT):
            break
    return best


def _least_squares(tensor: np.ndarray, rank: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return a CP of [out, in, pixels] from one random start; None where its equations became singular."""
    from tensorly.decomposition import parafac

    with np.errstate(all="ignore"):  # numbers that overflow are what `diverged` looks for
        try:
            weights, factors = parafac(
                tensor, rank, init="random", random_state=seed, n_iter_max=ITERATIONS, tol=1e-8, normalize_factors=True,
                l2_reg=RIDGE,
            )  # fmt: skip
        except np.linalg.LinAlgError:
            return None
    scale = np.cbrt(np.abs(weights))
    out, columns, pixels = (factor * scale for factor in factors)
    return out * np.sign(weights), columns, pixels


def tucker_error(kernel: np.ndarray, factors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Return the relative error, in Frobenius norms."""
    core, out, columns = factors
    return _relative(kernel, np.einsum("abhw,oa,ib->oihw", core, out, columns))


def cp_error(kernel: np.ndarray, factors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Return the relative error, in Frobenius norms."""
    return _relative(kernel, np.einsum("or,ir,pr->oip", *factors).reshape(kernel.shape))


def _relative(kernel: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(kernel - found) / max(float(np.linalg.norm(kernel)), 1e-300))


def diverged(kernel: np.ndarray, factors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str | None:
    """Return why a CP is of no use; None where it is.

    It isn't finite, has components that cancel each other, or is further off than a Tucker-2 of as many parameters.
    """
    if not all(np.isfinite(factor).all() for factor in factors):
        return "not finite"
    if _cancel(kernel, factors):
        return "its components cancel each other"
    ranks = tucker_ranks(kernel.shape, sum(factor.size for factor in factors))
    beside, error = tucker_error(kernel, tucker2(kernel, ranks)), cp_error(kernel, factors)
    if error > max(beside, EXACT):
        return f"its error {error:.3f} is above {beside:.3f}, that of a Tucker-2 of as many parameters"
    return None


def _cancel(kernel: np.ndarray, factors: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    """Return whether a component is far larger than the kernel."""
    largest = float(np.prod([np.linalg.norm(factor, axis=0) for factor in factors], axis=0).max())
    return not largest <= DEGENERATE * float(np.linalg.norm(kernel))


def decompose_tucker(network: Network, ranks: Mapping[str, tuple[int, int]]) -> tuple[Network, list[Change], Facts]:
    """Return a network whose convolutions are Tucker-2 chains, how it differs, and each layer's error.

    Args:
        network: stays as it is.
        ranks: by layer, (out, in), up to the numbers of channels.

    Raises:
        InputError: a layer that can't be decomposed, or ranks that it can't have.
    """
    return _decomposed(network, {name: list(pair) for name, pair in ranks.items()}, 0)


def decompose_cp(network: Network, ranks: Mapping[str, int], *, seed: int = 0) -> tuple[Network, list[Change], Facts]:
    """Return a network whose convolutions are CP chains, how it differs, and each layer's error.

    A layer whose CP has `diverged` becomes a Tucker-2 chain of as many parameters.

    Args:
        network: stays as it is.
        ranks: by layer, 1 or more.
        seed: of the start.

    Raises:
        InputError: a layer that can't be decomposed, or a rank that it can't have.
    """
    return _decomposed(network, dict(ranks), seed)


def _decomposed(
    network: Network, ranks: Mapping[str, int | list[int]], seed: int
) -> tuple[Network, list[Change], Facts]:
    known, made, facts = decomposable(network), list[Change](), Facts()
    state = dict(network.state_dict())
    for name, rank in ranks.items():
        if name not in known:
            raise InputError("this layer can't be decomposed", where=name, expected="a convolution of several pixels")
        kernel = known[name].weight.detach().cpu().double().numpy()
        try:
            chain, fact, change = _chain(kernel, rank, seed)
        except ValueError as error:
            raise InputError("no such rank", where=name, received=str(error)) from error
        made.append({**change, "layer": name})
        facts.append({"layer": name, **fact})
        bias = state.pop(f"{name}.bias", None)
        like = state.pop(f"{name}.weight")
        state |= {f"{name}.{k}.weight": torch.from_numpy(weight).to(like) for k, weight in enumerate(chain)}
        state |= {} if bias is None else {f"{name}.2.bias": bias}
    smaller = changed(network, made)
    smaller.load_state_dict(state)
    return smaller, made, facts


def _chain(
    kernel: np.ndarray, rank: int | list[int], seed: int
) -> tuple[list[np.ndarray], dict[str, Any], dict[str, Any]]:
    """Return the weights of three convolutions, the facts, and the change."""
    facts: dict[str, Any] = {}
    if isinstance(rank, int):
        three = cp(kernel, rank, seed=seed)
        why = diverged(kernel, three)
        if why is None:
            out, columns, pixels = three
            weights = [columns.T[..., None, None], pixels.T.reshape(rank, 1, *kernel.shape[2:]), out[..., None, None]]
            fact = {"method": "cp", "rank": rank, "relative_error": cp_error(kernel, three)}
            return _solid(weights), fact, {"change": "cp", "rank": rank}
        facts["fell_back"] = why
        rank = list(tucker_ranks(kernel.shape, sum(factor.size for factor in three)))
    factors = tucker2(kernel, (rank[0], rank[1]))
    core, out, columns = factors
    facts |= {"method": "tucker", "rank": rank, "relative_error": tucker_error(kernel, factors)}
    chain = _solid([columns.T[..., None, None], core, out[..., None, None]])
    return chain, facts, {"change": "tucker", "ranks": rank}


def _solid(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(array) for array in arrays]


@changes.register("tucker")
def tucker(network: Network, *, layer: str, ranks: list[int]) -> None:
    """Put 1×1, kh×kw and 1×1 in the place of a convolution."""
    out, columns = ranks
    _replace(network, layer, (columns, out), depthwise=False)


@changes.register("cp")
def cp_chain(network: Network, *, layer: str, rank: int) -> None:
    """Put 1×1, kh×kw on each channel by itself, and 1×1 in the place of a convolution."""
    _replace(network, layer, (rank, rank), depthwise=True)


def _replace(network: Network, name: str, inner: tuple[int, int], *, depthwise: bool) -> None:
    old = network.get_submodule(name)
    if not isinstance(old, nn.Conv2d) or old.groups != 1 or not all(type(n) is int and n >= 1 for n in inner):
        raise ValueError(f"'{name}' can't be a chain of {inner} channels")
    geometry: dict[str, Any] = {
        "kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding, "dilation": old.dilation,
    }  # fmt: skip
    chain = nn.Sequential(
        nn.Conv2d(old.in_channels, inner[0], 1, bias=False),
        nn.Conv2d(*inner, groups=inner[0] if depthwise else 1, bias=False, **geometry),
        nn.Conv2d(inner[1], old.out_channels, 1, bias=old.bias is not None),
    )
    replace(network, name, chain.train(old.training))
