"""The datasets that come with scikit-learn: real, small, and there without a network.

Sources: digits (Alpaydin and Kaynak 1998, UCI), breast-cancer (Wolberg et al. 1995, UCI), wine (Aeberhard and Forina
1991, UCI), diabetes (Efron et al. 2004).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.tables import RawTable

EMBEDDED_TABLES = {"breast-cancer": "diagnosis", "diabetes": "progression", "wine": "cultivar"}
"""Embedded tables, and the name of each one's target column."""

EMBEDDED_IMAGES = ("digits",)


def digits() -> tuple[np.ndarray, list[str], list[str]]:
    """Return (images uint8 [1797, 8, 8, 1] in 0..255, labels "0".."9", row ids).

    The published grey levels 0..16 are scaled so that 16 becomes 255.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    return images, [str(label) for label in bunch.target.tolist()], [f"digits:{i}" for i in range(len(images))]


def embedded_table(name: str) -> RawTable:
    """Return an embedded table, its target in the column that `EMBEDDED_TABLES` names.

    Class targets are the published class names ("malignant", "class_0"); diabetes is in its original units.
    """
    import sklearn.datasets

    if name not in EMBEDDED_TABLES:
        raise DataError(
            f"unknown embedded table '{name}'",
            expected=f"one of {listing(EMBEDDED_TABLES)}",
            hint=did_you_mean(name, EMBEDDED_TABLES),
        )
    bunch: Any
    if name == "diabetes":
        bunch = sklearn.datasets.load_diabetes(scaled=False)
        target: list[Any] = bunch.target.tolist()
    else:
        bunch = sklearn.datasets.load_breast_cancer() if name == "breast-cancer" else sklearn.datasets.load_wine()
        target = [str(bunch.target_names[k]) for k in bunch.target.tolist()]
    columns: dict[str, list[Any]] = {
        str(column): values.tolist() for column, values in zip(bunch.feature_names, bunch.data.T, strict=True)
    }
    columns[EMBEDDED_TABLES[name]] = target
    return RawTable(name, columns, [f"{name}:{i}" for i in range(len(target))])
