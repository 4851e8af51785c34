from __future__ import annotations

import numpy as np

from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.data.leakage import FEWEST_ROWS, Leak, find_leaks

RNG = np.random.default_rng(0)
CATEGORY = ColumnSchema("x", "category", "text")
NUMBER = ColumnSchema("x", "number", ".")


def leaks(column: ColumnSchema, values: list[object], targets: np.ndarray) -> list[Leak]:
    return find_leaks(read_columns({"x": values}, [column]).tensors, [column], targets)


def test_a_one_to_one_copy_of_the_classes_is_found() -> None:
    targets = RNG.integers(0, 3, 300)
    assert leaks(CATEGORY, ["abc"[k] for k in targets], targets)[0].copy
    assert leaks(NUMBER, [float(10 - k) for k in targets], targets)[0].copy
    with_missing = [None if k == 2 else "ab"[k] for k in targets]
    assert leaks(CATEGORY, with_missing, targets)[0].copy


def test_a_finer_name_of_the_class_is_told_but_kept() -> None:
    targets = RNG.integers(0, 2, 300)
    finer = [f"{k}{RNG.integers(0, 3)}" for k in targets]
    (found,) = leaks(CATEGORY, list(finer), targets)
    assert not found.copy
    assert "100.00%" in found.text


def test_a_number_that_separates_the_classes_is_told() -> None:
    targets = RNG.integers(0, 2, 300)
    (found,) = leaks(NUMBER, (targets * 10 + RNG.random(300)).tolist(), targets)
    assert not found.copy


def test_what_predicts_well_but_not_perfectly_is_no_leak() -> None:
    targets = RNG.integers(0, 2, 400)
    noisy = np.where(RNG.random(400) < 0.05, 1 - targets, targets)
    assert leaks(CATEGORY, [str(k) for k in noisy], targets) == []
    assert leaks(NUMBER, (targets + RNG.normal(0, 0.5, 400)).tolist(), targets) == []


def test_values_that_never_repeat_prove_nothing() -> None:
    targets = RNG.integers(0, 2, 300)
    assert leaks(CATEGORY, [f"id{i}" for i in range(300)], targets) == []


def test_a_scaled_target_is_a_copy_and_a_near_one_is_told() -> None:
    targets = RNG.normal(size=300)
    assert leaks(NUMBER, (targets * 1.8 + 32).tolist(), targets)[0].copy
    (near,) = leaks(NUMBER, (targets + RNG.normal(0, 0.01, 300)).tolist(), targets)
    assert not near.copy
    assert leaks(NUMBER, (targets + RNG.normal(0, 0.3, 300)).tolist(), targets) == []


def test_few_rows_are_not_judged() -> None:
    targets = np.arange(FEWEST_ROWS - 1) % 2
    assert leaks(CATEGORY, ["ab"[k] for k in targets], targets) == []
