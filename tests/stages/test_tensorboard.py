"""TensorBoard is asked for only where the recipe wants it, before anything is trained. (Its files: test_history.py.)"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from bedplate import pipeline
from bedplate.core.errors import InputError
from bedplate.stages.tensorboard import need_tensorboard


def test_without_the_package_the_line_to_type_comes_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tensorboard()
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorboard" else real(name, *a))
    with pytest.raises(InputError, match=r'pip install "bedplate\[tensorboard\]"'):
        pipeline.run_stage("train", "wine", tmp_path / "r", mode="new", overrides=["training.tensorboard=true"])
    assert not (tmp_path / "r").exists()


def test_a_run_without_it_never_imports_it() -> None:
    code = (
        "import sys, tempfile; from bedplate import pipeline\n"
        "with tempfile.TemporaryDirectory() as f: pipeline.run_stage('train', 'wine', f + '/r', mode='new',"
        " overrides=['training.epochs=1'])\n"
        "assert 'tensorboard' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
