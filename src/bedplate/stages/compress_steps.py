"""The steps of a compression: each makes a smaller or a better network of the one before it.

A step is JSON, `{"do": NAME, …}`, so what the search did can be written down and done again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from bedplate.compression.channel_allocation import allocate, uniform
from bedplate.compression.channels import channel_groups, prune_channels
from bedplate.compression.cost import macs_and_parameters, prices
from bedplate.compression.factorised_layers import factorise, layer_inputs
from bedplate.compression.layer_times import layer_times
from bedplate.compression.layers import rank_layers, removable_layers, remove_layers
from bedplate.compression.rank_choice import options, ranks_by_budget, ranks_by_energy
from bedplate.compression.sparsity import magnitude_masks, prunable_weights, random_masks, sparse
from bedplate.compression.structure import Change
from bedplate.compression.tensor_decomposition import (
    Kernel,
    cp_rank,
    decomposable,
    decompose_cp,
    decompose_tucker,
    tucker_parameters,
    tucker_ranks,
)
from bedplate.core.errors import InputError, did_you_mean, json_text, listing
from bedplate.core.seeds import derive
from bedplate.stages.bundle_network import rebuilt
from bedplate.stages.compress_bench import Bench, State


def plural(epochs: int) -> str:
    """Return a number of epochs in words."""
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def _prune(
    bench: Bench,
    before: State,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    time: float | None = None,
    cost: float | None = None,
    widths: float | None = None,
    times: Mapping[str, float] | None = None,
    importance: str = "taylor",
    allocation: str = "importance",
) -> State:
    """Remove channels: down to a share of what the network costs, or of all widths.

    The cost is multiplications, parameters, the layers' time, or half time and half parameters (`cost`). Which channels
    of a group go, the importance says; how many, it too, or what was measured (`sensitivity`).

    Args:
        bench: what steps work with.
        before: the network.
        macs: share of the multiply-accumulates to keep.
        parameters: share of the parameters.
        time: share of the layers' time.
        cost: share of both, each counting half.
        widths: share of each group's channels.
        times: what each layer takes (`layer_times`); measured where it is left out.
        importance: taylor, magnitude or random.
        allocation: importance or sensitivity.
    """
    shares = {"macs": macs, "parameters": parameters, "time": time, "cost": cost, "widths": widths}
    given = {name: share for name, share in shares.items() if share is not None}
    if len(given) != 1:
        raise InputError(f"prune needs one of {listing(shares)}", where="steps")
    _one_of("importance", importance, ("taylor", "magnitude", "random"))
    _one_of("allocation", allocation, ("importance", "sensitivity"))
    ((of, share),) = given.items()
    _share(of, share)
    network = before.network
    groups = bench.groups if network is bench.original else channel_groups(network, bench.calibration)
    if not groups:
        raise InputError("there are no channels that could be removed", where=str(bench.model["name"]))
    worth = bench.importance(network, groups, importance)
    by = importance
    if of == "widths":
        keep = uniform(groups, worth, share)
    else:
        if of in ("time", "cost") and times is None:
            times = layer_times(network, bench.calibration)
        counted = bench.cost if network is bench.original else macs_and_parameters(network, bench.calibration)
        lost = bench.lost_by_width(network, groups, worth) if allocation == "sensitivity" else None
        price = prices(network, counted, cast("Any", of), times)
        keep = allocate(network, groups, worth, price, share, lost=lost)
        by += ", widths by sensitivity" if lost else ""
    smaller, made = prune_channels(network, groups, keep)
    return before.then(smaller, made, f"channels pruned to {share:.0%} of the {_WORDS[of]} ({by})")


_WORDS = {
    "macs": "multiplications", "parameters": "parameters", "time": "layers' time", "cost": "time and parameters",
    "widths": "widths",
}  # fmt: skip


def _remove(bench: Bench, before: State, *, layers: int | Sequence[str] = 1) -> State:
    """Remove blocks that change no shape: the given ones, or so many, one after another, the one that matters least."""
    network, made = before.network, list[Change]()
    if not isinstance(layers, int):
        network, made = remove_layers(network, list(layers))
    else:
        for _ in range(layers):
            names = removable_layers(network, bench.calibration)
            if not names:
                raise InputError("so many blocks can't be removed", received=str(layers))
            ranked = rank_layers(network, names, bench.answers)
            network, more = remove_layers(network, [ranked[0][0]])
            made += more
    return before.then(network, made, f"removed: {listing([str(change['layer']) for change in made])}")


def _factorise(
    bench: Bench,
    before: State,
    *,
    parameters: float | None = None,
    energy: float | None = None,
    method: str = "svd",
    ranks: str = "energy",
) -> State:
    """Give dense layers and convolutions a low rank where it pays.

    Ranks hold a share of each layer's energy, or go down to a share of the parameters together: by energy, or by what
    was measured (`sensitivity`).
    """
    if (parameters is None) == (energy is None):
        raise InputError("factorise needs either parameters or energy", where="steps")
    _share("parameters" if energy is None else "energy", parameters if energy is None else energy)
    _one_of("ranks", ranks, ("energy", "sensitivity"))
    network, weighted = before.network, method == "weighted-svd"
    found = options(network, weighted=weighted)
    inputs = layer_inputs(network, bench.calibration, list(found)) if weighted else None
    if energy is not None:
        chosen, goal = ranks_by_energy(found, energy), f"{energy:.0%} of their energy"
    else:
        assert parameters is not None
        lost = bench.lost_by_rank(network, found, method, inputs) if ranks == "sensitivity" else None
        chosen, goal = ranks_by_budget(found, parameters, lost), f"{parameters:.0%} of the parameters"
    if not chosen:
        raise InputError("no layer gets smaller by factors", where=goal)
    smaller, made = factorise(network, chosen, method=method, inputs=inputs)
    by = f"{method}, ranks by sensitivity" if ranks == "sensitivity" else method
    return before.then(smaller, made, f"{len(chosen)} layers factorised to {goal} ({by})")


def _decompose(bench: Bench, before: State, *, parameters: float, method: str = "tucker") -> State:
    """Make chains of the convolutions that get smaller by it, each down to a share of its parameters."""
    _share("parameters", parameters)
    network = before.network
    kernels: dict[str, Kernel] = {
        name: (layer.out_channels, layer.in_channels, layer.kernel_size[0], layer.kernel_size[1])
        for name, layer in decomposable(network).items()
    }
    wanted = {name: int(parameters * np.prod(shape)) for name, shape in kernels.items()}
    if method == "tucker":
        ranks = {name: tucker_ranks(shape, wanted[name]) for name, shape in kernels.items()}
        ranks = {name: pair for name, pair in ranks.items() if tucker_parameters(kernels[name], pair) <= wanted[name]}
        chosen = list(ranks)
        smaller, made, facts = decompose_tucker(network, ranks)
    elif method == "cp":
        singles = {name: cp_rank(shape, wanted[name]) for name, shape in kernels.items()}
        sizes = {name: shape[0] + shape[1] + shape[2] * shape[3] for name, shape in kernels.items()}
        chosen = [name for name in kernels if singles[name] * sizes[name] <= wanted[name]]
        smaller, made, facts = decompose_cp(network, {name: singles[name] for name in chosen})
    else:
        raise InputError(f"unknown decomposition '{method}'", expected="tucker or cp")
    if not chosen:
        raise InputError("no convolution gets smaller as a chain", where=f"{parameters:.0%} of the parameters")
    back = sum("fell_back" in fact for fact in facts)
    told = f" ({back} by tucker, where cp diverged)" if back else ""
    return before.then(
        smaller, made, f"{len(chosen)} convolutions to {method} chains of {parameters:.0%} of the parameters{told}"
    )


def _zero(bench: Bench, before: State, *, share: float, by: str = "magnitude") -> State:
    """Set single weights to zero: the smallest, or random ones. No faster, and smaller only once packed."""
    _share("share", share)
    _one_of("by", by, ("magnitude", "random"))
    weights = prunable_weights(before.network)
    if by == "magnitude":
        masks = magnitude_masks(weights, share)
    else:
        masks = random_masks(weights, share, seed=derive(bench.work.recipe.seed, "zero"))
    return before.then(sparse(before.network, masks), (), f"{share:.0%} of the weights at zero ({by})")


def _student(bench: Bench, before: State, *, name: str, **arguments: Any) -> State:
    """Begin afresh with another registered model."""
    seed = derive(bench.work.recipe.seed, "student") % 2**31
    model = {**bench.model, "name": name, "arguments": arguments}
    model.pop("changes", None)
    return State(rebuilt(model, bench.original.outputs, seed).eval(), model, (), (f"a new {name}",))


def _distil(
    bench: Bench, before: State, *, epochs: int, name: str = "soft-target", zeros: float = 0.0, **arguments: Any
) -> State:
    """Train the network on the rows, and on what the original answers; with `zeros`, ever more weights become zero."""
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise InputError(
            "distil needs a number of epochs", where="steps: epochs", expected="1 or more", received=json_text(epochs)
        )
    if zeros:
        _share("zeros", zeros)
    network = bench.trained(before.network, epochs, name, arguments, zeros=zeros)
    told = f", {zeros:.0%} of the weights ending at zero" if zeros else ""
    return before.then(network, (), f"{plural(epochs)} of {name} distillation from the original{told}")


def _share(what: str, received: Any) -> None:
    if isinstance(received, bool) or not isinstance(received, int | float) or not 0 < received <= 1:
        raise InputError(
            "a share is wanted", where=f"steps: {what}", expected="above 0, at most 1", received=json_text(received)
        )


def _one_of(what: str, received: str, known: Sequence[str]) -> None:
    if received not in known:
        raise InputError(
            f"unknown {what} '{received}'", expected=listing(known), where="steps", hint=did_you_mean(received, known)
        )


STEPS: dict[str, Callable[..., State]] = {
    "prune": _prune,
    "remove": _remove,
    "factorise": _factorise,
    "decompose": _decompose,
    "zero": _zero,
    "student": _student,
    "distil": _distil,
}
"""What a step may do, by name."""

QUANTISE: dict[str, tuple[str, ...]] = {"quantise": ("method",), "quantise-aware": ("epochs",)}
"""What may only come last, with its arguments."""


def check_step(step: Mapping[str, Any], where: str = "steps", *, last: bool = False) -> None:
    """Refuse a step by its name and its arguments' names, before anything is done.

    Raises:
        InputError: names the fault, and what it may be instead.
    """
    name, arguments = step["do"], [key for key in step if key != "do"]
    if last and name in QUANTISE:
        known, needed, any_other = list(QUANTISE[name]), [], False
    elif name in STEPS:
        taken = inspect.signature(STEPS[name]).parameters
        any_other = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
        known = [key for key, one in taken.items() if one.kind is inspect.Parameter.KEYWORD_ONLY]
        needed = [key for key in known if taken[key].default is inspect.Parameter.empty]
    else:
        names = [*STEPS, *QUANTISE]
        raise InputError(
            f"'{name}' can only come last" if name in QUANTISE else f"unknown step '{name}'",
            expected=f"one of {listing(STEPS)}; last also {listing(QUANTISE)}", where=where,
            hint=None if name in QUANTISE else did_you_mean(name, names),
        )  # fmt: skip
    wrong = [] if any_other else [key for key in arguments if key not in known]
    wrong = wrong or [key for key in needed if key not in arguments]
    if wrong:
        raise InputError(
            f"{'unknown' if wrong[0] in arguments else 'missing'} argument '{wrong[0]}' of the step '{name}'",
            expected=listing(known), where=where, hint=did_you_mean(wrong[0], known),
        )  # fmt: skip
