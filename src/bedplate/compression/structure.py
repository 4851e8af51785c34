"""How a network differs from the registered model that it was built as: a list of changes, as JSON, free of code.

A compressed network keeps its model's name and arguments, beside which its changes are written. Whoever builds it again
builds the registered model, makes the changes, and loads the weights; so it is saved without pickle and comes back as
it was. A change only gives modules their shape; what their weights are is the business of the method that made it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from bedplate.core.errors import BundleError
from bedplate.core.registry import Registry
from bedplate.models import Network

Change = Mapping[str, Any]
"""One change: `{"change": NAME, …arguments of the registered function}`."""

changes: Registry[Callable[..., None]] = Registry("change")
"""Functions `f(network, **arguments)` that alter a network's modules in place, leaving weights undefined."""


def restructure(network: Network, made: Sequence[Change]) -> Network:
    """Make the changes, in order, on a freshly built network (in place), and return it.

    Raises:
        BundleError: a change doesn't fit the network.
    """
    for change in made:
        arguments = {key: value for key, value in change.items() if key != "change"}
        try:
            changes.get(change["change"])(network, **arguments)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                "a change doesn't fit the model", where="model.json", received=f"{dict(change)}: {error}"
            ) from error
    return network


def changed(network: Network, made: Sequence[Change]) -> Network:
    """Return a copy of a network with changes made; the original stays as it is."""
    return restructure(copy.deepcopy(network), made)


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one called `name` (dotted, as in `named_modules`).

    Raises:
        AttributeError: there is none of that name.
    """
    network.get_submodule(name)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
