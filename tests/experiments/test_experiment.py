"""Whole experiments: done cells stay done, failed ones are named, and folders are never overwritten unasked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bedplate.core.errors import GateError, InputError, RunError
from bedplate.experiments.experiment import ExperimentOutcome, experiment
from bedplate.stages.compare import compare_runs

FAST = ("training.epochs=1",)


def weights(path: Path) -> dict[str, str]:
    """Return the digest of each finished cell's weights."""
    found = {
        str(file.parent.relative_to(path)): json.loads(file.read_text()) for file in path.glob("cells/*/*/cell.json")
    }
    return {name: facts["weights_sha256"] for name, facts in found.items() if facts["state"] == "done"}


def test_every_cell_is_a_run_that_can_be_looked_at(wine: ExperimentOutcome) -> None:
    cell = wine.path / "cells" / "full" / "seed-1"
    assert (cell / "train" / "weights.safetensors").is_file()
    run = json.loads((cell / "run.json").read_text())
    assert run["state"] == "done"
    assert run["metrics"]["accuracy"]["value"] == wine.figures["arms"][0]["runs"][1]["test"]
    assert json.loads((wine.path / "experiment.json").read_text())["state"] == "done"


def test_a_done_experiment_repeats_nothing_and_says_the_same(wine: ExperimentOutcome) -> None:
    before = {file: file.stat().st_mtime_ns for file in wine.path.glob("cells/*/*/train/*")}
    again = experiment(wine.path.parent / "wine.yaml", wine.path, mode="resume")
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert again.figures["arms"] == wine.figures["arms"]
    assert again.figures["ensemble"]["bundle_id"] == wine.figures["ensemble"]["bundle_id"]


def test_more_seeds_join_what_is_done(experiment_file: Path) -> None:
    out = experiment_file.parent / "out"
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 3", "seeds: 1"))
    experiment(experiment_file, out, overrides=FAST)
    before = weights(out)
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 1", "seeds: 2"))
    found = experiment(experiment_file, out, overrides=FAST, mode="resume")
    assert len(weights(out)) == 4
    assert before.items() <= weights(out).items()
    assert all(arm["n"] == 2 for arm in found.figures["arms"])


def test_folders_are_not_overwritten_unasked(experiment_file: Path, wine: ExperimentOutcome) -> None:
    with pytest.raises(RunError, match="--resume continues it"):
        experiment(experiment_file, wine.path)
    other = experiment_file.parent / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="no experiment"):
        experiment(experiment_file, other, mode="fresh")
    changed = experiment_file.parent / "changed.yaml"
    changed.write_text(experiment_file.read_text().replace("lr: 0.003", "lr: 0.004"))
    with pytest.raises(RunError, match="another recipe"):
        experiment(changed, wine.path, mode="resume")


def test_one_failed_cell_does_not_lose_the_others(experiment_file: Path) -> None:
    text = experiment_file.read_text().replace("seeds: 3", "seeds: 2")
    # A learning rate that leads to weights that are not finite: the evaluation refuses them.
    experiment_file.write_text(text.replace("seeds:", "  broken: {training.optimizer.lr: 1.0e+30}\nseeds:"))
    out = experiment_file.parent / "out"
    found = experiment(experiment_file, out, overrides=FAST)
    assert set(found.failures) == {"broken, seed 0", "broken, seed 1"}
    assert [arm["n"] for arm in found.figures["arms"]] == [2, 2, 0]
    assert (out / "cells" / "broken" / "seed-0" / "error.txt").read_text().startswith("Traceback")
    assert "What failed" in (out / "experiment.html").read_text()
    assert json.loads((out / "experiment.json").read_text())["state"] == "failed"
    with pytest.raises(GateError, match="broken"):
        found.raise_for_failures()
    # The arm is mended in the file: resuming runs it, and only it.
    experiment_file.write_text(experiment_file.read_text().replace("1.0e+30", "0.001"))
    again = experiment(experiment_file, out, overrides=FAST, mode="resume")
    assert again.failures == {}
    assert [arm["n"] for arm in again.figures["arms"]] == [2, 2, 2]


def test_data_that_is_not_there_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ntask: tabular-classification\ndata: {source: missing.csv, target: y}\n"
    )
    (tmp_path / "e.yaml").write_text("name: e\nbase: own.yaml\narms: {a: {}, b: {}}\n")
    with pytest.raises(InputError):
        experiment(tmp_path / "e.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cross_validation_judges_every_row_once(experiment_file: Path) -> None:
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 3", "folds: 3"))
    found = experiment(experiment_file, experiment_file.parent / "out", overrides=FAST).raise_for_failures()
    assert found.figures["judged_on"] == "test"
    assert found.figures["overlap"] == pytest.approx(1 / 3 / (2 / 3 * 0.8), rel=0.05)
    arm = found.figures["arms"][1]
    assert [run["fold"] for run in arm["runs"]] == [0, 1, 2]
    rows = [json.loads((found.path / run["folder"] / "cell.json").read_text())["rows"]["test"] for run in arm["runs"]]
    assert sum(rows) == 178
    assert "Nadeau" in arm["comparison"]["method"]
    (verdict,) = compare_runs([found.path / "cells" / "full", found.path / "cells" / "tiny"]).verdicts.values()
    assert verdict.paired
    assert verdict.p_value == pytest.approx(arm["comparison"]["p_value"], rel=1e-6)


def test_runs_may_go_as_far_as_their_bundles(experiment_file: Path) -> None:
    text = (
        experiment_file.read_text()
        .replace("seeds: 3", "until: pack")
        .replace("full: {}", "full: {gate.maximum: {log_loss: 0.0}}")
    )
    experiment_file.write_text(text)
    found = experiment(experiment_file, experiment_file.parent / "out", overrides=FAST)
    assert list(found.failures) == ["full, seed 0"]
    assert "the gate says no" in found.failures["full, seed 0"]
    assert found.figures["arms"][0]["n"] == 1, "its figures are still good"
    assert (found.path / "cells" / "tiny" / "seed-0" / "bundle" / "manifest.json").is_file()


def test_a_killed_experiment_continues_where_it_stopped(experiment_file: Path) -> None:
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 3", "seeds: 2"))
    out = experiment_file.parent / "out"
    command = [sys.executable, "-m", "bedplate", "experiment", str(experiment_file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while len(done := weights(out)) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 1 <= len(done) < 4, "killed in the middle"
    found = experiment(experiment_file, out, mode="resume").raise_for_failures()
    assert done.items() <= weights(out).items()
    whole = experiment(experiment_file, experiment_file.parent / "whole")
    assert weights(out) == weights(whole.path), "as if it had never been killed"
    assert [arm["runs"] for arm in found.figures["arms"]] == [arm["runs"] for arm in whole.figures["arms"]]


def test_two_processes_cannot_work_in_one_folder(experiment_file: Path, wine: ExperimentOutcome) -> None:
    import fcntl

    lock = os.open(wine.path / ".lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            experiment(wine.path.parent / "wine.yaml", wine.path, mode="resume")
    finally:
        os.close(lock)


def test_an_arm_equal_to_the_reference_does_not_differ_at_all(tmp_path: Path) -> None:
    """Same recipe, same seeds: the pairs are equal to the last bit, so nothing can be found."""
    text = "name: e\nbase: wine\noverrides: {training.epochs: 2, evaluation.resamples: 100}\narms: {a: {}, b: {training.accumulate: 1}}\n"
    (tmp_path / "e.yaml").write_text(text + "seeds: 3\n")
    found = experiment(tmp_path / "e.yaml", tmp_path / "out").raise_for_failures().figures
    one = found["arms"][1]["comparison"]
    assert (one["difference"], one["p_value"], one["verdict"]) == (0.0, 1.0, "no difference shown (n = 3 is few)")


def test_a_single_seed_is_judged_on_its_rows_alone(experiment_file: Path) -> None:
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 3", "seeds: 1"))
    found = experiment(experiment_file, experiment_file.parent / "out").raise_for_failures().figures
    one = found["arms"][1]["comparison"]
    assert one["over"] == "rows"
    assert "McNemar" in one["method"]
    assert "one run each" in one["verdict"]


def test_texts_with_answers_are_compared_by_what_is_written(tmp_path: Path) -> None:
    words = ("red", "blue", "dog", "cat", "runs", "sleeps")
    rows = [[words[(k // step) % 6] for step in (1, 6, 36, 7, 5)] for k in range(216)]
    lines = "".join(f"{' '.join(row)},{' '.join(word[::-1] for word in row)}\n" for row in rows)
    (tmp_path / "words.csv").write_text("a,b\n" + lines)
    (tmp_path / "words.yaml").write_text(
        "name: words\ntask: text-to-text\ndata: {source: words.csv, target: b, text: {column: a, tokens: word}}\n"
        "model: {name: seq2seq, size: 32, heads: 2, encoder: 1, decoder: 1, dropout: 0.0}\ntraining: {epochs: 14, batch_size: 16}\n"
        "evaluation: {resamples: 100}\n"
    )
    (tmp_path / "e.yaml").write_text(
        "name: e\nbase: words.yaml\narms: {fast: {training.optimizer.lr: 0.005}, slow: {training.optimizer.lr: 0.0001}}\n"
        "seeds: 2\nmetric: exact\n"
    )
    found = experiment(tmp_path / "e.yaml", tmp_path / "out")
    assert found.figures["metric"] == "exact"
    for arm in found.figures["arms"]:
        assert arm["n"] == 2
        for one in arm["runs"]:
            report = json.loads((found.path / one["folder"] / "validation.json").read_text())
            assert one["validation"] == report["metrics"]["exact"]["value"]
    fast, slow = (arm["validation"]["mean"] for arm in found.figures["arms"])
    assert fast > slow
