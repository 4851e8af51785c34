"""Texts by which an evaluation is sliced: a category's common values, a number's quartiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bedplate.codecs.columns import ColumnSchema, tensor_names
from bedplate.core.arrays import Arrays

_MOST_VALUES = 20


def slice_edges(columns: Sequence[ColumnSchema], inputs: Arrays) -> dict[str, Any]:
    """Return, for each column to slice by, its commonest texts or (numbers) its quartiles, from the training rows."""
    names = tensor_names(columns)
    edges: dict[str, Any] = {}
    for column in columns:
        if column.type == "category":
            counts = Counter(inputs[names[column.name, ""]].tolist())
            if len(counts) >= 2:
                edges[column.name] = {text for text, _ in counts.most_common(_MOST_VALUES)}
        elif column.type == "number":
            values = inputs[names[column.name, ""]]
            known = values[np.isfinite(values)]
            if len(known) and known.min() < known.max():
                edges[column.name] = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    return edges


def slice_texts(columns: Sequence[ColumnSchema], inputs: Arrays, edges: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return a text a row for every column to slice by."""
    names = tensor_names(columns)
    slices: dict[str, np.ndarray] = {}
    for name, edge in edges.items():
        values = inputs[names[name, ""]]
        if isinstance(edge, set):
            texts = [(text or "(missing)") if text in edge else "(other)" for text in values.tolist()]
        else:
            bins = [f"below {edge[0]:.6g}"]
            bins += [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edge)]
            bins += [f"{edge[-1]:.6g} and above", "(missing)"]
            place = np.where(np.isnan(values), len(bins) - 1, np.searchsorted(edge, values, side="right"))
            texts = [bins[k] for k in place.tolist()]
        slices[name] = np.array(texts, object)
    return slices
