"""Folds divide the rows: each row is judged once, nothing leaks, and time only runs forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from bedplate.core.errors import DataError
from bedplate.data.folds import fold_rows
from bedplate.data.load import load_dataset
from bedplate.data.splits import Split
from bedplate.recipe.schema import DataSpec, SplitSpec


def spec(folds: int, fold: int, by: str = "random") -> SplitSpec:
    return SplitSpec.model_validate({"folds": folds, "fold": fold, "by": by, "column": "c"})


def whole(split: Split) -> list[int]:
    return sorted(np.concatenate([split.train, split.validation, split.test, split.dropped]).tolist())


rows = st.integers(20, 80).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, n), min_size=n, max_size=n), st.lists(st.integers(0, 2), min_size=n, max_size=n)
    )
)


@settings(deadline=None, max_examples=60)
@given(rows, st.integers(2, 6), st.integers(0, 1000))
def test_every_row_is_judged_once_and_equal_inputs_stay_together(
    drawn: tuple[list[int], list[int]], folds: int, seed: int
) -> None:
    keys, labels = [str(k) for k in drawn[0]], np.asarray(drawn[1]).astype(str)
    assume(len(set(keys)) >= 4 * folds)
    judged: list[int] = []
    for fold in range(folds):
        split = fold_rows(keys, labels, spec(folds, fold), seed)
        assert whole(split) == list(range(len(keys)))
        sides = [{keys[i] for i in part.tolist()} for part in (split.train, split.validation, split.test)]
        assert not sides[0] & sides[1]
        assert not (sides[0] | sides[1]) & sides[2]
        judged += split.test.tolist()
    assert sorted(judged) == list(range(len(keys)))


@settings(deadline=None, max_examples=40)
@given(rows, st.integers(2, 5))
def test_no_group_is_on_both_sides(drawn: tuple[list[int], list[int]], folds: int) -> None:
    n = len(drawn[0])
    groups = [f"g{value % 13}" for value in drawn[0]]
    assume(len(set(groups)) >= folds + 3)
    keys = [str(i) for i in range(n)]
    judged: list[str] = []
    for fold in range(folds):
        try:
            split = fold_rows(keys, np.asarray(drawn[1]).astype(str), spec(folds, fold, "group"), 0, groups=groups)
        except DataError as error:  # one group has nearly all rows, so that a fold leaves none to validate on
            if "leaves no rows" not in error.message:
                raise
            reject()
        known = {groups[i] for part in (split.train, split.validation) for i in part.tolist()}
        own = {groups[i] for i in split.test.tolist()}
        assert not known & own
        judged += sorted(own)
    assert sorted(judged) == sorted(set(groups)), "each group is judged in one fold"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=24, max_size=90), st.integers(2, 5))
def test_time_runs_forward(moments: list[int], folds: int) -> None:
    assume(len(set(moments)) >= folds + 8)
    times, keys = np.asarray(moments, float), [str(i) for i in range(len(moments))]
    ends = []
    for fold in range(folds):
        try:
            split = fold_rows(keys, None, spec(folds, fold, "time"), 0, times=times)
        except DataError:
            continue  # the first stretch is one moment, of which no validation rows can be set aside
        assert times[split.train].max() < times[split.validation].min()
        assert times[split.validation].max() < times[split.test].min()
        ends.append(times[split.test].max())
        assert whole(split) == list(range(len(keys)))
    assert ends == sorted(ends)
    assert ends[-1] == times.max()


def test_folds_are_level_and_stratified() -> None:
    labels = np.array(["a"] * 80 + ["b"] * 20)
    for fold in range(5):
        split = fold_rows([str(i) for i in range(100)], labels, spec(5, fold), 3)
        assert len(split.test) == 20
        assert (labels[split.test] == "b").sum() == 4


def test_the_division_follows_the_seed_alone() -> None:
    keys, labels = [str(i) for i in range(60)], np.array(["a", "b"] * 30)
    first = fold_rows(keys, labels, spec(3, 0), 1)
    assert np.array_equal(first.test, fold_rows(keys, labels, spec(3, 0), 1).test)
    assert not np.array_equal(first.test, fold_rows(keys, labels, spec(3, 0), 2).test)


def test_rows_with_the_inputs_of_an_earlier_one_are_left_out_in_time() -> None:
    keys = [str(i) for i in range(30)]
    keys[29] = keys[0]
    split = fold_rows(keys, None, spec(2, 1, "time"), 0, times=np.arange(30.0))
    assert 29 in split.dropped.tolist()


@pytest.mark.parametrize(("folds", "by"), [(31, "random"), (5, "group"), (40, "time")])
def test_too_few_for_so_many_folds(folds: int, by: str) -> None:
    keys = [str(i) for i in range(30)]
    with pytest.raises(DataError, match="fold"):
        fold_rows(
            keys, None, spec(folds, 0, by), 0, groups=["g0", "g1", "g2"] * 10, times=np.arange(30.0)
        )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "task"),
    [("wine", "tabular-classification"), ("digits", "image-classification"), ("diabetes", "tabular-regression")],
)
def test_real_data_is_judged_once_over_all_folds(source: str, task: str) -> None:
    judged: list[str] = []
    total = 0
    for fold in range(3):
        data = DataSpec.model_validate({"source": source, "split": {"folds": 3, "fold": fold}})
        dataset = load_dataset(data, task, 0, base=Path())
        judged += list(dataset.test.ids)
        total = len(dataset.train) + len(dataset.validation) + len(dataset.test)
        assert not set(dataset.test.ids) & {*dataset.train.ids, *dataset.validation.ids}
    assert len(judged) == len(set(judged)) == total


def test_official_splits_stay_untouched(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("test", 1000)):
        lines = [f"{start + i},{(start + i) % 7},{'ab'[i % 2]}" for i in range(60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,z,y", *lines]) + "\n")
    spec_ = {"files": {"train": "train.csv", "test": "test.csv"}, "target": "y", "split": {"folds": 3, "fold": 1}}
    dataset = load_dataset(DataSpec.model_validate(spec_), "tabular-classification", 0, base=tmp_path)
    ids = [*dataset.train.ids, *dataset.validation.ids, *dataset.test.ids]
    assert len(ids) == 60
    assert all("train" in one for one in ids)
    assert any("untouched" in note for note in dataset.notes)


@pytest.mark.parametrize("split", [{"folds": 3}, {"fold": 0}, {"folds": 3, "fold": 3}])
def test_a_fold_is_one_of_several(split: dict[str, int]) -> None:
    data = DataSpec.model_validate({"source": "wine", "split": split})
    with pytest.raises(DataError, match="one of several"):
        load_dataset(data, "tabular-classification", 0, base=Path())


def test_the_splits_own_seed_leads() -> None:
    def ids(seed: int, own: int | None) -> list[str]:
        data = DataSpec.model_validate({"source": "wine", "split": {"seed": own}})
        return list(load_dataset(data, "tabular-classification", seed, base=Path()).test.ids)

    assert ids(1, 5) == ids(2, 5) != ids(1, None)
