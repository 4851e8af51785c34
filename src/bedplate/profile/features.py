"""What is watched: a few cheap figures a row, from the tensors that go in and the answers that come out.

Images, texts and series are summarised (a drift of pixels or letters as such says little), every column of a table is
watched as it is, and so are the predicted class, its confidence and the entropy, the predicted value, or a forecast's
means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bedplate.codecs.answers import (
    EMBEDDING,
    FORECAST,
    LABEL_PROBABILITIES,
    PROBABILITIES,
    TAG_PROBABILITIES,
    VALUE,
    chosen_labels,
)
from bedplate.codecs.calendar import CALENDAR
from bedplate.codecs.codec import TEXT
from bedplate.codecs.series import HISTORY
from bedplate.core.arrays import Arrays

PREDICTION = "answer"
CONFIDENCE = "answer.confidence"
ENTROPY = "answer.entropy"

_DARK = 64.0
_EDGE = 64.0
_ROWS_AT_ONCE = 1024


def watch(inputs: Arrays, outputs: Arrays | None = None, labels: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the watched figures by name: float64 [N] (NaN = missing) or object `str` [N] ("" = missing).

    Args:
        inputs: tensors at the graph's boundary; images are numeric [N,H,W,C] in 0..255, columns are [N].
        outputs: the graph's outputs for the same rows (`probabilities` or `value`), or None to watch inputs only.
        labels: the names of the classes, or of a series' columns; without them they go by their numbers.
    """
    watched: dict[str, np.ndarray] = {}
    for name, array in inputs.items():
        if array.ndim == 4:
            parts = [image_figures(array[i : i + _ROWS_AT_ONCE]) for i in range(0, max(1, len(array)), _ROWS_AT_ONCE)]
            watched |= {f"{name}.{figure}": np.concatenate([part[figure] for part in parts]) for figure in parts[0]}
        elif name == TEXT and array.dtype.kind in "OU":
            watched |= {f"{name}.{figure}": values for figure, values in text_figures(array).items()}
        elif name == HISTORY and array.ndim == 3:
            watched |= {f"{name}.{figure}": values for figure, values in series_figures(array, labels).items()}
        elif name == CALENDAR and HISTORY in inputs:
            continue  # time goes on: that is no drift
        elif array.ndim == 1:
            watched[name] = array if array.dtype.kind in "OU" else array.astype(np.float64)
        else:
            flat = array.reshape(len(array), -1).astype(np.float64)
            watched |= {f"{name}.mean": flat.mean(axis=1), f"{name}.std": flat.std(axis=1)}
    for name, array in (answer_figures(outputs, labels) if outputs is not None else {}).items():
        while name in watched:  # a table may have a column of that name
            name += "_"
        watched[name] = array
    return watched


def image_figures(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of images [N,H,W,C] in 0..255, each float64 [N].

    brightness and contrast: mean and standard deviation of grey, 0..255. sharpness: log(1 + variance of the Laplacian).
    edges: share of pixels where grey changes by more than 64 to the right and below together. centre_x, centre_y: the
    centre of brightness, 0 (left, top) to 1, 0.5 for a black image. dark: share of pixels below 64. For RGB also red,
    green and blue (means) and saturation (mean of max minus min of the channels).
    """
    pixels = images.astype(np.float32)
    grey = pixels[..., 0] if pixels.shape[-1] == 1 else pixels @ _luma(pixels.shape[-1])
    rows, height, width = grey.shape
    total = grey.sum(axis=(1, 2))
    safe = np.where(total > 0, total, 1)
    across = np.linspace(0, 1, width, dtype=np.float32) if width > 1 else np.full(1, 0.5, np.float32)
    down = np.linspace(0, 1, height, dtype=np.float32) if height > 1 else np.full(1, 0.5, np.float32)
    figures = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "sharpness": np.log1p(_laplacian(grey).var(axis=(1, 2))),
        "edges": _edge_share(grey),
        "centre_x": np.where(total > 0, (grey.sum(axis=1) @ across) / safe, 0.5),
        "centre_y": np.where(total > 0, (grey.sum(axis=2) @ down) / safe, 0.5),
        "dark": (grey < _DARK).mean(axis=(1, 2)),
    }
    if pixels.shape[-1] == 3:
        means = pixels.mean(axis=(1, 2))
        figures |= {"red": means[:, 0], "green": means[:, 1], "blue": means[:, 2]}
        figures["saturation"] = (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2))
    return {name: values.astype(np.float64).reshape(rows) for name, values in figures.items()}


def text_figures(texts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of texts [N], each float64 [N].

    characters and words: log(1 + their number). letters, digits, capitals and ascii: shares of the characters. repeats:
    the share of words that the text has had before.
    """
    found = np.zeros((7, len(texts)))
    for row, text in enumerate(map(str, texts.tolist())):
        size, words = max(1, len(text)), text.split()
        found[:, row] = (
            np.log1p(len(text)), np.log1p(len(words)), sum(map(str.isalpha, text)) / size,
            sum(map(str.isdigit, text)) / size, sum(map(str.isupper, text)) / size,
            len(text.encode("ascii", "ignore")) / size, 1 - len(set(words)) / max(1, len(words)),
        )  # fmt: skip
    return dict(zip(("characters", "words", "letters", "digits", "capitals", "ascii", "repeats"), found, strict=True))


def series_figures(history: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the figures of pasts [N, steps, columns], each float64 [N].

    For each column its mean and last value, and log(1 + the standard deviation of its steps' changes). They go by the
    columns' `names`, or by their numbers.
    """
    found = {}
    for k, name in enumerate(names or range(history.shape[2])):
        column = history[:, :, k].astype(np.float64)
        found[f"{name}.mean"], found[f"{name}.last"] = column.mean(axis=1), column[:, -1]
        changes = np.diff(column, axis=1).std(axis=1) if column.shape[1] > 1 else np.zeros(len(column))
        found[f"{name}.changes"] = np.log1p(changes)
    return found


def answer_figures(outputs: Arrays, labels: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return prediction, confidence and entropy of `probabilities`, the prediction of `value`, or a forecast's means.

    Of a vector single numbers say nothing: its mean and the share of positive ones are watched. Of tags see
    `tag_figures`, of sets of labels `label_figures`.

    Confidence is rounded to 0.01 and entropy to 0.05 of its greatest value: the variants of one model differ by less.
    """
    if FORECAST in outputs:
        steps = np.asarray(outputs[FORECAST], np.float64)
        flat = [steps[:, :, k].reshape(len(steps), -1) for k in range(steps.shape[2])]  # every step, every quantile
        named = zip(labels or range(len(flat)), flat, strict=True)
        return {f"{PREDICTION}.{name}.mean": column.mean(axis=1) for name, column in named}
    if EMBEDDING in outputs:
        vectors = np.asarray(outputs[EMBEDDING], np.float64)
        return {f"{PREDICTION}.mean": vectors.mean(axis=1), f"{PREDICTION}.positive": (vectors > 0).mean(axis=1)}
    if TAG_PROBABILITIES in outputs:
        return tag_figures(np.asarray(outputs[TAG_PROBABILITIES], np.float64))
    if LABEL_PROBABILITIES in outputs:
        return label_figures(np.asarray(outputs[LABEL_PROBABILITIES], np.float64), labels)
    if PROBABILITIES not in outputs:
        return {PREDICTION: np.asarray(outputs[VALUE], np.float64).reshape(-1)}
    probabilities = np.asarray(outputs[PROBABILITIES], np.float64)
    best = probabilities.argmax(axis=1)
    names = np.array([str(k) for k in range(probabilities.shape[1])] if labels is None else list(labels), dtype=object)
    spread = -(probabilities * np.log(np.clip(probabilities, 1e-12, 1))).sum(axis=1) / np.log(max(2, len(names)))
    return {
        PREDICTION: names[best],
        CONFIDENCE: np.round(probabilities.max(axis=1), 2),
        ENTROPY: np.round(spread * 20) / 20,
    }


def _luma(channels: int) -> np.ndarray:
    if channels == 3:
        return np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, Pillow's choice
    return np.full(channels, 1 / channels, np.float32)


def _laplacian(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 3:
        return np.zeros_like(grey)
    middle = 4 * grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return np.asarray(middle - around)


def _edge_share(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 2:
        return np.zeros(len(grey))
    right = np.abs(np.diff(grey, axis=2))[:, :-1]
    below = np.abs(np.diff(grey, axis=1))[:, :, :-1]
    return np.asarray((right + below > _EDGE).mean(axis=(1, 2)))


def tag_figures(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of tags' probabilities [N, words, tags] (0 beyond a row's words), each float64 [N].

    For each tag its share of the row's words, and `confidence`, the mean of the words' largest probabilities, rounded
    to 0.01: the variants of one model differ by less.
    """
    there = probabilities.any(axis=2)
    words = np.maximum(1, there.sum(axis=1))
    best = np.where(there, probabilities.argmax(axis=2), -1)
    shares = {f"{PREDICTION}.{k}": (best == k).sum(axis=1) / words for k in range(probabilities.shape[2])}
    return shares | {CONFIDENCE: np.round(probabilities.max(axis=2, initial=0.0).sum(axis=1) / words, 2)}


MOST_LABELS = 50
"""So many labels' probabilities are watched one by one: with more, each would hardly ever alarm."""


def label_figures(probabilities: np.ndarray, labels: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the figures of labels' probabilities [N, labels]: how many are answered, and the probability of each.

    Probabilities are rounded to 0.01, of at most the first 50 labels: the variants of one model differ by less. They go
    by `labels`, or by their numbers.
    """
    names = labels or range(probabilities.shape[1])
    shown = np.round(probabilities[:, :MOST_LABELS], 2)
    return {f"{PREDICTION}.labels": chosen_labels(probabilities).sum(axis=1).astype(np.float64)} | {
        f"{PREDICTION}.{name}": shown[:, k] for k, name in enumerate(names[:MOST_LABELS])
    }
