"""Batches: counted, cut and joined by rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.arrays import (
    FEWEST_OF_LIKE_LENGTH,
    MOST_OF_LIKE_LENGTH,
    Arrays,
    by_length,
    concatenate,
    count,
    predict_in_batches,
    take,
)


@given(st.integers(1, 50), st.integers(1, 60))
def test_batches_give_what_the_whole_gives(rows: int, size: int) -> None:
    x = np.arange(rows, dtype=np.float32)
    seen: list[int] = []

    def predict(inputs):  # type: ignore[no-untyped-def]
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    assert predict_in_batches(predict, {"x": x}, size)["y"].tolist() == (x * 2).tolist()
    assert max(seen) <= size


def test_disagreeing_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        count({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="no rows"):
        predict_in_batches(lambda x: x, {"a": np.zeros(0)})
    assert take(concatenate([{"a": np.arange(2)}, {"a": np.arange(3)}]), slice(1, 3))["a"].tolist() == [1, 0]


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=200), seed=st.integers(0, 1000),
)  # fmt: skip
def test_rows_of_like_length_run_together_and_come_back_in_order(lengths: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    table = draw.integers(0, 5, (len(lengths), 20)) * (np.arange(20) < np.array(lengths)[:, None])  # zeros inside, too
    sizes: list[tuple[int, ...]] = []

    def run(rows: Arrays) -> Arrays:
        sizes.append(rows["tokens"].shape)
        return {"sum": rows["tokens"].sum(axis=1), "last": np.array([row.tolist() for row in rows["tokens"][:, :1]])}

    found = by_length(run, {"tokens": table, "other": np.arange(len(table))}, "tokens")
    np.testing.assert_array_equal(found["sum"], table.sum(axis=1))
    np.testing.assert_array_equal(found["last"], table[:, :1])
    if len(lengths) > FEWEST_OF_LIKE_LENGTH:
        assert sum(rows for rows, _ in sizes) == len(lengths)
        assert all(rows <= MOST_OF_LIKE_LENGTH for rows, _ in sizes)
        assert [width for _, width in sizes] == sorted(width for _, width in sizes)
        assert len(sizes) <= len(lengths) / FEWEST_OF_LIKE_LENGTH + 1


def test_rows_of_several_lengths_are_filled_up() -> None:
    found = concatenate([{"a": np.ones((2, 3, 2))}, {"a": np.full((1, 1, 2), 5.0)}])["a"]
    assert found.shape == (3, 3, 2)
    assert found[2].tolist() == [[5, 5], [0, 0], [0, 0]]
    with pytest.raises(ValueError, match="dimension"):
        concatenate([{"a": np.ones((2, 3))}, {"a": np.ones((2, 3, 1))}])


def test_texts_of_like_length_run_together_and_answers_keep_the_rows_order() -> None:
    texts = np.array(["x" * size for size in (9, 1, 8, 2, 7, 3)], object)
    widths: list[int] = []

    def predict(inputs: Arrays) -> Arrays:
        widths.append(max(map(len, inputs["text"])))
        return {"size": np.array([len(text) for text in inputs["text"]])}

    assert predict_in_batches(predict, {"text": texts}, 2)["size"].tolist() == [9, 1, 8, 2, 7, 3]
    assert widths == [2, 7, 9]
