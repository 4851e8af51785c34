"""Golden rows: inputs with the answers they got when the bundle was sealed, replayed each time it is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import PROBABILITIES
from bedplate.codecs.codec import TOKENS
from bedplate.core.arrays import Arrays, Predict, count
from bedplate.core.errors import BundleError
from bedplate.generation.decoder import Decoder, greedy

MOST_ROWS = 256

TOLERANCE = {"atol": 1e-4, "rtol": 1e-3}
"""How far a replayed number may lie from the sealed one where a variant says nothing: processors round differently."""


CONTINUATION = "continuation"
"""Of a language model: the likeliest tokens behind the first `PROMPT` of each row (behind its text, where texts are
answered by texts), int32 [rows, tokens]; −1 from where the choice is too close to be the same everywhere."""

PROMPT, MOST_CONTINUED, CLEAR = 8, 16, 0.05
"""`CLEAR`: by so much a token's score must be above the next best."""


def continued(predict: OnnxPredict, tokens: np.ndarray, separator: int | None = None) -> np.ndarray:
    """Return `CONTINUATION` of rows' beginnings, by the cache.

    Args:
        predict: the graph.
        tokens: rows [rows, length].
        separator: what ends a row's beginning; None: it is the first `PROMPT` tokens, and the row's length is kept to.
    """
    if separator is None:
        prompts = tokens[:, :PROMPT].tolist()
        count = max(1, min(MOST_CONTINUED, tokens.shape[1] - len(prompts[0])))
    else:
        ends = np.where((tokens == separator).any(axis=1), (tokens == separator).argmax(axis=1) + 1, 1)
        prompts, count = [row[:end].tolist() for row, end in zip(tokens, ends, strict=True)], MOST_CONTINUED
    decoder = Decoder(predict.step, predict.past, max(map(len, prompts)) + count)
    tokens, margins = greedy(decoder, prompts, count)
    close = np.maximum.accumulate(margins < CLEAR, axis=1)
    return np.where(close, -1, tokens).astype(np.int32)


@dataclass(frozen=True)
class Golden:
    """At most 256 rows at the graph's boundary, with each variant's outputs.

    `labels` are the true targets (int64 class indices or float64 values), or None where the rows are synthetic.
    String columns are object arrays of `str`.
    """

    inputs: Arrays
    outputs: Mapping[str, Arrays]
    labels: np.ndarray | None = None
    origin: Literal["rows", "synthetic"] = "rows"
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        rows = count(self.inputs)
        if not 1 <= rows <= MOST_ROWS:
            raise BundleError("golden rows", expected=f"1 to {MOST_ROWS} rows", received=str(rows))
        for variant, outputs in self.outputs.items():
            if count(outputs) != rows:
                raise BundleError(
                    f"golden outputs of '{variant}'", expected=f"{rows} rows", received=str(count(outputs))
                )
        if self.labels is not None and len(self.labels) != rows:
            raise BundleError("golden labels", expected=f"{rows} rows", received=str(len(self.labels)))
        object.__setattr__(self, "rows", rows)

    def to_files(self) -> tuple[bytes, bytes]:
        """Return (golden.json, golden.safetensors)."""
        tensors: dict[str, np.ndarray] = {}
        strings: dict[str, list[str]] = {}
        for name, array in self.inputs.items():
            if array.dtype.kind in "OU":
                strings[name] = [str(item) for item in array.tolist()]
            else:
                tensors[f"inputs/{name}"] = np.ascontiguousarray(array)
        for variant, outputs in self.outputs.items():
            for name, array in outputs.items():
                tensors[f"outputs/{variant}/{name}"] = np.ascontiguousarray(array)
        if self.labels is not None:
            tensors["labels"] = np.ascontiguousarray(self.labels)
        facts = {"rows": self.rows, "origin": self.origin, "variants": sorted(self.outputs), "strings": strings}
        text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode(), save(tensors)

    @classmethod
    def from_files(cls, facts: Mapping[str, Any], tensors: bytes, where: str) -> Golden:
        """Rebuild from golden.json (parsed) and golden.safetensors (bytes)."""
        try:
            found = load(tensors)
            inputs: dict[str, np.ndarray] = {
                name: np.array([str(item) for item in items], dtype=object) for name, items in facts["strings"].items()
            }
            outputs: dict[str, dict[str, np.ndarray]] = {variant: {} for variant in facts["variants"]}
            for key, array in found.items():
                place, _, rest = key.partition("/")
                if place == "inputs":
                    inputs[rest] = array
                elif place == "outputs":
                    variant, _, name = rest.partition("/")
                    outputs[variant][name] = array
            return cls(inputs, outputs, found.get("labels"), facts["origin"])
        except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError("the golden rows can't be read", where=where, received=repr(error)) from error

    def replay(self, predict: Predict, variant: str, tolerance: Mapping[str, float], where: str) -> None:
        """Predict the rows again and raise a BundleError where the answers differ.

        Every number must lie within `atol + rtol * |sealed|`, and every row must get the sealed label, unless the two
        best probabilities lay as good as together (closer than `atol`, or than 0.0022, which is rounding).
        """
        sealed = self.outputs.get(variant)
        if not sealed:
            raise BundleError(f"no golden outputs for the variant '{variant}'", where=where)
        given = predict(self.inputs)
        atol, rtol = {**TOLERANCE, **tolerance}["atol"], {**TOLERANCE, **tolerance}["rtol"]
        for name, expected in sealed.items():
            if name == CONTINUATION:  # a single call doesn't give it: see `replay_continuation`
                continue
            if name not in given or given[name].shape != expected.shape:
                raise BundleError(
                    f"the variant '{variant}' doesn't give the output '{name}' as sealed", where=where,
                    expected=str(expected.shape), received=str(given[name].shape) if name in given else "none",
                )  # fmt: skip
            apart = np.abs(given[name].astype(float) - expected.astype(float))
            allowed = atol + rtol * np.abs(expected.astype(float))
            if not np.all(apart <= allowed):
                raise BundleError(
                    f"golden rows give other answers with the variant '{variant}'", where=where,
                    expected=f"within {atol:g} + {rtol:g} of the sealed numbers",
                    received=f"{int((~(apart <= allowed)).sum())} of {apart.size} apart, by up to {apart.max():.3g}",
                    hint="this machine or this onnxruntime computes otherwise; don't trust this bundle here",
                )  # fmt: skip
            if name == PROBABILITIES:
                near = max(atol, 2 * (TOLERANCE["atol"] + TOLERANCE["rtol"]))
                self._same_labels(given[name], expected, near, variant, where)

    def replay_continuation(self, predict: OnnxPredict, where: str, separator: int | None = None) -> None:
        """Continue the rows' beginnings token by token and raise a BundleError where other tokens come."""
        sealed = self.outputs[predict.variant].get(CONTINUATION)
        if sealed is None:
            return
        given = continued(predict, self.inputs[TOKENS], separator)
        known = (sealed >= 0) & (given >= 0) if given.shape == sealed.shape else np.ones(sealed.shape, bool)
        if given.shape != sealed.shape or (given != sealed)[known].any():
            raise BundleError(
                f"golden rows go on otherwise with the variant '{predict.variant}'", where=where,
                expected="the sealed tokens", received=f"other ones in {int((given != sealed).any(axis=1).sum())} rows"
                if given.shape == sealed.shape else f"{given.shape} of them",
            )  # fmt: skip

    @staticmethod
    def _same_labels(given: np.ndarray, expected: np.ndarray, near: float, variant: str, where: str) -> None:
        best = np.sort(expected, axis=1)
        clear = best[:, -1] - best[:, -2] > near if expected.shape[1] > 1 else np.ones(len(best), bool)
        changed = clear & (given.argmax(axis=1) != expected.argmax(axis=1))
        if changed.any():
            raise BundleError(
                f"golden rows get other labels with the variant '{variant}'", where=where,
                expected="the sealed labels", received=f"{int(changed.sum())} of {len(changed)} changed",
            )  # fmt: skip
