"""The data stage refuses what can't be learnt from, and says everything once."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bedplate.core.console import Console
from bedplate.core.errors import DataError
from bedplate.stages.data import _check_classes, load_data
from bedplate.stages.resolve import resolve


def test_training_rows_of_one_class_are_refused() -> None:
    dataset = load_data(resolve("wine"), Console(quiet=True))
    one = dataset.train.take(np.flatnonzero(dataset.train.targets == 1))
    with pytest.raises(DataError, match="the training rows all have one class"):
        _check_classes(replace(dataset, train=one))
    _check_classes(dataset)


def test_nothing_is_said_twice(tmp_path: Path) -> None:
    rows = "\n".join(f"{k},{k % 5},{'yes' if k % 5 > 2 else 'no'}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"id,size,bought\n{rows}\n")
    (tmp_path / "r.yaml").write_text("name: r\ntask: tabular-classification\ndata: {source: t.csv, target: bought}\n")
    stream = io.StringIO()
    load_data(resolve(str(tmp_path / "r.yaml")), Console(stream))
    lines = [line.strip().removeprefix("note: ") for line in stream.getvalue().splitlines()]
    assert len(lines) == len(set(lines))
    assert any("'id' is set aside" in line for line in lines)


def test_few_rows_that_judge_are_told(tmp_path: Path) -> None:
    rows = "\n".join(f"{k * k % 97},{'yes' if k % 5 > 2 else 'no'}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"size,bought\n{rows}\n")
    (tmp_path / "r.yaml").write_text("name: r\ntask: tabular-classification\ndata: {source: t.csv, target: bought}\n")
    stream = io.StringIO()
    dataset = load_data(resolve(str(tmp_path / "r.yaml")), Console(stream))
    assert len(dataset.test) < 30
    assert f"only {len(dataset.test)} test rows judge the model" in stream.getvalue()
    assert any("choose the epoch" in note for note in dataset.notes)
    assert not any("too few" in note for note in load_data(resolve("digits"), Console(quiet=True)).notes)
