"""A stepwise network as one graph: the tokens and the past in, the scores and what the tokens add to the past out.

One graph reads a prompt (its past is empty) and goes on from it. Every call gives what the new tokens add alone, so a
past is never copied: whoever generates keeps it (`bedplate.generation.cache`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import PAST, PRESENT, TOKENS, TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import GateError
from bedplate.generation.decoder import Step
from bedplate.models import Inputs, Network, Stepwise, TextInput, predictor

LENGTH = f"{PAST}length"
"""The input that says how many tokens of the past are each row's own; behind them it is filled up."""

_SAMPLE = 5


class Stepping(nn.Module):
    """What is exported: `step` of a network's body, tensors in and out, the past in its order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Take tokens, the past's lengths and the past; return the scores and what is added to the past."""
        tokens, length, *past = tensors
        body = self.network.body
        assert isinstance(body, Stepwise)
        scores, present = body.step(tokens, length, past)
        return (self.network.answer(self.network.scores(scores), tokens), *present)


def past_names(network: Network) -> list[str]:
    """Return the names of the past's tensors, in their order."""
    assert isinstance(network.body, Stepwise)
    return list(network.body.past)


def sample_past(network: Network, rows: int) -> tuple[list[Tensor], list[dict[int, str]]]:
    """Return a past to export with, its lengths before it, and the free axes of each tensor by name."""
    assert isinstance(network.body, Stepwise)
    shapes = network.body.past.values()
    lengths = torch.full((rows,), _SAMPLE, dtype=torch.int32)
    past = [torch.zeros(rows, *(_SAMPLE if size < 0 else size for size in shape)) for shape in shapes]
    free = [{0: "rows"} | {1 + axis: "past" for axis, size in enumerate(shape) if size < 0} for shape in shapes]
    return [lengths, *past], [{0: "rows"}, *free]


def stepper(network: Network) -> tuple[Step, list[TensorSpec]]:
    """Return a network as a step that writes texts, in evaluation mode, and its inputs that carry the past."""
    stepping = Stepping(network)
    names = past_names(network)
    assert isinstance(network.body, Stepwise)
    past = [
        TensorSpec(LENGTH, "int32"),
        *(TensorSpec(PAST + name, "float32", network.body.past[name]) for name in names),
    ]

    def step(given: Arrays) -> Arrays:
        training = network.training
        network.eval()
        rows = len(given[TOKENS])
        tensors = [
            torch.from_numpy(np.ascontiguousarray(given[spec.name])) if spec.name in given
            else torch.zeros(rows, *(0 if size < 0 else size for size in spec.shape), dtype=getattr(torch, spec.dtype))
            for spec in past
        ]  # fmt: skip
        try:
            with torch.inference_mode():
                scores, *present = stepping(torch.from_numpy(np.ascontiguousarray(given[TOKENS])), *tensors)
        finally:
            network.train(training)
        found = {PRESENT + name: array.numpy() for name, array in zip(names, present, strict=True)}
        return {network.outputs.name: scores.numpy(), **found}

    return step, past


def read_at_once(inputs: Inputs, tokens: np.ndarray) -> np.ndarray:
    """Return how many of each row's tokens must be read at once [rows]: a text with its separator, or one."""
    if not isinstance(inputs, TextInput) or inputs.separator is None:
        return np.ones(len(tokens), np.int64)
    marks = tokens == inputs.separator
    return np.where(marks.any(axis=1), marks.argmax(axis=1) + 1, 1)


def check_steps(network: Network, exported: OnnxPredict, tokens: np.ndarray) -> float:
    """Return the largest difference between a network's scores at once and the graph's, token by token.

    The rows begin at different places, so that the pasts are of different lengths, and are read in pieces.

    Args:
        network: it reads whole rows.
        exported: its graph.
        tokens: int32 [rows, length], at least 4 tokens long.

    Raises:
        GateError: they differ by more than 1e-3 of the largest score.
    """
    least = read_at_once(network.inputs, tokens)
    tokens = np.pad(tokens, ((0, 0), (0, max(0, int(least.max()) + 2 - tokens.shape[1]))))
    rows, length = tokens.shape
    wanted = np.asarray(predictor(network)({TOKENS: tokens})["logits"])
    names = [spec.name for spec in exported.past if spec.name != LENGTH]
    own = np.array([least[row] + row * (length - 2 - least[row]) // max(1, rows - 1) for row in range(rows)])
    first = np.where(np.arange(own.max()) < own[:, None], tokens[:, : own.max()], 0).astype(np.int32)
    given = exported.step({TOKENS: first})
    past = {name: given[PRESENT + name.removeprefix(PAST)] for name in names}
    gap = max(float(np.abs(given["logits"][row, : own[row]] - wanted[row, : own[row]]).max()) for row in range(rows))
    for _ in range(2):
        place = np.minimum(own, length - 1)
        given = exported.step({TOKENS: tokens[np.arange(rows), place][:, None], LENGTH: place.astype(np.int32), **past})
        gap = max(gap, float(np.abs(given["logits"][:, 0] - wanted[np.arange(rows), place]).max()))
        for name in names:
            new = given[PRESENT + name.removeprefix(PAST)]
            axis = 1 + next(spec.shape.index(-1) for spec in exported.past if spec.name == name)
            grown = np.concatenate([past[name], np.zeros_like(new)], axis=axis)
            # A view with the tokens second: what is put there is in the past itself.
            np.moveaxis(grown, axis, 1)[np.arange(rows), place] = np.moveaxis(new, axis, 1)[:, 0]
            past[name] = grown
        own = own + 1
    if gap > 1e-3 * max(1.0, float(np.abs(wanted).max())):
        raise GateError(
            "the exported graph doesn't go on as the network does", expected="the scores of all tokens at once",
            received=f"a difference of {gap:.3g}", hint="its step and its forward compute different things",
        )  # fmt: skip
    return gap
