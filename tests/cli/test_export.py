from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest


def test_a_bundle_is_exported_and_the_figures_are_printed(
    digits: dict[str, Any], tmp_path: Path, bedplate: Any
) -> None:
    out = tmp_path / "half"
    done = bedplate("export", digits["bundle"], "--to", "onnx-fp16", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("out") == str(out)
    assert said == json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert said["parity"]["golden"]["label_agreement"] >= 0.99
    assert "for storage" in done.stderr
    again = bedplate("export", digits["bundle"], "--to", "onnx-fp16", "--out", str(out))
    assert again.returncode == 2
    assert "something already" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["BUNDLE", "--to", "torchexport"], "did you mean 'torch-export'"),
        (["BUNDLE", "--to", "torch-export", "--int8"], "has no int8"),
        (["nowhere", "--to", "onnx-fp16"], "no such bundle"),
        (["BUNDLE"], "--to"),
    ],
)  # fmt: skip
def test_what_cannot_be(words: list[str], message: str, digits: dict[str, Any], bedplate: Any) -> None:
    done = bedplate("export", *(digits["bundle"] if word == "BUNDLE" else word for word in words))
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is not None, reason="litert-torch is installed")
def test_litert_says_which_extra_brings_it(digits: dict[str, Any], tmp_path: Path, bedplate: Any) -> None:
    done = bedplate("export", digits["bundle"], "--to", "litert", "--out", str(tmp_path / "x"))
    assert done.returncode == 2
    assert 'pip install "bedplate[litert]"' in done.stderr


def test_a_place_that_cannot_be_written_to(digits: dict[str, Any], bedplate: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")  # below a file nobody can write, not even root
    done = bedplate("export", digits["bundle"], "--to", "onnx-fp16", "--out", str(tmp_path / "file" / "deep" / "half"))
    assert done.returncode == 2
    assert "can't write here" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
