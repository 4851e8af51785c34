"""The life from the command line: what is printed for machines, what lies on disk, and what exit code comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

METRICS = {"accuracy", "precision", "recall", "f1", "log_loss", "auroc", "auprc", "brier", "ece"}


def test_run_prints_one_json_object_with_the_promised_figures(digits: dict[str, Any]) -> None:
    assert set(digits) >= {
        "run",
        "bundle",
        "bundle_id",
        "report",
        "seconds",
        "rows",
        "metrics",
        "baselines",
        "variants",
    }
    for key in ("run", "bundle", "report"):
        assert Path(digits[key]).is_absolute()
        assert Path(digits[key]).exists()
    assert Path(digits["bundle"]).is_dir()
    assert set(digits["metrics"]) == METRICS
    for figure in digits["metrics"].values():
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert digits["metrics"]["accuracy"]["value"] > 0.9
    assert set(digits["rows"]) == {"train", "validation", "test"}
    assert sum(digits["rows"].values()) == 1797
    assert set(digits["baselines"]) == {"majority", "logistic regression"}
    assert [v["name"] for v in digits["variants"]] == ["f32", "int8-static", "int8-dynamic"]
    for variant in digits["variants"]:
        assert set(variant) == {"name", "kept", "reason", "size_bytes", "latency_ms", "metrics"}


def test_the_bundle_holds_what_the_house_says(digits: dict[str, Any]) -> None:
    names = {path.name for path in Path(digits["bundle"]).iterdir()}
    assert names == {"manifest.json", "BUNDLE_ID", "graphs", "weights.safetensors", "model.json", "report.json", "golden.json",
                     "golden.safetensors", "reference.json", "lineage.json", "MODEL_CARD.md"}  # fmt: skip


def test_the_table_life_works_too(table: dict[str, Any]) -> None:
    assert set(table["baselines"]) == {"majority", "logistic regression", "gradient boosting"}
    assert table["metrics"]["accuracy"]["value"] > 0.8


def test_regression_has_its_own_metrics(tmp_path: Path, bedplate: Any) -> None:
    done = bedplate("run", "diabetes", "--out", str(tmp_path / "d"), "--json", "--quiet", "--set", "training.epochs=5")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["metrics"]) == {"rmse", "mae", "r2"}
    assert set(found["baselines"]) == {"mean", "linear regression", "gradient boosting"}
    assert done.stderr == ""


def test_a_taken_folder_is_refused_then_resumed_then_started_again(digits: dict[str, Any], bedplate: Any) -> None:
    words = ["run", "digits", "--out", digits["run"], "--json", "--set", "training.epochs=12", "gate={}"]
    refused = bedplate(*words)
    assert refused.returncode == 2
    assert "--resume continues it" in refused.stderr
    again = bedplate(*words, "--resume")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["bundle_id"] == digits["bundle_id"]
    assert "done before" in again.stderr


def test_resuming_another_recipe_fails_loudly(digits: dict[str, Any], bedplate: Any) -> None:
    done = bedplate("run", "digits", "--out", digits["run"], "--resume", "--set", "training.epochs=3", "gate={}")
    assert done.returncode == 2
    assert "another recipe" in done.stderr
    assert "training.epochs: 12, now 3" in done.stderr


def test_the_stages_alone_equal_the_run(tmp_path: Path, digits: dict[str, Any], bedplate: Any) -> None:
    words = ["digits", "--out", str(tmp_path / "s"), "--json", "--set", "training.epochs=12", "gate={}"]
    early = bedplate("evaluate", *words)
    assert early.returncode == 2
    assert "run `bedplate train` first" in early.stderr
    found = {}
    for stage in ("train", "evaluate", "compress", "pack"):
        done = bedplate(stage, *words, *(["--fresh"] if stage == "train" else []))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    assert found["training"]["weights_sha256"] == digits["training"]["weights_sha256"]
    assert found["metrics"]["accuracy"] == digits["metrics"]["accuracy"]
    assert Path(found["bundle"]).is_dir()


def test_the_gate_says_no_with_exit_1_and_seals_nothing(tmp_path: Path, bedplate: Any) -> None:
    done = bedplate(
        "run",
        "digits",
        "--out",
        str(tmp_path / "g"),
        "--json",
        "--set",
        "training.epochs=1",
        "gate.minimum={accuracy: 0.999}",
    )
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["bundle"] is None
    assert found["gate"]["failures"]
    assert not (tmp_path / "g" / "bundle").exists()
    assert "the gate says no" in done.stderr
    assert "The gate says no" in Path(found["report"]).read_text(encoding="utf-8")


def test_ctrl_c_exits_130_and_the_run_continues(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "bedplate",
        "train",
        "digits",
        "--out",
        str(tmp_path / "c"),
        "--json",
        "--set",
        "training.epochs=60",
        "gate={}",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch" in line and "/60" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in rest
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stderr


def test_a_read_only_place_is_explained(tmp_path: Path, bedplate: Any) -> None:
    if os.geteuid() == 0:
        place = Path("/sys/bedplate-run")  # a place where even root may not write
    else:
        place = tmp_path / "locked" / "run"
        place.parent.mkdir(mode=0o500)
    done = bedplate("run", "digits", "--out", str(place))
    assert done.returncode == 2
    assert "choose another" in done.stderr


@pytest.mark.parametrize("verb", ["run", "train", "plan"])
def test_a_misspelt_key_stops_before_data_is_read(tmp_path: Path, bedplate: Any, verb: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: a\ntask: image-classification\ndata: {source: does-not-exist}\ntrainning: {}\n")
    started = time.monotonic()
    done = bedplate(verb, str(path), "--json")
    assert done.returncode == 2
    assert "did you mean 'training'?" in done.stderr
    assert "does-not-exist" not in done.stderr
    assert time.monotonic() - started < 60
    assert json.loads(done.stdout)["problems"]


def test_an_unknown_command_names_its_neighbour(bedplate: Any) -> None:
    done = bedplate("trian")
    assert done.returncode == 2
    assert "did you mean 'train'" in done.stderr


def test_the_demo_serves_an_answer(tmp_path: Path, bedplate: Any) -> None:
    done = bedplate("demo", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr
    for word in (
        "▸ data",
        "▸ train",
        "▸ evaluate",
        "▸ compress",
        "▸ pack",
        "▸ serve",
        "int8-static",
        "bundle id",
        "report.html",
        "and answered",
    ):
        assert word in done.stdout


def test_a_plug_in_that_fails_while_running_is_named(tmp_path: Path, bedplate: Any) -> None:
    (tmp_path / "bad_loss.py").write_text(
        "import bedplate as bp\n\n\n@bp.register_objective('bad-loss')\ndef bad():\n    def loss(network, features, targets):\n"
        "        return {'loss': network(*features).nope()}\n    return bp.Objective((bp.Step(loss),), 'classes')\n"
    )
    (tmp_path / "r.yaml").write_text(
        "name: r\ntask: image-classification\ndata: {source: digits}\nobjective: bad-loss\nplugins: [./bad_loss.py]\n"
    )
    done = bedplate("run", "r.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "bad_loss.py:7" in done.stderr
    assert "check-plugin" in done.stderr
    assert "Traceback" not in done.stderr
    assert "nope" in json.loads(done.stdout)["received"]
    assert not (tmp_path / "runs").exists()
