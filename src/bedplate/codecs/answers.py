"""Translate a graph's outputs to the answers that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError

PROBABILITIES = "probabilities"
VALUE = "value"
FORECAST = "forecast"
EMBEDDING = "embedding"
LOGITS = "logits"


@dataclass(frozen=True)
class Answers:
    """What the model answers: one of `labels`, a number, a forecast, a vector, or plain tensors.

    A classifier's graph gives `probabilities` (float32, rows × classes); a regressor's gives `value` (float32, rows).
    A forecaster's gives `forecast` (float32, rows × `horizon` × `columns`, and × quantiles, where `levels` names some);
    of each column `scale` is the spread and `naive` the mean absolute error of "as a season ago" among the training
    steps, and `season` is its steps.
    An encoder gives `embedding` (float32, rows × `dimensions`).
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

    @property
    def kind(self) -> str:
        """What they are judged as.

        It is "classification", "regression", "embedding", "language", "forecast" or (a forecast's) "quantiles".
        """
        if self.dimensions:
            return EMBEDDING
        if self.sizes:
            return "language"
        if self.columns is not None:
            return "quantiles" if self.levels else "forecast"
        return "regression" if self.labels is None else "classification"

    @property
    def output(self) -> str:
        """The name of the graph's output tensor; the first one's where there are several."""
        if self.tensors is not None:
            return self.tensors[0]
        if self.columns is not None:
            return FORECAST
        if self.dimensions:
            return EMBEDDING
        return VALUE if self.labels is None else PROBABILITIES

    def encode(self, outputs: Arrays) -> list[dict[str, Any]]:
        """Return one answer a row.

        `{answer, probabilities}`, `{answer, value}`, `{outputs: lists by name}`, `{answer: a vector's numbers}`, or a
        forecast's `{answer: {column: a value a step}}`; with quantiles the answer is the median, and `quantiles` has
        `{column: {level: …}}` beside it.
        """
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
        if self.labels is None:
            values = np.asarray(outputs[VALUE], float).reshape(-1).tolist()
            return [{"answer": value, "value": value} for value in values]
        rows = np.asarray(outputs[PROBABILITIES], float)
        best = rows.argmax(axis=1).tolist()
        return [
            {"answer": self.labels[k], "probabilities": dict(zip(self.labels, row, strict=True))}
            for k, row in zip(best, rows.tolist(), strict=True)
        ]

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
            )
            found.output.encode()
            return found
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise BundleError("the contract of the answers is incomplete", received=repr(error)) from error
