"""A trained bundle leaves in each format, answers there as here, and its README's lines do what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bundle.boxes import LABELS, image_bundle, image_graph, images, table_bundle
from tests.bundle.test_foreign import linear

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.bundle.foreign import ImportSpec, import_onnx
from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, Predict
from bedplate.core.errors import BundleError, GateError, InputError, RunError
from bedplate.core.openvino_import import installed
from bedplate.export.formats import FORMATS, Format
from bedplate.stages.export_bundle import export_bundle

SETTINGS = ["training.epochs=4", "gate={}", "evaluation.resamples=100", "evaluation.baselines=false"]
OPENVINO = pytest.param("openvino", False, marks=pytest.mark.skipif(not installed(), reason="openvino isn't installed"))
OPENVINO_INT8 = pytest.param("openvino", True, marks=OPENVINO.marks)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = [*SETTINGS, "compression.methods=[int8-static]", "compression.max_drop=100"]
    return pipeline.run("digits", tmp_path_factory.mktemp("digits") / "run", overrides=settings).path


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = [*SETTINGS, "compression.methods=[]"]
    return pipeline.run("wine", tmp_path_factory.mktemp("wine") / "run", overrides=settings).path


def ran(folder: Path) -> np.ndarray:
    """Return what the README's lines answer about a row of zeros, in a process of their own."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    script = f"{code[1]}\nimport json\nprint(json.dumps(answers.tolist()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return np.array(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("to", "int8"), [("onnx-fp16", False), ("torch-export", False), OPENVINO, OPENVINO_INT8]
)  # fmt: skip
def test_images_leave_and_answer_alike(to: str, int8: bool, digits: Path, tmp_path: Path) -> None:
    found = export_bundle(digits, to, out=tmp_path / "out", int8=int8)
    record = json.loads((found.path / "export.json").read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(found.record))
    bundle = Bundle.open(digits / "bundle")
    assert record["bundle"]["id"] == bundle.id
    assert record["contract"]["labels"] == list(bundle.answers.labels or ())
    assert record["parity"]["golden"]["rows"] == bundle.golden.rows
    exact = to != "onnx-fp16" and not int8
    for rows in ("golden", "edge"):
        assert record["parity"][rows]["max_difference"] < (1e-4 if exact else 0.2)
        assert record["parity"][rows]["within"] or not exact
    assert record["size_bytes"]["export"] == sum(
        path.stat().st_size for path in found.path.iterdir() if path.name not in ("export.json", "README.md")
    )
    assert (record["size_bytes"]["export"] < 0.6 * record["size_bytes"]["onnx"]) == (not exact)
    assert 0 < record["latency_ms"]["export"]["median"] <= record["latency_ms"]["export"]["p95"]
    zeros = {"image": np.zeros((1, 8, 8, 1), np.uint8)}
    wanted = bundle.predictor("int8-static" if int8 else "f32")(zeros)["probabilities"]
    np.testing.assert_allclose(ran(found.path), wanted, atol=1e-5 if exact else 5e-3 if not int8 else 0.2)


@pytest.mark.parametrize(("to", "int8"), [("onnx-fp16", False), ("torch-export", False), OPENVINO])
def test_tables_leave_with_what_makes_their_features(to: str, int8: bool, wine: Path, tmp_path: Path) -> None:
    found = export_bundle(wine / "bundle", to, out=tmp_path / "out", int8=int8)
    bundle = Bundle.open(wine / "bundle")
    assert found.record["parity"]["golden"]["label_agreement"] == 1.0
    taken = {one["name"] for one in found.record["contract"]["inputs"]}
    if to != "torch-export":
        assert taken == {spec.name for spec in bundle.inputs}
        return
    assert taken == {"numeric"}
    features = OnnxPredict((found.path / "features.onnx").read_bytes(), variant="features")(bundle.golden.inputs)
    run = FORMATS[to].open(found.path, ["numeric"], "probabilities")
    wanted = bundle.predictor("f32")(bundle.golden.inputs)["probabilities"]
    np.testing.assert_allclose(run(features)["probabilities"], wanted, atol=1e-5)
    assert "features.onnx" in (found.path / "README.md").read_text(encoding="utf-8")


def test_an_imported_bundle_leaves_as_a_graph_only(tmp_path: Path) -> None:
    bundle = import_onnx(linear(tmp_path / "scorer.onnx"), tmp_path / "box", ImportSpec())
    found = export_bundle(bundle.path, "onnx-fp16", out=tmp_path / "half")
    assert found.record["parity"]["golden"]["label_agreement"] is None
    assert "edge" not in found.record["parity"]  # its ranges aren't known
    with pytest.raises(InputError, match="an imported model is a graph"):
        export_bundle(bundle.path, "torch-export", out=tmp_path / "program")


def test_what_answers_otherwise_is_not_written(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(run: Predict) -> Predict:
        def other(rows: Arrays) -> Arrays:
            return {name: np.roll(array, 1, axis=-1) for name, array in run(rows).items()}

        return other

    for name in ("onnx-fp16", "torch-export"):
        good = FORMATS[name]
        made: dict[str, Any] = {**vars(good), "open": lambda *given, good=good: wrong(good.open(*given))}
        monkeypatch.setitem(FORMATS, name, Format(**made))
        with pytest.raises(GateError, match="golden rows: the exported model"):
            export_bundle(digits, name, out=tmp_path / "deep" / "out")
        assert not (tmp_path / "deep" / "out").exists()
        assert list((tmp_path / "deep").iterdir()) == []


def test_what_cannot_be_exported(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        export_bundle(digits, "openvno")
    with pytest.raises(InputError, match="onnx-fp16 has no int8"):
        export_bundle(digits, "onnx-fp16", int8=True)
    with pytest.raises(BundleError, match="no such bundle"):
        export_bundle(tmp_path / "nowhere", "onnx-fp16")
    (tmp_path / "there").mkdir()
    with pytest.raises(RunError, match="something already"):
        export_bundle(digits, "onnx-fp16", out=tmp_path / "there")
    without = image_bundle(tmp_path / "without", weights=None)
    with pytest.raises(InputError, match="holds no weights, and this format begins with them"):
        export_bundle(without.path, "torch-export")
    outputs = {"classes": len(LABELS), "mean": 0.0, "std": 1.0}
    inputs = {"kind": "image", "height": 8, "width": 8, "channels": 1, "mean": [127.5], "std": [127.5]}
    model = {"name": "linear", "arguments": {}, "inputs": inputs, "outputs": outputs}
    with pytest.raises(BundleError, match="the weights don't fit the model"):
        export_bundle(image_bundle(tmp_path / "odd", model=model).path, "torch-export")
    with pytest.raises(InputError, match=r"isn't registered here .*unknown model 'mine'"):
        export_bundle(image_bundle(tmp_path / "mine", model={**model, "name": "mine"}).path, "torch-export")
    assert not (tmp_path / "exported").exists()


@pytest.mark.skipif(not installed(), reason="openvino isn't installed")
def test_openvino_refuses_text_and_int8_that_is_not_there(tmp_path: Path) -> None:
    table = table_bundle(tmp_path / "table", weights=None)
    with pytest.raises(InputError, match=r"town: OpenVINO takes no text .* LabelEncoder"):
        export_bundle(table.path, "openvino")
    with pytest.raises(InputError, match="holds no int8 graph with fixed ranges"):
        export_bundle(table.path, "openvino", int8=True)
    assert not list((tmp_path / "exported").iterdir())


def test_a_bundle_of_int8_alone_is_no_source_of_float(tmp_path: Path, digits: Path) -> None:
    quantised = Bundle.open(digits / "bundle")
    golden = quantised.golden
    box = image_bundle(
        tmp_path / "point", graphs={"int8-static": quantised.graph("int8-static")}, default="int8-static",
        codec=quantised.codec, answers=quantised.answers, weights=None,
        golden=type(golden)(golden.inputs, {"int8-static": golden.outputs["int8-static"]}, golden.labels),
        variants_info={"int8-static": {"tolerance": {"atol": 5e-3, "rtol": 1e-2}}},
    )  # fmt: skip
    with pytest.raises(InputError, match="nothing but an int8 graph"):
        export_bundle(box.path, "onnx-fp16")


def test_an_archive_goes_beside_itself(tmp_path: Path) -> None:
    from bedplate.bundle import pack_archive

    archive = pack_archive(image_bundle(tmp_path / "box").path, tmp_path / "away" / "small.bundle")
    found = export_bundle(archive, "onnx-fp16")
    assert found.path == tmp_path / "away" / "exported" / "onnx-fp16"
    run = OnnxPredict((found.path / "model.onnx").read_bytes(), variant="fp16")
    like = OnnxPredict(image_graph(), variant="f32")
    np.testing.assert_allclose(
        run({"image": images(3)})["probabilities"], like({"image": images(3)})["probabilities"], atol=0.02
    )
