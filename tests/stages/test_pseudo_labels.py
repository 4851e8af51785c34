"""Pseudo-labels from recipe to report: what is offered and taken, that nothing leaks, and that a kill costs nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.stages.killed import kill_when, resume

from bedplate import pipeline
from bedplate.core.errors import DataError, RecipeError, RunError

RECIPE = """\
name: a
task: tabular-classification
data:
  files: {train: train.csv, validation: validation.csv, test: test.csv}
  target: answer
model: {name: mlp, hidden: [32]}
training:
  epochs: 20
  threads: 1
  batch_size: 16
  optimizer: {name: adamw, lr: 0.03}
  pseudo_labels: {source: more.csv, threshold: 0.9, rounds: 2}
"""


def write(path: Path, numbers: np.ndarray, answers: Sequence[str] | None) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["x", "y", "z", *(["answer"] if answers is not None else [])])
        for k, row in enumerate(numbers.tolist()):
            out.writerow([*row, *([answers[k]] if answers is not None else [])])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recipe with 60 labelled rows and 400 without labels, among which are 5 test, 3 validation and 2 training rows."""
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(660, 3)).round(4)
    names = np.where(numbers[:, 0] > 0.5, "high", np.where(numbers[:, 1] > 0, "left", "right"))
    parts = {"train": (0, 60), "validation": (60, 160), "test": (160, 270)}
    for name, (start, stop) in parts.items():
        write(tmp_path / f"{name}.csv", numbers[start:stop], names[start:stop].tolist())
    more = np.concatenate([numbers[270:659], numbers[160:165], numbers[60:63], numbers[:2], numbers[270:271]])
    write(tmp_path / "more.csv", more, None)
    (tmp_path / "a.yaml").write_text(RECIPE)
    return tmp_path


def trained(place: Path, out: str = "run", mode: Any = "new", **settings: Any) -> dict[str, Any]:
    overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in settings.items()]
    pipeline.run_stage("train", place / "a.yaml", place / out, mode=mode, overrides=overrides)
    found: dict[str, Any] = json.loads((place / out / "train" / "stage.json").read_text())
    return found


def test_the_facts_are_told_and_nothing_leaks(place: Path) -> None:
    outcome = pipeline.run(
        place / "a.yaml", place / "run", overrides=["compression.methods=[]", "evaluation.resamples=100"]
    )
    facts = outcome.figures["pseudo_labels"]
    counts = {key: facts[key] for key in ("rows", "in_validation_or_test", "in_training", "repeated", "offered")}
    assert counts == {"rows": 400, "in_validation_or_test": 8, "in_training": 2, "repeated": 1, "offered": 389}
    assert [one["round"] for one in facts["rounds"]] == [0, 1, 2]
    for number in (1, 2):
        one = facts["rounds"][number]
        labels = load_file(place / "run" / "train" / f"round-{number}" / "labels.safetensors")
        assert one["taken"] == len(labels["rows"]) == sum(one["classes"].values())
        assert one["training_rows"] == 60 + one["taken"]
        assert labels["probabilities"].min() >= 0.9
        assert labels["rows"].max() < 389
    figures = [(one["validation_accuracy"], -one["validation_loss"]) for one in facts["rounds"]]
    assert facts["kept_round"] == max(range(3), key=lambda k: figures[k])
    train = json.loads((place / "run" / "train" / "stage.json").read_text())
    assert train["pseudo_labels"] == facts
    report = json.loads((place / "run" / "report.json").read_text())
    assert report["pseudo_labels"] == facts
    assert report["history"] == json.loads((place / "run" / "train" / "history.json").read_text())
    assert len(report["history"]) == facts["rounds"][facts["kept_round"]]["epochs"]
    assert "389 were offered (8 that validation or test rows equal were left out)" in (
        place / "run" / "report.html"
    ).read_text(encoding="utf-8")
    assert outcome.figures["rows"] == {"train": 60, "validation": 100, "test": 110}


def test_a_killed_round_goes_on_bit_equal_and_done_rounds_are_not_repeated(place: Path) -> None:
    whole = trained(place, "whole")
    words = ["train", "a.yaml", "--out", "killed"]
    train = place / "killed" / "train"
    lines = train / "round-1" / "history.jsonl"
    kill_when(words, place, lambda: lines.exists() and lines.read_text().count("\n") >= 3)
    before = {
        name: (train / name).stat().st_mtime_ns for name in ("checkpoint.safetensors", "round-1/labels.safetensors")
    }
    assert not (train / "stage.json").exists()
    said = resume(words, place)
    assert "continuing from checkpoint.safetensors" in said
    after = {name: (train / name).stat().st_mtime_ns for name in before}
    assert after == before, "round 0 was trained again, or its rows labelled again"
    again = json.loads((train / "stage.json").read_text())
    assert again["weights_sha256"] == whole["weights_sha256"]
    timeless = [
        [{key: value for key, value in one.items() if key != "seconds"} for one in facts["pseudo_labels"]["rounds"]]
        for facts in (whole, again)
    ]
    assert timeless[0] == timeless[1]


def test_the_sources_content_decides_what_is_done(place: Path) -> None:
    first = trained(place, training__epochs=2, training__pseudo_labels__threshold=0.51)
    more = place / "more.csv"
    more.write_text(more.read_text().replace("x,y,z\n", "x,y,z\n9.5,9.5,9.5\n"))
    with pytest.raises(RunError, match="changed: the rows without labels"):
        trained(place, mode="resume", training__epochs=2, training__pseudo_labels__threshold=0.51)
    second = trained(place, mode="fresh", training__epochs=2, training__pseudo_labels__threshold=0.51)
    assert second["fingerprint"] != first["fingerprint"]


def test_balance_keeps_the_labelled_shares(place: Path) -> None:
    facts = trained(place, training__pseudo_labels__balance=True, training__pseudo_labels__rounds=1)["pseudo_labels"]
    one = facts["rounds"][1]
    with (place / "train.csv").open(newline="") as file:
        answers = [row["answer"] for row in csv.DictReader(file)]
    free = trained(place, "free", training__pseudo_labels__rounds=1)["pseudo_labels"]["rounds"][1]
    for name, count in one["classes"].items():
        assert count == min(free["classes"][name], int(np.ceil(answers.count(name) / 60 * free["taken"])))


def test_rounds_end_where_there_is_nothing_to_take(place: Path) -> None:
    facts = trained(place, training__epochs=1, training__pseudo_labels__threshold=1.0)["pseudo_labels"]
    assert facts["ended"] == "round 1: no row reached the threshold"
    assert len(facts["rounds"]) == 1
    assert facts["kept_round"] == 0
    write(place / "more.csv", np.loadtxt(place / "test.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2)), None)
    facts = trained(place, "none", training__epochs=1)["pseudo_labels"]
    assert facts["ended"] == "no row was offered"
    assert facts["in_validation_or_test"] == 110


def test_a_number_several_workers_or_no_source_are_refused_before_training(place: Path) -> None:
    with pytest.raises(RecipeError, match="pseudo-labels are for one worker"):
        trained(place, training__workers=2)
    with pytest.raises(RecipeError, match="nothing is trained"):
        trained(place, training__epochs=0)
    with pytest.raises(DataError, match=r"did you mean 'more\.csv'"):
        trained(place, training__pseudo_labels__source="mre.csv")
    recipe = place / "a.yaml"
    recipe.write_text(RECIPE.replace("classification", "regression").replace("answer", "z"))
    with pytest.raises(RecipeError, match="pseudo-labels are for classes"):
        trained(place)
    assert not (place / "run").exists()


def test_sixty_labelled_digits_and_the_rest_without_labels(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    pixels = np.round(load_digits().images * 255 / 16).astype(np.uint8)
    labels = load_digits().target
    order = np.random.default_rng(0).permutation(len(labels))
    parts = {
        "images/train": order[:60],
        "images/val": order[60:360],
        "images/test": order[360:760],
        "loose": order[760:],
    }
    for name, index in parts.items():
        for row in index.tolist():
            path = tmp_path / name / ("" if name == "loose" else str(labels[row])) / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row]).save(path)
    (tmp_path / "a.yaml").write_text(
        "name: a\ntask: image-classification\ndata: {source: images}\nmodel: {name: mlp, hidden: [64]}\n"
        "training: {epochs: 25, threads: 1, batch_size: 32, optimizer: {name: adamw, lr: 0.01}, pseudo_labels: "
        "{source: loose, threshold: 0.9, rounds: 1}}\n"
    )
    facts = trained(tmp_path)["pseudo_labels"]
    first, second = facts["rounds"]
    assert facts["offered"] == 1037
    assert 100 < second["taken"] < 1037
    # What it gives is measured in docs/training.md; here, that labels are mostly right and nothing breaks.
    found = load_file(tmp_path / "run" / "train" / "round-1" / "labels.safetensors")
    truth = [int(labels[int(path.stem)]) for path in sorted((tmp_path / "loose").iterdir(), key=lambda p: int(p.stem))]
    assert (np.asarray(truth)[found["rows"]] == found["classes"]).mean() > 0.8
    assert second["validation_accuracy"] > first["validation_accuracy"] - 0.05
    best = facts["rounds"][facts["kept_round"]]
    assert best["validation_accuracy"] == max(one["validation_accuracy"] for one in facts["rounds"])
