"""The core install alone, in an environment of its own: no torch, small, and the same answers as training gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MOST_MEGABYTES = 250


def size_of(folder: Path) -> float:
    """Return the megabytes that a folder takes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink()) / 1e6


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the core environment's commands."""
    place = tmp_path_factory.mktemp("core") / "venv"
    venv.create(place, with_pip=True)
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([place / "bin" / "pip", "install", "--quiet", str(ROOT)], env=environment, check=True)
    return place / "bin"


@pytest.mark.slow
def test_the_core_install_answers_as_evaluation_did(core: Path, tmp_path: Path) -> None:
    listed = subprocess.run([core / "pip", "list", "--format=json"], capture_output=True, check=True).stdout
    packages = {package["name"].lower() for package in json.loads(listed)}
    assert not packages & {"torch", "onnx", "scikit-learn", "pyarrow", "pandas", "scipy"}
    assert size_of(core.parent) < MOST_MEGABYTES

    run = tmp_path / "run"
    train = [sys.executable, "-m", "bedplate", "run", "wine", "--out", str(run), "--json", "--quiet"]
    figures = json.loads(subprocess.run(train, capture_output=True, check=True).stdout)
    expected = [json.loads(line) for line in (run / "pack" / "predictions.jsonl").read_text().splitlines()]

    # The table's rows, by the line that evaluation names, as a person would have them: in a CSV.
    from bedplate.data.embedded import embedded_table

    table = embedded_table("wine")
    names = [name for name in table.columns if name != "cultivar"]
    position = {identity: k for k, identity in enumerate(table.ids)}
    chosen = [position[entry["input"]] for entry in expected]
    rows = [",".join(names), *(",".join(str(table.columns[name][k]) for name in names) for k in chosen)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    assert len(chosen) == figures["rows"]["test"]

    predict = [core / "bedplate", "predict", figures["bundle"], str(tmp_path / "test.csv"), "--json"]
    found = [json.loads(line) for line in subprocess.run(predict, capture_output=True, check=True).stdout.splitlines()]
    assert [entry["answer"] for entry in found] == [entry["answer"] for entry in expected]
    own, others = ([list(entry["probabilities"].values()) for entry in side] for side in (found, expected))
    np.testing.assert_allclose(own, others, atol=1e-4)

    server = subprocess.Popen(
        [core / "bedplate", "serve", figures["bundle"], "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        body = json.dumps(
            {"instances": [{name: float(table.columns[name][k]) for name in names} for k in chosen]}
        ).encode()
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/models/wine:predict", body), timeout=60
        ) as response:
            served = json.load(response)["predictions"]
    finally:
        server.terminate()
        server.communicate(timeout=30)
    np.testing.assert_allclose(served, others, atol=1e-4)
