"""What every step of a compression works with: one original, its rows, judging and training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import torch

from bedplate.compression.channel_importance import Importance, magnitude, random, taylor
from bedplate.compression.channels import Group, channel_groups
from bedplate.compression.cost import Cost, macs_and_parameters
from bedplate.compression.distillation import Teachers, distillations
from bedplate.compression.divergence import Lost
from bedplate.compression.noisy_student import taught_rows
from bedplate.compression.quantisation_aware import export_quantised, prepare
from bedplate.compression.rank_choice import Option
from bedplate.compression.sensitivity import RATIOS, channel_parts, lost_at, rank_parts, sensitivity
from bedplate.compression.sparsity import GradualPruning, apply_masks
from bedplate.compression.structure import Change
from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import InputError
from bedplate.core.seeds import derive
from bedplate.models import Network, predictor, to_tensors
from bedplate.objectives import Objective, objectives
from bedplate.stages.process import configured_torch
from bedplate.stages.pseudo_labels import unlabelled_rows
from bedplate.stages.train import training_data
from bedplate.stages.work import Work
from bedplate.training import TrainingData, plain, rows_a_step, steps_per_epoch, train
from bedplate.training.batches import standardised
from bedplate.training.loop import validate
from bedplate.training.run import Event, Run

_MOST_SCORES = 1 << 23
"""Scores of next tokens that are looked at: a row has a vocabulary of them at every token."""


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
class Bench:
    """One original, and what judging and training networks that are made from it needs.

    Attributes:
        work: recipe, data, and where people read along.
        original: what is compressed, in evaluation mode.
        model: its registered name and arguments, as `model.json` has them.
        identity: what decides the original and its data, beside the steps.
        calibration: features of training rows, spread over the classes.
        calibration_targets: their targets.
        teachers: whom students learn from beside the original.
    """

    work: Work
    original: Network
    model: Mapping[str, Any]
    identity: str
    calibration: Arrays
    calibration_targets: np.ndarray
    teachers: Sequence[Network] = ()

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
        """The original's channels that can be removed; none where its graph can't be drawn."""
        try:
            return channel_groups(self.original, self.calibration)
        except InputError as error:
            self.work.console.detail(f"note: {error.what}, so none of its channels are taken away")
            return []

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

    def lost_by_width(self, network: Network, groups: Sequence[Group], importance: Importance) -> Lost:
        """Return how far the answers to the calibration rows move when one group alone has so many channels left."""
        found = sensitivity(network, channel_parts(network, groups, importance), RATIOS, self.answers)
        return lost_at(found, {group.name: group.width for group in groups})

    def lost_by_rank(
        self, network: Network, found: Mapping[str, Option], method: str, inputs: Mapping[str, np.ndarray] | None
    ) -> Lost:
        """Return how far the answers to the calibration rows move when one layer alone has a rank."""
        parts = rank_parts(network, found, method=method, inputs=inputs)
        moved = sensitivity(network, parts, RATIOS, self.answers)
        return lost_at(moved, {name: option.break_even for name, option in found.items()})

    @cached_property
    def _validation(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        data = training_data(self.work)
        return to_tensors(self.original, data.validation_features), standardised(data.validation_targets, self.original)

    def answers(self, network: Network) -> np.ndarray:
        """Return a network's answers to the calibration rows: probabilities [rows, classes] or values [rows].

        Of a language model it is the probabilities of the next tokens that are judged [tokens, vocabulary].
        """
        if not network.outputs.sequence:
            (found,) = predictor(network)(self.calibration).values()
            return np.asarray(found)
        targets = self.calibration_targets
        rows = max(1, _MOST_SCORES // (targets.shape[1] * network.outputs.width))
        (scores,) = predictor(network)(take(self.calibration, slice(0, rows))).values()
        judged = torch.from_numpy(scores[targets[: len(scores)] >= 0])
        return np.asarray(torch.softmax(judged.double(), dim=-1))

    def loss(self, state: State) -> float:
        """Return the validation loss."""
        found = validate(state.network, *self._validation)["validation_loss"]
        state.network.eval()
        return found

    def trained(
        self,
        network: Network,
        epochs: int,
        name: str,
        arguments: Mapping[str, Any],
        *,
        slower: float = 1.0,
        zeros: float = 0.0,
        clip: float | None = None,
    ) -> Network:
        """Return a copy of a network that was trained on the rows and on what the original answers.

        It is trained as the recipe says and computed as the original was, but not compiled.

        Args:
            network: stays as it is.
            epochs: how long.
            name: of the distillation.
            arguments: of the distillation.
            slower: a factor of the learning rate.
            zeros: the share of its weights that become zero on the way, by the cubic schedule, in three quarters of it.
            clip: the largest norm of a gradient; left out: the recipe's.
        """
        work, spec = self.work, plain(self.work.recipe.training)
        changes: dict[str, Any] = {
            "epochs": epochs, "start": None, "pretrain": None, "pseudo_labels": None, "compile": False, "freeze": [],
            "rates": {}, "early_stopping": None, "gradient_clip": clip or spec.gradient_clip,
        }  # fmt: skip
        rate = spec.optimizer.arguments.get("lr")
        if rate is not None and slower != 1.0:
            changes["optimizer"] = spec.optimizer.model_copy(update={"lr": rate * slower})
        spec = spec.model_copy(update=changes)
        teacher = copy.deepcopy(self.teacher).to(spec.device)
        objective = distillations.get(name)(teacher, self.objective, **arguments)
        total = epochs * steps_per_epoch(len(self.data), rows_a_step(spec))

        def tell(event: Event, run: Run) -> None:
            if event == "step":
                advance(run.step, "")

        gradual = GradualPruning(zeros, 0, total * 3 // 4) if zeros else None
        with configured_torch(work.threads), work.console.progress("distilling", total) as advance:
            torch.set_num_threads(spec.threads or work.threads)
            run = train(
                copy.deepcopy(network), objective, self.data, spec, seed=work.recipe.seed, select=work.task.select,
                identity={}, hooks=[hook for hook in (gradual, tell) if hook],
            )  # fmt: skip
            if gradual:  # averaged weights are not what the hook saw
                apply_masks(run.network, gradual.masks)
        return run.network.to("cpu").eval()

    def quantised_aware(self, state: State, cpu: frozenset[str], epochs: int) -> onnx.ModelProto:
        """Return the graph of a network that was trained on in 8 bits, at a tenth of the recipe's learning rate.

        Raises:
            InputError: its graph can't be drawn.
        """
        part = self.work.recipe.compression.distillation
        prepared = prepare(state.network, self.calibration, cpu)
        # Without its batch normalisations, which are folded, a deep network's gradient can be very large.
        learnt = self.trained(prepared, epochs, part.name, part.arguments, slower=0.1, clip=1.0)
        return export_quantised(learnt, few(self.calibration), cpu)


def few(rows: Arrays) -> dict[str, np.ndarray]:
    """Return as many rows as an export needs."""
    return take(rows, slice(0, 3))
