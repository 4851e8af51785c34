"""`bedplate import`: a bare ONNX file becomes a bundle that the other verbs take."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.bundle.test_foreign import convolution, linear

from bedplate.cli.import_model import _numbers, _size
from bedplate.cli.main import main
from bedplate.core.errors import InputError


def test_import_then_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = linear(tmp_path / "scorer.onnx")
    (tmp_path / "labels.txt").write_text("red\ngreen\n\nblue\n", encoding="utf-8-sig")
    out = str(tmp_path / "out")
    assert main(["import", str(path), "--labels", str(tmp_path / "labels.txt"), "--out", out, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["bundle"], said["name"]) == (out, "scorer")
    np.save(tmp_path / "rows.npy", np.eye(4, dtype=np.float32))
    assert main(["predict", out, str(tmp_path / "rows.npy"), "--json"]) == 0
    given = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (logits,) = ort.InferenceSession(str(path)).run(None, {"features": np.eye(4, dtype=np.float32)})
    assert [one["answer"] for one in given] == [("red", "green", "blue")[k] for k in logits.argmax(axis=1)]


def test_plain_outputs_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["import", str(linear(tmp_path / "a.onnx")), "--out", out]) == 0
    assert "features: float32 [rows, 4]" in capsys.readouterr().out
    (tmp_path / "rows.json").write_text("[[1, 0, 0, 0], [1, 2]]")
    assert main(["predict", out, str(tmp_path / "rows.json")]) == 2
    said = capsys.readouterr()
    name, _, text = said.out.strip().partition("\t")
    assert name == "rows.json:1"
    assert set(json.loads(text)) == {"scores"}
    assert "rows.json:2" in said.err


def test_image_flags_reach_the_graph(tmp_path: Path) -> None:
    path = convolution(tmp_path / "photo.onnx", ["rows", 3, "h", "w"])
    flags = [
        "--codec",
        "image",
        "--size",
        "8x9",
        "--scale",
        "1/255",
        "--mean",
        "0.5",
        "--std",
        "0.1,0.2,0.3",
        "--order",
        "bgr",
    ]
    assert main(["import", str(path), *flags, "--resize", "crop", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    codec = json.loads((tmp_path / "out" / "manifest.json").read_text())["contract"]["codec"]
    assert (codec["height"], codec["width"], codec["resize"]) == (8, 9, "crop")
    assert codec["std"] == pytest.approx([25.5, 51, 76.5])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--mean", "1"], "--codec image"),
        (["--columns", "columns.txt"], "--codec table"),
        (["--codec", "image", "--size", "big"], "HEIGHTxWIDTH"),
        (["--codec", "image", "--mean", "1,x"], "not a figure"),
        (["--codec", "image"], "not an image's shape"),
        (["--labels", "absent.txt"], "--labels absent.txt"),
        (["--labels", "twice.txt"], "more than once"),
        (["--labels", "binary.txt"], "UTF-8"),
        (["--labels", "empty.txt"], "nothing"),
        (["--rows", "0"], "--rows"),
        (["--golden", "absent.npz"], "absent.npz"),
        (["--name", "a/b"], "name"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    linear(tmp_path / "a.onnx")
    (tmp_path / "columns.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "empty.txt").write_text("\n")
    assert main(["import", "a.onnx", *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert not (tmp_path / "bundles").exists() or not list((tmp_path / "bundles").iterdir())


def test_figures_and_sizes() -> None:
    assert _numbers("1/4,2", "--mean") == (0.25, 2.0)
    assert (_size("224"), _size("8x9"), _size(None)) == ((224, 224), (8, 9), None)
    with pytest.raises(InputError):
        _numbers("1/0", "--scale")


def test_import_loads_no_torch(tmp_path: Path) -> None:
    path = linear(tmp_path / "a.onnx")
    script = (
        "import sys; from bedplate.cli.main import main;"
        f"sys.modules['onnx'] = None; code = main(['import', {str(path)!r}, '--out', {str(tmp_path / 'out')!r}]);"
        "assert code == 0 and not {'torch', 'sklearn', 'pyarrow'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)
