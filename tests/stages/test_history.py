"""The history as JSON lines, CSV and TensorBoard events: whole and without doubles, also after a kill."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.stages.killed import kill_when, resume
from tests.training.samples import go, mlp, spec, stopped_and_continued, table

from bedplate.stages.history import HistoryFiles
from bedplate.training import Run

WORDS = ["train", "digits", "--out", "run", "--set", "model={name: mlp, hidden: [32]}", "training.epochs=40",
         "training.tensorboard=true", "training.early_stopping=null"]  # fmt: skip


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return tag → [(epoch, value)] as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def read_files(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Return both files' rows."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    with (folder / "history.csv").open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return lines, rows


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_killed_training_leaves_no_gap_and_no_double(tmp_path: Path) -> None:
    lines = tmp_path / "run" / "train" / "history.jsonl"
    kill_when(WORDS, tmp_path, lambda: lines.exists() and lines.read_text().count("\n") >= 4)
    left = len(lines.read_text().splitlines())
    assert 4 <= left < 40
    # A torn line, and an epoch that the checkpoint doesn't know, as the moment of a kill may leave them.
    with lines.open("a") as file:
        file.write(json.dumps({"epoch": left + 1, "train_loss": 99.0}) + '\n{"epo')
    resume(WORDS, tmp_path)
    history = json.loads((lines.parent / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == list(range(1, 41))
    jsonl, rows = read_files(lines.parent)
    assert jsonl == history
    assert rows == history
    events = read_events(lines.parent / "tensorboard")
    assert set(events) == {
        "loss/train", "loss/validation", "accuracy/validation", "learning_rate", "rows_per_second",
    }  # fmt: skip
    for tag, key in (("loss/train", "train_loss"), ("accuracy/validation", "validation_accuracy")):
        assert [epoch for epoch, _ in events[tag]] == list(range(1, 41))
        assert [value for _, value in events[tag]] == pytest.approx([entry[key] for entry in history], rel=1e-6)
    speeds = [value for _, value in events["rows_per_second"]]
    assert speeds[1] == pytest.approx(1078 / (history[1]["seconds"] - history[0]["seconds"]), rel=1e-5)


def test_a_stopped_training_writes_each_epoch_once(tmp_path: Path) -> None:
    data, settings = table(), spec(epochs=5, checkpoint_seconds=1e9)
    stopped_and_continued(mlp, data, settings, 10, tmp_path / "c")
    hook = HistoryFiles(tmp_path)
    seen: list[int] = []

    def count(event: str, run: Run) -> None:
        if event == "epoch":
            seen.append(len((tmp_path / "history.jsonl").read_text().splitlines()))

    run = go(mlp(), data, settings, checkpoint=tmp_path / "c", resume=False, hooks=[hook, count])
    assert seen == [1, 2, 3, 4, 5]
    jsonl, rows = read_files(tmp_path)
    assert jsonl == rows == run.history
