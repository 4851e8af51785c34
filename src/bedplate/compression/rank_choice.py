"""Which rank each layer gets: by energy, by what a share of the network's cost leaves, or by what was measured.

It never gets one that can't pay.

A layer's cost at rank r is r times that of rank 1. Above its break-even rank two layers cost no less than one did: then
it is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bedplate.compression.cost import macs_and_parameters
from bedplate.compression.divergence import Lost
from bedplate.compression.factorised_layers import as_matrix, factorisable, scheme_of
from bedplate.compression.low_rank import break_even, rank_for_energy
from bedplate.compression.structure import changed
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError
from bedplate.models import Network


@dataclass(frozen=True)
class Option:
    """What a layer may become.

    Attributes:
        singular: singular values of its matrix, descending.
        break_even: the largest rank that holds fewer numbers than the layer; 0: none.
        whole: the layer's cost as it is, biases left out.
        per_rank: what each rank costs.
    """

    singular: np.ndarray
    break_even: int
    whole: int
    per_rank: int


def options(network: Network, sample: Arrays | None = None, *, weighted: bool = False) -> dict[str, Option]:
    """Return what each factorisable layer may become.

    Args:
        network: any.
        sample: features of a row or more, for costs in multiply-accumulates; left out: in parameters.
        weighted: whether its layers are going to be factorised by the weighted SVD (`channel` for all convolutions).
    """
    layers = factorisable(network)
    schemes = {name: scheme_of(layer, weighted=weighted) for name, layer in layers.items()}
    thin = changed(
        network, [{"change": "factorised", "layer": name, "rank": 1, "scheme": schemes[name]} for name in layers]
    )
    whole, one = _costs(network, sample), _costs(thin, sample)
    found = {}
    for name, layer in layers.items():
        scheme = schemes[name]
        assert scheme is not None
        matrix = as_matrix(layer, scheme)
        per_rank = one[f"{name}.0.weight"] + one[f"{name}.1.weight"]
        singular = np.linalg.svd(matrix, compute_uv=False)
        found[name] = Option(singular, break_even(*matrix.shape), whole[f"{name}.weight"], per_rank)
    return found


def _costs(network: Network, sample: Arrays | None) -> Mapping[str, int]:
    if sample is not None:
        return macs_and_parameters(network, sample).layers
    return {name: parameter.numel() for name, parameter in network.named_parameters()}


def ranks_by_energy(found: Mapping[str, Option], energy: float) -> dict[str, int]:
    """Return for each layer the least rank that holds a share of its squared singular values, where that is cheaper.

    Args:
        found: the layers' options.
        energy: above 0 and at most 1.
    """
    ranks = {name: rank_for_energy(option.singular, energy) for name, option in found.items()}
    return {name: rank for name, rank in ranks.items() if _pays(found[name], rank)}


def _pays(option: Option, rank: int) -> bool:
    return rank <= option.break_even and rank * option.per_rank < option.whole


def ranks_by_budget(found: Mapping[str, Option], share: float, lost: Lost | None = None) -> dict[str, int]:
    """Return ranks that together cost at most a share of what the layers cost now.

    All layers begin with rank 1. In each turn the rank is raised that adds the most energy (as a share of its layer's)
    for its cost, as long as it fits; a layer that has passed its break-even stays whole and isn't named.

    Args:
        found: the layers' options, costs in one unit.
        share: above 0 and below 1.
        lost: by layer and rank, how far the answers move (`sensitivity.lost_at`): then what counts is by how much less
            they do. Left out: energy.

    Raises:
        InputError: rank 1 everywhere costs more.
    """
    whole = sum(option.whole for option in found.values())
    ranks = {name: 1 for name, option in found.items() if _pays(option, 1)}
    spent = sum(found[name].per_rank if name in ranks else found[name].whole for name in found)
    if spent > share * whole:
        raise InputError(
            "factorising doesn't get so far", expected=f"{share:.0%} of the layers' cost",
            received=f"{spent / max(whole, 1):.0%} at rank 1", hint="ask for less, or remove channels too",
        )  # fmt: skip
    energy = {name: o.singular**2 / max(float((o.singular**2).sum()), 1e-300) for name, o in found.items()}

    def gains(name: str, rank: int, up: bool) -> float:
        if lost is not None:
            return lost(name, rank) - (lost(name, rank + 1) if up else 0.0)
        return float(energy[name][rank] if up else energy[name][rank:].sum())

    open_names = set(ranks)
    while open_names:
        offers = []
        for name in open_names:
            option, rank = found[name], ranks[name]
            up = _pays(option, rank + 1)
            price = option.per_rank if up else option.whole - rank * option.per_rank
            offers.append((gains(name, rank, up) / max(price, 1), name, price, up))
        _, name, price, up = max(offers)
        if spent + price > share * whole:
            open_names.discard(name)
            continue
        spent += price
        if up:
            ranks[name] += 1
        else:
            del ranks[name]
            open_names.discard(name)
    return ranks
