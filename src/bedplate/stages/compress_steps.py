"""The steps of a compression: each makes a smaller or a better network of the one before it.

A step is JSON, `{"do": NAME, …}`, so what the search did can be written down and done again. Trained networks are kept
in a folder by all that decided them: a search that was stopped, or is asked again under another budget, trains nothing
twice.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import load_file, save

from bedplate.compression.channel_allocation import allocate, uniform
from bedplate.compression.channel_importance import Importance, magnitude, random, taylor
from bedplate.compression.channels import Group, channel_groups, prune_channels
from bedplate.compression.cost import Cost, macs_and_parameters
from bedplate.compression.distillation import Teachers, distillations
from bedplate.compression.factorised_layers import factorise, layer_inputs
from bedplate.compression.layers import rank_layers, removable_layers, remove_layers
from bedplate.compression.noisy_student import taught_rows
from bedplate.compression.quantisation_aware import export_quantised, prepare
from bedplate.compression.rank_choice import options, ranks_by_budget
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
from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.core.hashing import fingerprint
from bedplate.core.seeds import derive
from bedplate.models import Network, predictor, to_tensors
from bedplate.objectives import Objective, objectives
from bedplate.stages.bundle_network import rebuilt
from bedplate.stages.process import configured_torch
from bedplate.stages.pseudo_labels import unlabelled_rows
from bedplate.stages.train import training_data
from bedplate.stages.work import Work
from bedplate.training import TrainingData, plain, rows_a_step, steps_per_epoch, train
from bedplate.training.batches import standardised
from bedplate.training.loop import validate

Step = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """A network on its way.

    Attributes:
        network: in evaluation mode, on the CPU.
        model: registered name and arguments.
        changes: how the network differs from that model as it is built.
        said: what was done, for people.
    """

    network: Network
    model: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    said: tuple[str, ...] = ()

    def then(self, network: Network, changes: Sequence[Change], said: str) -> State:
        """Return what a step made of this."""
        return State(network.eval(), self.model, (*self.changes, *changes), (*self.said, said))


@dataclass
class Maker:
    """Makes networks by steps from one original.

    Attributes:
        work: recipe, data, and where people read along.
        original: what is compressed, in evaluation mode.
        model: its registered name and arguments, as `model.json` has them.
        identity: what decides the original and its data, beside the steps.
        calibration: features of training rows, spread over the classes.
        calibration_targets: their targets.
        store: the folder of trained networks.
    """

    work: Work
    original: Network
    model: Mapping[str, Any]
    identity: str
    calibration: Arrays
    calibration_targets: np.ndarray
    store: Path
    teachers: Sequence[Network] = ()
    _states: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        part = self.work.recipe.objective
        assert part is not None
        self.objective: Objective = objectives.get(part.name)(**part.arguments)

    @cached_property
    def data(self) -> TrainingData:
        """What students are trained on: the training rows, and those that the teacher labels."""
        spec, data = self.work.recipe.compression.unlabelled, training_data(self.work)
        if spec is None:
            return data
        features, _, _ = unlabelled_rows(self.work, spec.source)
        taught = taught_rows(self.original, data, features, spec.threshold) if features else data
        self.work.console.detail(f"{len(taught) - len(data):,} rows without labels get the original's answer")
        return taught

    @cached_property
    def teacher(self) -> torch.nn.Module:
        """Who students learn from."""
        return Teachers([self.original, *self.teachers]) if self.teachers else self.original

    @cached_property
    def groups(self) -> list[Group]:
        """The original's channels that can be removed."""
        return channel_groups(self.original, self.calibration)

    @cached_property
    def cost(self) -> Cost:
        """What the original costs."""
        return macs_and_parameters(self.original, self.calibration)

    def importance(self, network: Network, groups: Sequence[Group], kind: str) -> Importance:
        """Return what each channel of a network is worth."""
        if kind == "magnitude":
            return magnitude(network, groups)
        if kind == "random":
            return random(groups, derive(self.work.recipe.seed, "importance"))
        targets = standardised(self.calibration_targets, network)
        return taylor(network, groups, self.objective, to_tensors(network, self.calibration), targets)

    @cached_property
    def _validation(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        data = training_data(self.work)
        return to_tensors(self.original, data.validation_features), standardised(data.validation_targets, self.original)

    def answers(self, network: Network) -> np.ndarray:
        """Return a network's answers to the calibration rows: probabilities [rows, classes] or values [rows]."""
        (found,) = predictor(network)(self.calibration).values()
        return np.asarray(found)

    def loss(self, state: State) -> float:
        """Return the validation loss."""
        found = validate(state.network, *self._validation)["validation_loss"]
        state.network.eval()
        return found

    def make(self, steps: Sequence[Step]) -> State:
        """Return the network that steps lead to; none of them is done twice.

        Raises:
            InputError: an unknown step, or one that can't be done here.
        """
        key = fingerprint({"original": self.identity, "steps": [dict(step) for step in steps]})
        if key in self._states:
            return self._states[key]
        if not steps:
            state = State(self.original, self.model)
        else:
            before, last = self.make(steps[:-1]), dict(steps[-1])
            name = last.pop("do")
            if name not in STEPS:
                raise InputError(
                    f"unknown step '{name}'", expected=f"one of {listing(STEPS)}", hint=did_you_mean(name, STEPS)
                )
            kept = self.store / f"{key}.safetensors"
            if name == "distil" and kept.exists():
                state = self._kept(before, key)
            else:
                state = STEPS[name](self, before, **_checked(name, last))
                if name == "distil":
                    self._keep(state, key)
        self._states[key] = state
        return state

    def trained(
        self, network: Network, epochs: int, name: str, arguments: Mapping[str, Any], *, slower: float = 1.0
    ) -> Network:
        """Return a copy of a network that was trained on the rows and on what the original answers.

        It is trained as the recipe says and computed as the original was, but not compiled.

        Args:
            network: stays as it is.
            epochs: how long.
            name: of the distillation.
            arguments: of the distillation.
            slower: a factor of the learning rate.
        """
        work, spec = self.work, plain(self.work.recipe.training)
        changes: dict[str, Any] = {
            "epochs": epochs, "start": None, "pseudo_labels": None, "compile": False, "freeze": [], "rates": {},
            "early_stopping": None,
        }  # fmt: skip
        rate = spec.optimizer.arguments.get("lr")
        if rate is not None and slower != 1.0:
            changes["optimizer"] = spec.optimizer.model_copy(update={"lr": rate * slower})
        spec = spec.model_copy(update=changes)
        teacher = copy.deepcopy(self.teacher).to(spec.device)
        objective = distillations.get(name)(teacher, self.objective, **arguments)
        total = epochs * steps_per_epoch(len(self.data), rows_a_step(spec))
        with configured_torch(work.threads), work.console.progress("distilling", total) as advance:
            torch.set_num_threads(spec.threads or work.threads)
            run = train(
                copy.deepcopy(network), objective, self.data, spec, seed=work.recipe.seed, select=work.task.select,
                identity={}, hooks=[lambda event, run: advance(run.step, "") if event == "step" else None],
            )  # fmt: skip
        return run.network.to("cpu").eval()

    def quantised_aware(self, state: State, cpu: frozenset[str], epochs: int) -> onnx.ModelProto:
        """Return the graph of a network that was trained on in 8 bits, at a tenth of the recipe's learning rate.

        Raises:
            InputError: its graph can't be drawn.
        """
        part = self.work.recipe.compression.distillation
        prepared = prepare(state.network, self.calibration, cpu)
        learnt = self.trained(prepared, epochs, part.name, part.arguments, slower=0.1)
        return export_quantised(learnt, few(self.calibration), cpu)

    def _keep(self, state: State, key: str) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        write_json(self.store / f"{key}.json", {"said": state.said[-1]})
        write_bytes(self.store / f"{key}.safetensors", save(state.network.state_dict()))

    def _kept(self, before: State, key: str) -> State:
        network = copy.deepcopy(before.network)
        network.load_state_dict(load_file(self.store / f"{key}.safetensors"))
        said = read_json(self.store / f"{key}.json")["said"]
        self.work.console.detail(f"trained before: {said}")
        return before.then(network, (), said)


def _checked(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a step's arguments if its function takes them."""
    taken = inspect.signature(STEPS[name]).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        return arguments
    known = [key for key, one in taken.items() if one.kind is inspect.Parameter.KEYWORD_ONLY]
    needed = [key for key in known if taken[key].default is inspect.Parameter.empty]
    wrong = [key for key in arguments if key not in known] or [key for key in needed if key not in arguments]
    if wrong:
        raise InputError(
            f"{'unknown' if wrong[0] in arguments else 'missing'} argument '{wrong[0]}' of the step '{name}'",
            expected=listing(known), hint=did_you_mean(wrong[0], known),
        )  # fmt: skip
    return arguments


def plural(epochs: int) -> str:
    """Return a number of epochs in words."""
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def _prune(
    maker: Maker,
    before: State,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    widths: float | None = None,
    importance: str = "taylor",
) -> State:
    """Remove channels: down to a share of the multiplications or parameters by worth, or a share of all widths."""
    if sum(one is not None for one in (macs, parameters, widths)) != 1:
        raise InputError("prune needs one of macs, parameters and widths", where="steps")
    network = before.network
    groups = maker.groups if network is maker.original else channel_groups(network, maker.calibration)
    if not groups:
        raise InputError("there are no channels that could be removed", where=str(maker.model["name"]))
    worth = maker.importance(network, groups, importance)
    if widths is not None:
        keep = uniform(groups, worth, widths)
        said = f"channels pruned to {widths:.0%} of the widths ({importance})"
    else:
        cost = maker.cost if network is maker.original else macs_and_parameters(network, maker.calibration)
        keep = allocate(network, groups, worth, cost, macs_share=macs, parameter_share=parameters)
        share, of = (macs, "multiplications") if macs is not None else (parameters, "parameters")
        said = f"channels pruned to {share:.0%} of the {of} ({importance})"
    smaller, made = prune_channels(network, groups, keep)
    return before.then(smaller, made, said)


def _remove(maker: Maker, before: State, *, layers: int | Sequence[str] = 1) -> State:
    """Remove blocks that change no shape: the given ones, or so many, one after another, the one that matters least."""
    network, made = before.network, list[Change]()
    if not isinstance(layers, int):
        network, made = remove_layers(network, list(layers))
    else:
        for _ in range(layers):
            names = removable_layers(network, maker.calibration)
            if not names:
                raise InputError("so many blocks can't be removed", received=str(layers))
            ranked = rank_layers(network, names, maker.answers)
            network, more = remove_layers(network, [ranked[0][0]])
            made += more
    return before.then(network, made, f"removed: {listing([str(change['layer']) for change in made])}")


def _factorise(maker: Maker, before: State, *, parameters: float, method: str = "svd") -> State:
    """Give dense layers and convolutions a low rank, down to a share of their parameters; where it pays, as it pays."""
    network, weighted = before.network, method == "weighted-svd"
    ranks = ranks_by_budget(options(network, weighted=weighted), parameters)
    if not ranks:
        raise InputError("no layer gets smaller by factors", where=f"{parameters:.0%} of the parameters")
    inputs = layer_inputs(network, maker.calibration, list(ranks)) if weighted else None
    smaller, made = factorise(network, ranks, method=method, inputs=inputs)
    return before.then(
        smaller, made, f"{len(ranks)} layers factorised to {parameters:.0%} of the parameters ({method})"
    )


def _decompose(maker: Maker, before: State, *, parameters: float, method: str = "tucker") -> State:
    """Make chains of the convolutions that get smaller by it, each down to a share of its parameters."""
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


def _student(maker: Maker, before: State, *, name: str, **arguments: Any) -> State:
    """Begin afresh with another registered model."""
    seed = derive(maker.work.recipe.seed, "student") % 2**31
    model = {**maker.model, "name": name, "arguments": arguments}
    model.pop("changes", None)
    return State(rebuilt(model, maker.original.outputs, seed).eval(), model, (), (f"a new {name}",))


def _distil(maker: Maker, before: State, *, epochs: int, name: str = "soft-target", **arguments: Any) -> State:
    """Train the network on the rows, and on what the original answers."""
    network = maker.trained(before.network, epochs, name, arguments)
    return before.then(network, (), f"{plural(epochs)} of {name} distillation from the original")


STEPS: dict[str, Callable[..., State]] = {
    "prune": _prune,
    "remove": _remove,
    "factorise": _factorise,
    "decompose": _decompose,
    "student": _student,
    "distil": _distil,
}
"""What a step may do, by name."""


def few(rows: Arrays) -> dict[str, np.ndarray]:
    """Return as many rows as an export needs."""
    return take(rows, slice(0, 3))
