"""Which weights move, and how fast: freezing and discriminative learning rates by name patterns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.models import Network
from bedplate.recipe.schema import TrainingSpec


def _body_names(network: Network) -> list[str]:
    """Return the weights' names as recipes write them, without the wrapper's `body.`."""
    return [name.removeprefix("body.") for name, _ in network.named_parameters()]


def _check(patterns: Iterable[str], names: Sequence[str], where: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = did_you_mean(pattern.rstrip(".*"), [name.rpartition(".")[0] for name in names])
            raise InputError(
                f"no weight is called '{pattern}'",
                where=where,
                expected=f"a pattern for some of {listing(names)}",
                hint=near or "`*` stands for any text",
            )


def freeze(network: Network, patterns: Sequence[str]) -> list[str]:
    """Stop the gradient of the weights that a pattern matches, and return their names.

    Batch normalisations whose weights are frozen keep their running statistics, too.

    Raises:
        InputError: a pattern matches nothing, or nothing is left to train.
    """
    names = _body_names(network)
    _check(patterns, names, "training.freeze")
    frozen = []
    for name, parameter in zip(names, network.parameters(), strict=True):
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
            frozen.append(name)
    if frozen and len(frozen) == len(names):
        raise InputError("nothing is left to train", where="training.freeze", received=", ".join(patterns))
    return frozen


def hold_frozen_norms(network: nn.Module) -> None:
    """Put batch normalisations with frozen weights into evaluation mode; to be called after each `train()`."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()


def hidden_matrices(network: Network) -> set[int]:
    """Return the ids of the parameters that Muon is made for: matrices and kernels between the first and the last.

    Embeddings, and the layer that gives the scores, are left out (Jordan et al. 2024); where the tokens' own vectors
    give the scores there is no such layer.
    """
    found = [
        parameter
        for module in network.modules()
        if not isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim >= 2
    ]
    tied = network.outputs.sequence and found[-1].shape[0] != network.outputs.width
    return {id(parameter) for parameter in (found if tied else found[:-1])}


def parameter_groups(
    network: Network, parameters: Iterable[nn.Parameter], rates: Mapping[str, float], *, by_kind: bool = False
) -> list[dict[str, Any]]:
    """Return the trainable ones among `parameters` in groups of one learning-rate factor and kind.

    Each group has `params` and `rate` (the factor); `by_kind` divides them by `matrix`, whether Muon is for them.
    Where several patterns match a weight, the last one counts.
    """
    wanted = {id(parameter) for parameter in parameters}
    names = _body_names(network)
    _check(rates, names, "training.rates")
    matrices = hidden_matrices(network) if by_kind else set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in zip(names, network.parameters(), strict=True):
        if id(parameter) in wanted and parameter.requires_grad:
            factor = next((rates[p] for p in reversed(list(rates)) if fnmatchcase(name, p)), 1.0)
            groups.setdefault((factor, id(parameter) in matrices), []).append(parameter)
    kinds: list[dict[str, Any]] = [{"matrix": matrix} if by_kind else {} for _, matrix in groups]
    return [
        {"params": params, "rate": rate, **kind}
        for ((rate, _), params), kind in zip(groups.items(), kinds, strict=True)
    ]


def penalised(network: Network, spec: TrainingSpec) -> list[nn.Parameter]:
    """Return the weights that `l1` and `l2` act on: matrices and kernels."""
    if not spec.l1 and not spec.l2:
        return []
    return [p for p in network.parameters() if p.ndim >= 2 and p.requires_grad]
