"""The parity gate: an exported graph must answer as the network does, at several batch sizes, on real and edge rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, Predict, take
from bedplate.core.errors import GateError
from bedplate.models import ImageInput, Inputs, Network, SentenceInput, SeriesInput, TextInput, shortened

BATCHES = (1, 2, 7, 33)
RTOL, ATOL = 1e-3, 1e-4
MOST_SCORES = 1 << 22
"""Of next tokens that are compared at once."""


@dataclass(frozen=True)
class Parity:
    """The largest difference that was seen, and on how many rows at which batch sizes."""

    rows: int
    batches: tuple[int, ...]
    max_difference: float
    label_agreement: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {**asdict(self), "batches": list(self.batches)}


def edge_features(inputs: Inputs, rows: int = 4) -> dict[str, np.ndarray]:
    """Return rows at the edges of what may come.

    Black, white, checkered and random images; extreme numbers, unknown categories; texts of nothing, of one token and
    of unknown ones; a series at its level, far from it, and with a jump.
    """
    generator = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    if isinstance(inputs, ImageInput):
        shape = (inputs.height, inputs.width, inputs.channels)
        checks = np.indices(shape[:2]).sum(0)[..., None] % 2 * np.ones(shape[2], int) * 255
        images = [np.zeros(shape), np.full(shape, 255), checks, generator.integers(0, 256, shape)]
        return {"image": np.stack(images).astype(np.uint8)}
    if isinstance(inputs, TextInput):  # nothing at all, one token, unknown ones, the last one, chance
        length, top = max(2, min(inputs.length, 64)), inputs.vocabulary - 1
        tokens = np.zeros((5, length), np.int32)
        tokens[1, 0], tokens[2], tokens[3, : length // 2] = 1, 1, top
        tokens[4] = generator.integers(1, inputs.vocabulary, length)
        if inputs.separator is not None:  # at the beginning, behind one token, in the middle, and nowhere
            tokens[2, 0] = tokens[1, 1] = tokens[4, length // 2] = inputs.separator
        return {"tokens": tokens}
    if isinstance(
        inputs, SentenceInput
    ):  # likewise, a row of nothing but padding left out: no sentence is without words
        words = edge_features(TextInput(inputs.vocabulary, 64))["tokens"][1:]
        there = words != 0
        shapes = generator.integers(1, inputs.shapes, words.shape) * there
        letters = generator.integers(0, inputs.alphabet, (*words.shape, inputs.letters)) * there[:, :, None]
        return {"tokens": words, "shapes": shapes.astype(np.int32), "letters": letters.astype(np.uint8)}
    if isinstance(inputs, SeriesInput):  # level, far away, a jump, chance
        steps = np.zeros((4, inputs.length, inputs.columns))
        steps[1], steps[2, inputs.length // 2 :] = 10.0, -5.0
        steps[3] = generator.normal(size=steps[3].shape)
        found = {"history": (steps * inputs.std + inputs.mean).astype(np.float32)}
        if inputs.calendar:
            found["calendar"] = np.sin(generator.uniform(0, 7, (len(steps), inputs.calendar))).astype(np.float32)
        return found
    if inputs.numeric:
        levels = np.array([-10.0, 0.0, 10.0])[:, None] * np.ones(inputs.numeric)
        found["numeric"] = np.concatenate([levels, generator.normal(size=(rows - 3, inputs.numeric))]).astype(
            np.float32
        )
    if inputs.categories:
        last = np.array(inputs.categories) - 1
        found["categories"] = np.stack(
            [np.zeros_like(last), np.minimum(1, last), last, generator.integers(0, last + 1)]
        ).astype(np.int64)
    return found


def check_parity(network: Network, reference: Predict, exported: Predict, features: Arrays) -> Parity:
    """Compare the exported graph with the network on real rows and edge rows at every batch size.

    Raises:
        GateError: a difference above rtol 1e-3 and atol 1e-4, or another label.
    """
    output = network.outputs.name
    scale: np.ndarray = np.asarray(1.0 if network.outputs.classes else network.outputs.std)
    if network.outputs.levels:
        scale = scale[:, None]
    names = network.inputs.names
    seen, largest, agreed = 0, 0.0, 0
    most = 64
    if (
        isinstance(network.inputs, TextInput) and network.outputs.sequence
    ):  # whose answers are a vocabulary wide at every token
        most = max(3, MOST_SCORES // (network.inputs.length * network.outputs.width))
    for source in (take(features, slice(0, most)), edge_features(network.inputs)):
        source = {name: source[name] for name in names}
        for batch in BATCHES if most >= BATCHES[-1] else BATCHES[:2]:
            index = np.arange(batch) % len(source[names[0]])
            rows = shortened(network.inputs, take(source, index))
            left, right = (np.asarray(predict(rows)[output], np.float64) for predict in (reference, exported))
            if left.shape != right.shape:
                raise GateError(
                    "the exported graph answers in another shape", expected=str(left.shape), received=str(right.shape)
                )
            gap = np.abs(left - right)
            limit = ATOL * scale + RTOL * np.abs(left)
            seen += batch
            largest = max(largest, float(gap.max()))
            same = (left.argmax(1) == right.argmax(1)) | (gap.max(1) < ATOL) if left.ndim == 2 else np.ones(batch, bool)
            agreed += int(same.sum())
            if not np.all(gap <= limit) or not same.all():
                raise GateError(
                    "the exported graph does not answer as the network does",
                    where=f"batch of {batch}",
                    expected=f"differences within {ATOL:g} + {RTOL:g}·|x|",
                    received=f"{gap.max():.3g}",
                    hint="the exporter translates one of the model's operations wrongly; see `bedplate check-plugin`",
                )
    return Parity(seen, BATCHES, largest, agreed / seen)
