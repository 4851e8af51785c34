"""The front door of the data room: a recipe's `data` section in, a `Dataset` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.recipe.schema import DataSpec


def load_dataset(
    spec: DataSpec, task: str, seed: int, *, base: Path, announce: Callable[[str], None] = lambda text: None
) -> Dataset:
    """Read, check, split and profile the data that `spec` names.

    Args:
        spec: the recipe's data section.
        task: the recipe's task; it decides whether rows are images or rows of a table.
        seed: the recipe's seed; own splits follow from it.
        base: the folder that relative paths start at; `$NAME` in a path is expanded.
        announce: told in a sentence what was read and found.

    Raises:
        DataError: the data can't be read, or there is nothing in it to learn.
    """
    if spec.source is None and spec.files is None:
        raise DataError("the recipe names no data", where="data", expected="data.source or data.files")
    if spec.source is not None and spec.files is not None:
        raise DataError("the recipe names its data twice", where="data", expected="either data.source or data.files")
    if task == "image-classification":
        from bedplate.data.images import load_images

        return load_images(spec, seed, base=base, announce=announce)
    from bedplate.data.tabular import load_table

    return load_table(spec, task, seed, base=base, announce=announce)
