"""The front door of the data room: a recipe's `data` section in, a `Dataset` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bedplate.core.errors import DataError
from bedplate.data.dataset import Dataset
from bedplate.data.shards import is_pattern
from bedplate.recipe.schema import DataSpec

_WHOLE = {
    "forecasting": "series", "language-modelling": "texts", "multi-label-classification": "texts",
    "text-classification": "texts", "text-embedding": "texts", "text-to-text": "texts",
    "token-classification": "sentences",
}  # fmt: skip
"""What is always held in memory, by task."""

_TEXTS = ("multi-label-classification", "text-classification", "text-embedding")


def load_dataset(
    spec: DataSpec, task: str, seed: int, *, base: Path, announce: Callable[[str], None] = lambda text: None
) -> Dataset:
    """Read, check, split and profile the data that `spec` names.

    Args:
        spec: the recipe's data section.
        task: the recipe's task; it decides whether rows are images or rows of a table.
        seed: the recipe's seed; own splits follow from it, unless `spec.split.seed` is given.
        base: the folder that relative paths start at; `$NAME` in a path is expanded.
        announce: told in a sentence what was read and found.

    Raises:
        DataError: the data can't be read, or there is nothing in it to learn.
    """
    if spec.source is None and spec.files is None:
        raise DataError("the recipe names no data", where="data", expected="data.source or data.files")
    if spec.source is not None and spec.files is not None:
        raise DataError("the recipe names its data twice", where="data", expected="either data.source or data.files")
    if (spec.split.folds is None) != (spec.split.fold is None) or (spec.split.fold or 0) >= (spec.split.folds or 2):
        raise DataError(
            "a fold is one of several", where="data.split", expected="folds: K with fold: 0 to K-1",
            received=f"folds: {spec.split.folds}, fold: {spec.split.fold}",
        )  # fmt: skip
    seed = seed if spec.split.seed is None else spec.split.seed
    if spec.stream is not None and task in _WHOLE:
        what = _WHOLE[task]
        raise DataError(f"{what} aren't streamed yet", where="data.stream", hint="leave data.stream out")
    if spec.stream is not None:
        return _streamed(spec, task, seed, base=base, announce=announce)
    if spec.files is not None and is_pattern(spec.files.train) and not (base / spec.files.train).exists():
        raise DataError(
            "a pattern of files is read as a stream", where="data.files.train", received=spec.files.train,
            hint="add data.stream: {} to stream the shards",
        )  # fmt: skip
    if task == "image-classification":
        from bedplate.data.images import load_images

        return load_images(spec, seed, base=base, announce=announce)
    if task == "forecasting":
        from bedplate.data.series import load_series

        return load_series(spec, base=base, announce=announce)
    if task == "language-modelling":
        from bedplate.data.language import load_language

        return load_language(spec, base=base, announce=announce)
    if task in _TEXTS:
        from bedplate.data.texts import load_texts

        return load_texts(
            spec, seed, base=base, announce=announce, vectors=task == "text-embedding",
            several=task == "multi-label-classification",
        )  # fmt: skip
    if task == "text-to-text":
        from bedplate.data.pairs import load_pairs

        return load_pairs(spec, seed, base=base, announce=announce)
    if task == "token-classification":
        from bedplate.data.sentences import load_sentences

        return load_sentences(spec, seed, base=base, announce=announce)
    from bedplate.data.tabular import load_table

    return load_table(spec, task, seed, base=base, announce=announce)


def _streamed(spec: DataSpec, task: str, seed: int, *, base: Path, announce: Callable[[str], None]) -> Dataset:
    if task == "image-classification":
        from bedplate.data.streamed_images import load_streamed_images

        return load_streamed_images(spec, seed, base=base, announce=announce)
    from bedplate.data.streamed_tables import load_streamed_table

    return load_streamed_table(spec, task, seed, base=base, announce=announce)
