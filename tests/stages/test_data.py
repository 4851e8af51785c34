"""The data stage refuses what can't be learnt from, and says everything once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bedplate.core.console import Console
from bedplate.core.errors import DataError
from bedplate.stages.data import load_data
from bedplate.stages.resolve import resolve


def test_training_rows_of_one_class_are_refused(tmp_path: Path) -> None:
    rows = [f"{k * 37 % 101 / 7},no" for k in range(30)] + ["100,yes"]
    (tmp_path / "train.csv").write_text("x,y\n" + "\n".join(rows[:30]) + "\n")
    (tmp_path / "test.csv").write_text("x,y\n" + "\n".join([*rows[:5], rows[30]]) + "\n")
    (tmp_path / "r.yaml").write_text(
        "name: r\ntask: tabular-classification\ndata:\n  files: {train: train.csv, test: test.csv}\n  target: y\n"
    )
    with pytest.raises(DataError, match="one class|only 'no'|class"):
        load_data(resolve(str(tmp_path / "r.yaml")), Console(quiet=True))


def test_nothing_is_said_twice(tmp_path: Path) -> None:
    rows = "\n".join(f"{k},{k % 5},{'yes' if k % 5 > 2 else 'no'}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"id,size,bought\n{rows}\n")
    (tmp_path / "r.yaml").write_text("name: r\ntask: tabular-classification\ndata: {source: t.csv, target: bought}\n")
    stream = io.StringIO()
    load_data(resolve(str(tmp_path / "r.yaml")), Console(stream))
    lines = [line.strip().removeprefix("note: ") for line in stream.getvalue().splitlines()]
    assert len(lines) == len(set(lines))
    assert any("'id' is set aside" in line for line in lines)
