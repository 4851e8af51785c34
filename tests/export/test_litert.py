"""LiteRT in an environment of its own: bundles are converted, run there, and held to the parity gate."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.conformance.clients import client_environment

from bedplate import pipeline
from bedplate.bundle import Bundle

ROOT = Path(__file__).parents[2]
SETTINGS = ["training.epochs=4", "gate={}", "evaluation.resamples=100", "evaluation.baselines=false", "compression.methods=[]"]  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> Path:
    return client_environment("litert", ["-c", str(ROOT / "constraints-litert.txt"), f"{ROOT}[litert]"])


def asked(python: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([str(python), *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def exported(python: Path, bundle: Path, out: Path, *flags: str) -> dict[str, Any]:
    done = asked(python, "-m", "bedplate", "export", str(bundle), "--to", "litert", "--out", str(out), "--json", *flags)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # and nothing else: the converter talks much
    return found


def test_digits_leave_for_litert_and_answer_alike(python: Path, tmp_path: Path) -> None:
    box = pipeline.run("digits", tmp_path / "run", overrides=SETTINGS).path / "bundle"
    record = exported(python, box, tmp_path / "float")
    assert record["parity"]["golden"]["max_difference"] < 1e-4
    assert record["parity"]["edge"]["within"]
    assert (record["contract"]["rows"], record["versions"]["litert_torch"][:4]) == ("one", "0.10")
    code = re.search(r"```python\n(.*?)```", (tmp_path / "float" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    done = asked(python, "-c", f"{code[1]}\nimport json\nprint(json.dumps(answers.tolist()))", cwd=tmp_path / "float")
    wanted = Bundle.open(box).predictor("f32")({"image": np.zeros((1, 8, 8, 1), np.uint8)})["probabilities"]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), wanted, atol=1e-5)
    small = exported(python, box, tmp_path / "int8", "--int8")
    assert small["parity"]["golden"]["label_agreement"] >= 0.98
    assert small["size_bytes"]["export"] < 0.4 * record["size_bytes"]["export"]


def test_a_table_leaves_with_its_features(python: Path, tmp_path: Path) -> None:
    box = pipeline.run("wine", tmp_path / "run", overrides=SETTINGS).path / "bundle"
    record = exported(python, box, tmp_path / "out")
    assert record["parity"]["golden"]["max_difference"] < 1e-4
    assert [one["name"] for one in record["contract"]["inputs"]] == ["numeric"]
    assert (tmp_path / "out" / "features.onnx").is_file()
