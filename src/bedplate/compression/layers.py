"""Layer pruning: whole layers and blocks that give what they take in shape are left out.

A residual block whose shortcut is the identity is the case in point: without its branch the network still works
(Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks", section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bedplate.compression.channels import sample_tensors
from bedplate.compression.divergence import divergence
from bedplate.compression.sensitivity import Answers
from bedplate.compression.structure import Change, changed, changes, replace
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError
from bedplate.models import Network

_WORK = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""What makes leaving a layer out worth while; a normalisation alone costs next to nothing."""


@torch.no_grad()
def removable_layers(network: Network, sample: Arrays) -> list[str]:
    """Return the names of modules that may become the identity, in the order of the network.

    Each holds a convolution or dense layer, is called with one tensor alone, and returns one like it in shape and type.

    Args:
        network: any; the module that it wraps is never among them.
        sample: features of a few rows.
    """
    fits: dict[str, bool] = {}
    hooks = []
    for name, module in network.named_modules():
        if name in ("", "body") or not any(isinstance(inner, _WORK) for inner in module.modules()):
            continue

        def look(_: nn.Module, given: tuple[object, ...], named: object, out: object, name: str = name) -> None:
            alone = len(given) == 1 and not named
            x = given[0] if alone else None
            same = isinstance(x, Tensor) and isinstance(out, Tensor) and (x.shape, x.dtype) == (out.shape, out.dtype)
            fits[name] = fits.get(name, True) and same

        hooks.append(module.register_forward_hook(look, with_kwargs=True))
    training = network.training
    network.eval()
    try:
        network(*sample_tensors(network, sample))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return [name for name, _ in network.named_modules() if fits.get(name)]


def rank_layers(network: Network, names: Sequence[str], answers: Answers) -> list[tuple[str, float]]:
    """Return each layer with how far the answers move without it (`divergence`), the least missed first."""
    reference = answers(network)
    found = [(name, divergence(reference, answers(remove_layers(network, [name])[0]))) for name in names]
    return sorted(found, key=lambda pair: pair[1])


def remove_layers(network: Network, names: Sequence[str]) -> tuple[Network, list[Change]]:
    """Return a network without the layers named, and how it differs.

    Raises:
        InputError: a layer is inside another that goes, too, or isn't there.
    """
    known = dict(network.named_modules())
    for name in names:
        if name not in known or any(name.startswith(f"{other}.") for other in names):
            raise InputError(
                "a layer can't be left out", where=name,
                expected="a layer of the network, in none that is left out, too",
            )  # fmt: skip
    made: list[Change] = [{"change": "removed", "layer": name} for name in names]
    smaller = changed(network, made)
    kept = smaller.state_dict()
    smaller.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if name in kept})
    return smaller, made


class LeftOut(nn.Identity):
    """The identity where a layer was; it gives a copy, since an activation after it may work in place."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what came."""
        return x.clone()


@changes.register("removed")
def removed(network: Network, *, layer: str) -> None:
    """Put the identity in a layer's place."""
    replace(network, layer, LeftOut())
