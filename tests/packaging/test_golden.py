"""Golden rows: spread over the classes, and synthetic where real ones must not leave."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.codec import TensorSpec
from bedplate.packaging import choose_golden, spread, synthetic_inputs


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(1, 40), st.integers(0, 99))
def test_rows_are_distinct_and_no_class_is_left_out(labels: list[int], rows: int, seed: int) -> None:
    targets = np.array(labels)
    index = spread(targets, rows, 4, seed)
    assert len(index) == len(set(index.tolist())) == min(rows, len(targets))
    counts = np.bincount(targets[index], minlength=4)
    available = np.bincount(targets, minlength=4)
    # Taken in turns: no class lags another by more than one, unless it has run out.
    for label in range(4):
        assert counts[label] == available[label] or counts[label] >= counts.max() - 1


def test_numbers_are_spread_over_their_range() -> None:
    index = spread(np.arange(1000.0), 11, None, 0)
    assert {0, 999} <= set(index.tolist())
    assert np.diff(np.sort(index)).max() <= 110


def test_synthetic_rows_repeat_no_real_row() -> None:
    draw = np.random.default_rng(0)
    inputs = {"age": draw.normal(40, 10, 500), "job": draw.choice(["a", "b"], 500).astype(object)}
    inputs["job"][0] = "only-one"
    specs = [TensorSpec("age", "float64"), TensorSpec("job", "string")]
    found = synthetic_inputs(inputs, specs, 64, 0)
    assert not set(found["age"].tolist()) & set(inputs["age"].tolist())
    assert set(found["job"].tolist()) <= {"a", "b"}, "a rare category could name a person"


def test_synthetic_golden_rows_carry_answers_but_no_labels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)

    def predict(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"probabilities": np.tile(np.float32([0.5, 0.5]), (len(arrays["image"]), 1))}

    golden = choose_golden({"image": images}, np.zeros(20, int), [TensorSpec("image", "uint8", (8, 8, 1))], {"f32": predict},
                           classes=2, rows=8, synthetic=True, seed=0)  # fmt: skip
    assert golden.origin == "synthetic"
    assert golden.labels is None
    assert golden.inputs["image"].shape == (8, 8, 8, 1)
    assert not any((golden.inputs["image"][:, None] == images[None]).all((2, 3, 4)).ravel())
