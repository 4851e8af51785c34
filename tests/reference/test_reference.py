"""The room is plain NumPy, and its tutorial runs: every block, with the outputs and the picture that the page shows."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bedplate.reference as ref

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w#.])\d+(?:\.\d+)?(?![\w.]*[a-zA-Z])")


def assert_alike(found: str, shown: str) -> None:
    """Compare two texts: the words exactly, numbers up to what another processor's rounding may change in training."""
    assert NUMBER.sub("0", found) == NUMBER.sub("0", shown)
    pairs = list(zip(NUMBER.findall(found), NUMBER.findall(shown), strict=True))
    assert [float(one) for one, _ in pairs] == [pytest.approx(float(other), rel=0.05, abs=0.02) for _, other in pairs]


def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "digits-from-scratch.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    names: dict[str, object] = {}
    shown = 0
    for k, (language, body) in enumerate(blocks):
        if language == "text":
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(body, f"block {k} of the tutorial", "exec"), names)
        expected = blocks[k + 1][1] if blocks[k + 1 : k + 2] and blocks[k + 1][0] == "text" else ""
        assert_alike(said.getvalue(), expected)
        shown += bool(expected)
    assert shown >= 12
    drawn = (tmp_path / "digits-from-scratch.svg").read_text(encoding="utf-8")
    kept = (DOCS / "images" / "digits-from-scratch.svg").read_text(encoding="utf-8")
    assert len(drawn) == pytest.approx(len(kept), rel=0.01)
    assert_alike(drawn, kept)


def test_alike_sees_other_words_and_other_numbers() -> None:
    assert_alike("loss 0.123, 17 rows\n", "loss 0.120, 17 rows\n")
    for other in ("loss 0.123, 17 row\n", "loss 0.223, 17 rows\n", "loss 0.123, 19 rows\n", "loss 0.123\n"):
        with pytest.raises((AssertionError, ValueError)):
            assert_alike("loss 0.123, 17 rows\n", other)


def test_it_needs_numpy_alone() -> None:
    code = "import sys, bedplate.reference; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"'(\w+)'", done.stdout))
    assert "numpy" in loaded
    assert not loaded & {"torch", "sklearn", "scipy", "pydantic", "onnx", "onnxruntime", "pyarrow"}


def test_public_names_are_all_there_are() -> None:
    assert list(ref.__all__) == sorted(ref.__all__, key=lambda name: (not name.isupper(), name))
    assert all(getattr(ref, name) is not None for name in ref.__all__)
