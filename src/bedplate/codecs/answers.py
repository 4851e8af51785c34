"""Translate a graph's outputs to the answers that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bedplate.codecs.codec import TEXT
from bedplate.codecs.tags import TagSet, tagged
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError

PROBABILITIES = "probabilities"
VALUE = "value"
FORECAST = "forecast"
EMBEDDING = "embedding"
LOGITS = "logits"
TAG_PROBABILITIES = "tag_probabilities"
LABEL_PROBABILITIES = "label_probabilities"

LIKELY = 0.5
"""A label is answered from this probability on."""


def chosen_labels(probabilities: np.ndarray) -> np.ndarray:
    """Return which labels are answered, bool, of their probabilities."""
    return np.asarray(probabilities >= LIKELY)


@dataclass(frozen=True)
class Answers:
    """What the model answers: one of `labels`, any of `many`, a number, forecast, vector, tags, or tensors.

    A classifier's graph gives `probabilities` (float32, rows × classes); a regressor's gives `value` (float32, rows).
    A forecaster's gives `forecast` (float32, rows × `horizon` × `columns`, and × quantiles, where `levels` names some);
    of each column `scale` is the spread and `naive` the mean absolute error of "as a season ago" among the training
    steps, and `season` is its steps.
    An encoder gives `embedding` (float32, rows × `dimensions`).
    A tagger's gives `tag_probabilities` (float32, rows × words × tags; 0 beyond a row's words), of which Viterbi's
    algorithm makes one of `tags` a word; `transitions` (tags + 1 × tags) say what following which is worth.
    Where a row may have several labels, or none, `many` are these; the graph gives `label_probabilities` (float32, rows
    × labels), each by itself.
    `positive` is the index of the label that binary metrics speak of (for two classes). `tensors` names the outputs of
    a graph of which nothing else is known; they are answered as they are. A language model's graph gives `logits`
    (float32, rows × tokens × vocabulary) of what comes next; `sizes` are then the bytes of each token of the
    vocabulary.
    """

    target: str
    labels: tuple[str, ...] | None = None
    positive: int | None = None
    tensors: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    horizon: int = 0
    scale: tuple[float, ...] = ()
    naive: tuple[float, ...] = ()
    season: int = 1
    levels: tuple[float, ...] = ()
    dimensions: int = 0
    sizes: tuple[int, ...] = ()
    tags: tuple[str, ...] | None = None
    transitions: tuple[tuple[float, ...], ...] = ()
    many: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """What they are judged as.

        It is "classification", "regression", "embedding", "language", "forecast", (its) "quantiles", "tagging", or
        "multi-label".
        """
        if self.dimensions:
            return EMBEDDING
        if self.sizes:
            return "language"
        if self.tags is not None:
            return "tagging"
        if self.many is not None:
            return "multi-label"
        if self.columns is not None:
            return "quantiles" if self.levels else "forecast"
        return "regression" if self.labels is None else "classification"

    @property
    def shares(self) -> bool:
        """Whether numbers are probabilities or a vector's, so that a difference of one is all there can be."""
        named = (self.labels, self.many, self.tags)
        return self.dimensions > 0 or any(one is not None for one in named)

    @cached_property
    def tag_set(self) -> TagSet:
        """What the tags mean; empty where there are none."""
        return TagSet(self.tags or ())

    @property
    def output(self) -> str:
        """The name of the graph's output tensor; the first one's where there are several."""
        if self.tags is not None:
            return TAG_PROBABILITIES
        if self.many is not None:
            return LABEL_PROBABILITIES
        if self.tensors is not None:
            return self.tensors[0]
        if self.columns is not None:
            return FORECAST
        if self.dimensions:
            return EMBEDDING
        return VALUE if self.labels is None else PROBABILITIES

    def encode(self, outputs: Arrays, inputs: Arrays) -> list[dict[str, Any]]:
        """Return one answer a row; `inputs` are the codec's tensors of the same rows.

        `{answer, probabilities}` (where a row may have several labels the answer is a list of them), `{answer, value}`,
        `{outputs: lists by name}`, `{answer: a vector's numbers}`, or a forecast's `{answer: {column: a value a
        step}}`; with quantiles the answer is the median, and `quantiles` has `{column: {level: …}}` beside it. A
        tagger's is `{answer: entities, words, tags}`; see `tags.tagged`.
        """
        if self.tags is not None:
            return tagged(outputs[TAG_PROBABILITIES], inputs[TEXT], self.tag_set, self.transitions)
        if self.tensors is not None:
            columns = [outputs[name].tolist() for name in self.tensors]
            return [{"outputs": dict(zip(self.tensors, row, strict=True))} for row in zip(*columns, strict=True)]
        if self.columns is not None:
            steps = np.moveaxis(
                np.asarray(outputs[FORECAST], float), 1, -1
            ).tolist()  # [rows, columns(, levels), steps]
            named = [dict(zip(self.columns, row, strict=True)) for row in steps]
            if not self.levels:
                return [{"answer": row} for row in named]
            names = [f"{level:g}" for level in self.levels]
            middle = self.levels.index(0.5)
            return [
                {
                    "answer": {column: parts[middle] for column, parts in row.items()},
                    "quantiles": {column: dict(zip(names, parts, strict=True)) for column, parts in row.items()},
                }
                for row in named
            ]
        if self.dimensions:
            return [{"answer": row} for row in np.asarray(outputs[EMBEDDING], float).tolist()]
        if self.many is not None:
            known, likely = np.asarray(self.many, object), np.asarray(outputs[LABEL_PROBABILITIES], float)
            return [
                {"answer": known[chosen].tolist(), "probabilities": dict(zip(self.many, row, strict=True))}
                for chosen, row in zip(chosen_labels(likely), likely.tolist(), strict=True)
            ]
        if self.labels is None:
            values = np.asarray(outputs[VALUE], float).reshape(-1).tolist()
            return [{"answer": value, "value": value} for value in values]
        rows = np.asarray(outputs[PROBABILITIES], float)
        best = rows.argmax(axis=1).tolist()
        return [
            {"answer": self.labels[k], "probabilities": dict(zip(self.labels, row, strict=True))}
            for k, row in zip(best, rows.tolist(), strict=True)
        ]

    def trimmed(self, outputs: Arrays) -> Arrays:
        """Return outputs without what only fills rows up to the longest of the batch that they ran in."""
        if self.tags is None:
            return outputs
        used = np.flatnonzero(outputs[TAG_PROBABILITIES].any(axis=(0, 2)))
        width = int(used[-1]) + 1 if len(used) else 1
        return {**outputs, TAG_PROBABILITIES: np.ascontiguousarray(outputs[TAG_PROBABILITIES][:, :width])}

    def contract(self) -> dict[str, Any]:
        """Return this as JSON."""
        fields: dict[str, Any] = {
            "target": self.target,
            "labels": None if self.labels is None else list(self.labels),
            "positive": self.positive,
        }
        if self.columns is not None:
            fields |= {
                "columns": list(self.columns), "horizon": self.horizon, "scale": list(self.scale),
                "naive": list(self.naive), "season": self.season, "levels": list(self.levels),
            }  # fmt: skip
        fields |= {"dimensions": self.dimensions} if self.dimensions else {}
        if self.sizes:
            fields["sizes"] = list(self.sizes)
        if self.tags is not None:
            fields |= {"tags": list(self.tags), "transitions": [list(row) for row in self.transitions]}
        fields |= {} if self.many is None else {"many": list(self.many)}
        return fields if self.tensors is None else {**fields, "tensors": list(self.tensors)}

    @classmethod
    def of_language(cls, sizes: Sequence[int]) -> Answers:
        """Return a language model's: the scores of what comes next, for tokens of so many bytes each."""
        return cls("the next token", tensors=(LOGITS,), sizes=tuple(sizes))

    @classmethod
    def from_contract(cls, contract: dict[str, Any]) -> Answers:
        """Rebuild from `contract()`'s JSON."""
        try:
            labels, tensors, columns = contract["labels"], contract.get("tensors"), contract.get("columns")
            tags, many = contract.get("tags"), contract.get("many")
            found = cls(
                contract["target"],
                None if labels is None else tuple(labels),
                contract.get("positive"),
                None if tensors is None else tuple(tensors),
                None if columns is None else tuple(columns),
                int(contract.get("horizon", 0)),
                tuple(map(float, contract.get("scale", ()))),
                tuple(map(float, contract.get("naive", ()))),
                int(contract.get("season", 1)),
                tuple(map(float, contract.get("levels", ()))),
                int(contract.get("dimensions", 0)),
                tuple(map(int, contract.get("sizes", ()))),
                None if tags is None else tuple(map(str, tags)),
                tuple(tuple(map(float, row)) for row in contract.get("transitions", ())),
                None if many is None else tuple(map(str, many)),
            )
            found.output.encode()
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise BundleError("the contract of the answers is incomplete", received=repr(error)) from error
        if tags is not None and [len(row) for row in found.transitions] != [len(tags)] * (len(tags) + 1):
            raise BundleError("the contract of the answers lacks transitions between tags")
        return found
