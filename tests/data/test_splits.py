from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.core.errors import DataError
from bedplate.data.splits import (
    Split,
    carve_validation,
    duplicates,
    limit_rows,
    overlap,
    overlaps,
    split_fingerprint,
    split_rows,
)
from bedplate.recipe.schema import SplitSpec

RANDOM = SplitSpec()
BY_GROUP = SplitSpec(by="group", column="g")
BY_TIME = SplitSpec(by="time", column="t")


def keys_of(rows: int) -> list[str]:
    return [f"k{i}" for i in range(rows)]


def check_whole(split: Split, rows: int) -> None:
    """Every row lies in exactly one place."""
    together = np.concatenate([split.train, split.validation, split.test, split.dropped])
    assert sorted(together.tolist()) == list(range(rows))


def test_shares_and_order() -> None:
    split = split_rows(keys_of(1000), None, RANDOM, 0)
    assert (len(split.train), len(split.validation), len(split.test)) == (700, 150, 150)
    for part in (split.train, split.validation, split.test):
        assert np.array_equal(part, np.sort(part))
    assert not np.array_equal(split.test, np.arange(150) + split.test[0])


def test_equal_seeds_give_equal_splits_and_others_do_not() -> None:
    first, again, other = (split_rows(keys_of(200), None, RANDOM, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 12)), min_size=10, max_size=120),
    st.sampled_from(["random", "group", "time"]),
    st.booleans(),
    st.integers(0, 5),
)
def test_no_equal_inputs_and_no_group_lie_on_two_sides(
    rows: list[tuple[int, int, int]], by: str, stratify: bool, seed: int
) -> None:
    keys = [f"k{key}" for key, _, _ in rows]
    labels = np.array([label for _, label, _ in rows])
    groups = [f"g{key % 7}{group}" for key, _, group in rows]
    times = np.array([float(group) for _, _, group in rows])
    spec = SplitSpec(by=by, column="x", stratify=stratify)  # type: ignore[arg-type]
    try:
        split = split_rows(keys, labels, spec, seed, groups=groups, times=times)
    except DataError:
        return  # too few distinct rows, groups or moments: said, not guessed
    check_whole(split, len(rows))
    parts = [split.train, split.validation, split.test]
    sides = [{keys[i] for i in part.tolist()} for part in parts]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
    if by == "group":
        sides = [{groups[i] for i in part.tolist()} for part in parts]
        assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
    if by == "time":
        assert times[split.train].max() < times[split.validation].min()
        assert times[split.validation].max() < times[split.test].min()
    else:
        assert len(split.dropped) == 0


def test_every_class_keeps_its_share() -> None:
    labels = np.array(["common"] * 900 + ["rare"] * 100)
    split = split_rows(keys_of(1000), labels, RANDOM, 0)
    for part, rare in ((split.train, 70), (split.validation, 15), (split.test, 15)):
        assert Counter(labels[part].tolist())["rare"] == rare


def test_rare_classes_appear_everywhere_from_three_rows_on_and_lesser_ones_are_told() -> None:
    labels = np.array(["a"] * 200 + ["three"] * 3 + ["one"])
    split = split_rows(keys_of(204), labels, RANDOM, 0)
    for part in (split.train, split.validation, split.test):
        assert "three" in labels[part]
    assert "one" in labels[split.train]
    assert split.notes == ("class 'one' has only 1 row: it does not appear in validation or test",)


def test_many_singleton_classes_leave_enough_to_train_on() -> None:
    labels = np.array([f"only{i}" for i in range(100)] + ["many"] * 100)
    split = split_rows(keys_of(200), labels, RANDOM, 0)
    assert (labels[split.train] == "many").sum() >= 60
    assert len(split.notes) == 1
    assert "100 classes have too few rows" in split.notes[0]


def test_number_targets_are_stratified_by_size() -> None:
    values = np.arange(400, dtype=float) ** 3
    split = split_rows(keys_of(400), values, RANDOM, 0)
    tenths = np.histogram(split.test, bins=np.linspace(0, 400, 11))[0]
    assert tenths.min() >= 5
    assert tenths.max() <= 7


@pytest.mark.parametrize("rows", [10, 12, 20])
def test_tiny_data_still_gives_three_splits(rows: int) -> None:
    split = split_rows(keys_of(rows), np.arange(rows) % 2, RANDOM, 0)
    assert min(len(split.train), len(split.validation), len(split.test)) >= 1
    assert len(split.train) >= rows // 2


def test_five_groups_are_enough() -> None:
    groups = [f"g{i % 5}" for i in range(100)]
    split = split_rows(keys_of(100), np.arange(100) % 2, BY_GROUP, 0, groups=groups)
    assert (len(split.train), len(split.validation), len(split.test)) == (60, 20, 20)


def test_rows_that_repeat_across_time_are_dropped_from_the_later_side() -> None:
    keys = [*keys_of(99), "k0"]
    split = split_rows(keys, None, BY_TIME, 0, times=np.arange(100.0))
    assert split.dropped.tolist() == [99]
    assert "1 later row with the inputs of an earlier one" in split.notes[0]


@pytest.mark.parametrize(
    ("keys", "spec", "extra", "words"),
    [
        (keys_of(0), RANDOM, {}, "too few rows"),
        (keys_of(1), RANDOM, {}, "received 1 row"),
        (["same"] * 50, RANDOM, {}, "nothing is left"),
        (["a", "b"] * 25, RANDOM, {}, "2 with distinct inputs"),
        (keys_of(50), BY_GROUP, {"groups": ["g"] * 50}, "three groups"),
        (keys_of(50), BY_TIME, {"times": np.zeros(50)}, "moments in time"),
        (keys_of(50), BY_TIME, {"times": np.full(50, np.nan)}, "50 rows without one"),
        (keys_of(50), BY_TIME, {}, "needs a time column"),
        (keys_of(50), BY_GROUP, {}, "needs a group column"),
        (keys_of(50), SplitSpec(validation=0.5, test=0.5), {}, "leave nothing to train on"),
    ],
)
def test_what_cannot_be_split_is_said(keys: list[str], spec: SplitSpec, extra: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        split_rows(keys, None, spec, 0, **extra)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), min_size=2, max_size=80), st.integers(0, 3))
def test_carving_is_leak_free(rows: list[tuple[int, int]], seed: int) -> None:
    keys = [f"k{key}" for key, _ in rows]
    labels = np.array([label for _, label in rows])
    if len(set(keys)) < 2:
        with pytest.raises(DataError):
            carve_validation(keys, labels, RANDOM, seed)
        return
    train, validation = carve_validation(keys, labels, RANDOM, seed)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(rows)))
    assert len(train) > 0
    assert len(validation) > 0
    assert not {keys[i] for i in train.tolist()} & {keys[i] for i in validation.tolist()}


def test_overlaps_and_duplicates_are_counted() -> None:
    assert overlap(["a", "b"], ["b", "b", "c"]) == 2
    assert duplicates(["a", "b", "a", "a"]) == 2
    assert overlaps(["a"], ["a", "b"], ["b", "c"]) == {
        "validation_in_train": 1, "test_in_train": 0, "test_in_validation": 1,
    }  # fmt: skip


def test_the_fingerprint_knows_rows_and_sides() -> None:
    base = split_fingerprint(["a", "b"], ["c"], ["d"])
    assert base == split_fingerprint(["a", "b"], ["c"], ["d"])
    assert base != split_fingerprint(["a"], ["b", "c"], ["d"])
    assert base != split_fingerprint(["a", "x"], ["c"], ["d"])


def test_limits_keep_every_class_in_its_share() -> None:
    labels = np.array(["a"] * 800 + ["b"] * 150 + ["c"] * 50)
    kept = limit_rows(labels, 100, 0)
    assert Counter(labels[kept].tolist()) == {"a": 80, "b": 15, "c": 5}
    assert np.array_equal(kept, limit_rows(labels, 100, 0))
    assert set(labels[limit_rows(labels, 3, 0)].tolist()) == {"a", "b", "c"}
    assert len(limit_rows(labels, None, 0)) == 1000
    assert len(limit_rows(None, 10, 0, rows=50)) == 10
    assert len(limit_rows(np.linspace(0, 1, 50), 10, 0)) == 10
