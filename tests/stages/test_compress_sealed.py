"""Bundles that can't be trained on: their graph alone is quantised, and that is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bedplate as bp
from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.bundle.foreign import ImportSpec, import_onnx
from bedplate.compression.front import Budget
from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.models import models
from bedplate.stages.compress_bundle import compress_bundle


def foreign(path: Path, classes: int) -> Path:
    """Write a graph of two dense layers, made elsewhere; with one class it answers a number."""
    draw = np.random.default_rng(0)
    shapes = {"w": (12, 64), "v": (64, classes)}
    weights = {name: draw.normal(size=shape).astype(np.float32) * 0.3 for name, shape in shapes.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"), helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "v"], ["s" if classes > 1 else "y"], name="second"),
        *([helper.make_node("Softmax", ["s"], ["y"], axis=1, name="softmax")] if classes > 1 else []),
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 12), ("y", classes))
    ]
    graph = helper.make_graph(
        nodes, "foreign", ends[:1], ends[1:], [numpy_helper.from_array(w, name) for name, w in weights.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def imported(tmp_path: Path, classes: int, labels: tuple[str, ...] | None, rows: int = 90) -> Bundle:
    golden = tmp_path / "rows.npz"
    np.savez(golden, x=np.random.default_rng(1).normal(size=(rows, 12)).astype(np.float32))
    spec = ImportSpec(golden=golden, labels=labels)
    return import_onnx(foreign(tmp_path / "m.onnx", classes), tmp_path / "m", spec)


def test_an_imported_graph_is_quantised_and_judged_against_its_own_answers(tmp_path: Path) -> None:
    bundle = imported(tmp_path, 3, ("a", "b", "c"))
    said = io.StringIO()
    found = compress_bundle(bundle.path, Budget(max_size_mb=0.0025), out=tmp_path / "front", console=Console(said))
    assert "only the graph can be quantised: it was not trained here" in said.getvalue()
    assert found.baseline.metric == ("accuracy", 1.0)  # its own answers are the truth
    assert "own answers" in found.notes[0]
    assert found.choice.feasible
    small = Bundle.open(found.bundles[found.choice.chosen.name])
    assert len(small.graph(small.default)) < 2500 < len(bundle.graph("f32"))
    rows = {"x": bundle.golden.inputs["x"]}
    before, after = (one.predictor()(rows)[one.output] for one in (bundle, small))
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.9
    assert small.lineage["parent"] == bundle.id
    assert not (found.out / "networks").exists()


def test_plain_tensors_and_too_few_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="can't be judged"):
        compress_bundle(imported(tmp_path / "a", 3, None).path, Budget(), out=tmp_path / "front")
    with pytest.raises(InputError, match="too few golden rows"):
        compress_bundle(imported(tmp_path / "b", 3, ("a", "b", "c"), 8).path, Budget(), out=tmp_path / "front")
    assert not (tmp_path / "front").exists()


PLUGIN = '''
import bedplate as bp
from torch import nn

@bp.register_model("small-of-the-tests")
def small(inputs, outputs, *, units: int = 32):
    """A perceptron of one layer."""
    return Small(inputs, outputs.width, units)

class Small(nn.Module):
    def __init__(self, inputs, width, units):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, width))

    def forward(self, image):
        return self.layers(image)
'''


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "small.py").write_text(PLUGIN)
    (tmp_path / "recipe.yaml").write_text(
        "name: small\ntask: image-classification\ndata: {source: digits, split: {validation: 0.2, test: 0.3}}\n"
        "model: {name: small-of-the-tests}\ntraining: {epochs: 6, batch_size: 64}\nevaluation: {baselines: false, resamples: 100}\n"
        "plugins: [./small.py]\n"
    )
    return pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run").path


def test_a_plug_in_gets_the_whole_search_and_where_it_is_missing_its_graph_is_quantised(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compress_bundle(run, Budget(), out=tmp_path / "whole", effort="quick")
    assert any("cost-25" in point.name for point in (*whole.front, *whole.others)), whole.refused
    monkeypatch.delitem(models._parts, "small-of-the-tests")
    monkeypatch.chdir(tmp_path / "whole")
    alone = compress_bundle(run / "bundle", Budget(), out=tmp_path / "alone", effort="quick")
    assert "'small-of-the-tests' is not registered here" in alone.notes[0]
    assert {point.name for point in alone.front} <= {"original", "original-int8-static", "original-int8-dynamic"}
    assert alone.baseline.metric[0] == "accuracy"
    assert alone.settings["rows"]["test"] > 400  # the recipe's own, not the golden ones
    again = compress_bundle(
        run / "bundle", Budget(), out=tmp_path / "again", steps=tmp_path / "alone" / "original-int8-static.steps.yaml"
    )
    assert [point.name for point in again.front] == ["original-int8-static", "original"]


def test_a_float_point_of_a_front_has_no_weights_so_its_graph_is_quantised(tmp_path: Path) -> None:
    settings = ["training.epochs=4", "evaluation={baselines: false, resamples: 100}"]
    run = pipeline.run("wine", tmp_path / "run", overrides=settings).path
    front = bp.compress(run, effort="quick", out=tmp_path / "front")
    again = bp.compress(front.bundles["original"], effort="quick", out=tmp_path / "again")
    assert "it holds no weights" in again.notes[0]
    assert {point.name for point in again.front} >= {"original"}
