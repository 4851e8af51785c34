"""The network that a bundle was sealed from, built again from `model.json` and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bedplate.bundle import Bundle
from bedplate.compression.structure import restructure
from bedplate.core.errors import BundleError
from bedplate.models import Network, Outputs, build, inputs_from_spec


def rebuilt(model: Mapping[str, Any], outputs: Outputs, seed: int = 0) -> Network:
    """Return the network that a `model.json` describes, its changes made, freshly initialised.

    Raises:
        InputError: the model isn't registered here. BundleError: its changes don't fit it.
    """
    network = build(model["name"], dict(model["arguments"]), inputs_from_spec(model["inputs"]), outputs, seed)
    return restructure(network, model.get("changes", ()))


def bundle_network(bundle: Bundle, outputs: Outputs | None = None) -> Network:
    """Return a bundle's network with its weights, in evaluation mode.

    Args:
        bundle: which holds weights.
        outputs: what the network answers, where more is known of it than the bundle says.

    Raises:
        InputError: the model isn't registered here. BundleError: the weights don't fit it.
    """
    if outputs is None:
        outputs = Outputs.from_json(bundle.model["outputs"])
    network = rebuilt(bundle.model, outputs)
    try:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in bundle.weights().items()})
    except RuntimeError as error:
        raise BundleError(
            "the weights don't fit the model", where=str(bundle.source), received=str(error).splitlines()[0]
        ) from error
    return network.eval()
