"""A search under a budget on a run of digits: every figure it prints is one that its bundles bear out."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.compression.front import Budget, Choice, Point
from bedplate.compression.measure import Latency
from bedplate.core.console import Console
from bedplate.core.errors import BedplateError, InfeasibleError, InputError, RunError
from bedplate.core.files import read_json
from bedplate.models import Outputs, predictor
from bedplate.stages.bundle_network import rebuilt
from bedplate.stages.compress_bundle import Compression, compress_bundle, confirmed, preferred
from bedplate.stages.compress_trained import STORE
from bedplate.stages.data import load_data
from bedplate.stages.resolve import resolve

SETTINGS = ["training.epochs=10", "gate={}", "evaluation.resamples=100", "evaluation.baselines=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run("digits", tmp_path_factory.mktemp("digits") / "run", overrides=SETTINGS).path


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Compression:
    out = tmp_path_factory.mktemp("front") / "front"
    return compress_bundle(run, Budget(max_size_mb=0.2, max_drop=5.0), out=out, effort="quick")


def test_the_front_is_ordered_and_its_points_are_what_their_bundles_say(found: Compression) -> None:
    assert found.choice.feasible
    assert len(found.front) >= 2
    sizes = [point.size_bytes for point in found.front]
    assert sizes == sorted(sizes)
    for point in found.front:
        bundle = Bundle.open(found.bundles[point.name])
        graph = bundle.graph(bundle.default)
        assert len(graph) == point.size_bytes
        assert bundle.lineage["compression"]["steps"] == list(point.steps)
        assert bundle.report["metrics"][point.metric[0]]["value"] == pytest.approx(point.metric[1])
        assert bundle.model["arguments"]["widths"] == [32, 64, 64]
        assert bool(bundle.model.get("changes")) == ("cost-25" in point.name)
    chosen = found.choice.chosen
    assert chosen.size_bytes <= 200_000
    assert chosen.drop_high <= 5.0


def test_students_are_really_smaller(found: Compression) -> None:
    by_name = {point.name: point for point in found.front}
    student = next(point for name, point in by_name.items() if name.startswith("cost-25"))
    assert student.facts["macs"] < 0.6 * found.baseline.facts["macs"]
    assert student.facts["parameters"] < 0.4 * found.baseline.facts["parameters"]
    assert student.size_bytes < 0.6 * found.baseline.size_bytes
    assert any("distillation" in step for step in student.steps)


def test_a_pruned_network_is_kept_as_a_plan_and_weights(run: Path, found: Compression) -> None:
    folder = next(path for path in (found.out / "networks").iterdir() if path.name.startswith("cost-25"))
    model, dataset = read_json(folder / "model.json"), load_data(resolve(str(run / "recipe.yaml")), _quiet())
    network = rebuilt(model, Outputs(10), 0)
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    replayed = compress_bundle(run, Budget(), out=found.out.parent / "plain", steps=_plain_steps(found, folder.name))
    graph = Bundle.open(replayed.bundles["student"]).graph("f32")
    rows = {"image": dataset.test.inputs["image"][:50]}
    np.testing.assert_allclose(predictor(network)(rows)["probabilities"], _answers(graph, rows), atol=1e-5)


def _plain_steps(found: Compression, name: str) -> Path:
    """Return a file with a point's steps without the quantisation."""
    told = yaml.safe_load((found.out / f"{name}.steps.yaml").read_text())
    told["steps"] = [step for step in told["steps"] if step["do"] in ("prune", "distil")]
    path = found.out.parent / "student.steps.yaml"
    path.write_text(yaml.safe_dump({"name": "student", "steps": told["steps"]}))
    return path


def test_steps_done_again_elsewhere_give_the_same_graph(run: Path, found: Compression, tmp_path: Path) -> None:
    name = next(point.name for point in found.front if point.name.startswith("cost-25"))
    other = Path(shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns("compress*")))
    again = compress_bundle(other, Budget(), out=tmp_path / "front", steps=found.out / f"{name}.steps.yaml")
    first, second = (Bundle.open(one.bundles[name]) for one in (found, again))
    assert first.graph(first.default) == second.graph(second.default)


def test_another_budget_trains_nothing_twice(run: Path, found: Compression, tmp_path: Path) -> None:
    said = io.StringIO()
    again = compress_bundle(run, Budget(max_drop=9), out=tmp_path / "f", effort="quick", console=Console(said))
    assert "trained before: 3 epochs of soft-target distillation" in said.getvalue()
    assert {point.size_bytes for point in again.front} & {point.size_bytes for point in found.front}


def test_what_was_trained_before_and_does_not_fit_is_made_anew(run: Path, found: Compression, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns("compress")))
    kept = sorted((other / STORE).glob("*.safetensors"))
    assert kept
    for k, path in enumerate(kept):
        if k % 2:
            path.write_bytes(path.read_bytes()[:100])
        else:
            save_file({name: one[:1] for name, one in load_file(path).items() if one.ndim}, path)
    said, name = io.StringIO(), next(point.name for point in found.front if point.name.startswith("cost-25"))
    steps = found.out / f"{name}.steps.yaml"
    again = compress_bundle(other, Budget(), out=tmp_path / "front", steps=steps, console=Console(said))
    assert "what was trained before can't be used, so it is made anew" in said.getvalue()
    first, second = (Bundle.open(one.bundles[name]) for one in (found, again))
    assert first.graph(first.default) == second.graph(second.default)


def test_another_metric_and_another_processor(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "front"
    found = compress_bundle(run, Budget(), out=out, effort="quick", metric="log_loss", target="avx2")
    assert found.baseline.metric[0] == "log_loss"
    for point in found.front:
        bundle = Bundle.open(found.bundles[point.name])
        for tensor in onnx.load_from_string(bundle.graph(bundle.default)).graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
                assert np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64
    with pytest.raises(InputError, match="unknown metric 'logloss'"):
        compress_bundle(run, Budget(), out=tmp_path / "g", metric="logloss")
    with pytest.raises(InputError, match="unknown target 'sse'"):
        compress_bundle(run, Budget(), out=tmp_path / "g", target="sse")
    assert not (tmp_path / "g").exists()
    said = io.StringIO()
    with pytest.raises(RunError, match="something already"):
        compress_bundle(run, Budget(), out=out, console=Console(said))
    assert "data" not in said.getvalue()  # told before anything is read


def test_a_run_of_a_larger_machine_with_a_gpu_is_compressed_here(run: Path, tmp_path: Path) -> None:
    there = tmp_path / "run"
    shutil.copytree(run, there)
    told = yaml.safe_load((there / "recipe.yaml").read_text())
    told["training"] |= {"device": "cuda", "threads": 4096}
    (there / "recipe.yaml").write_text(yaml.safe_dump(told))
    said = io.StringIO()
    steps = tmp_path / "int8.steps.yaml"
    steps.write_text("name: int8\nsteps: [{do: quantise, method: int8-static}]\n")
    found = compress_bundle(there, Budget(), out=tmp_path / "front", steps=steps, console=Console(said))
    assert {point.name for point in found.front} >= {"int8"}
    assert ("trained on a GPU" in said.getvalue()) is not torch.cuda.is_available()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nsteps: 3\n", "no steps lie here"), ("{", "can't be read"),
        ("name: x\nsteps: [{do: prun, macs: 0.5}]", "unknown step 'prun'"),
        ("name: x\nsteps: [{do: prune}]", "needs one of macs"),
        ("name: x\nsteps: [{do: prune, mac: 0.5}]", "unknown argument"),
        ("name: x\nsteps: [{do: quantise, method: int9}]", "int9"),
        ("name: x\nsteps: [{do: quantise, method: int8-static}, {do: zero, share: 0.5}]", "step 1: 'quantise' can only"),
        ("name: x\nsteps:\n  - do: prune\n    macs: [", "steps.yaml:"),
    ],
)  # fmt: skip
def test_steps_that_cannot_be(run: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "steps.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        compress_bundle(run, Budget(), out=tmp_path / "front", steps=tmp_path / "steps.yaml")
    assert not (tmp_path / "front").exists()


def test_the_report_draws_and_tells_the_front(found: Compression) -> None:
    page, picture = (found.out / "report.html").read_text(), (found.out / "front.svg").read_text()
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for point in found.front:
        assert f"{point.name}: " in picture
        assert point.name in page
    assert "times smaller" in page
    assert "class:" in page  # what single classes lose
    assert "<script" not in page


def test_a_recipes_budget_is_met_after_the_run(tmp_path: Path) -> None:
    budget = "compression.budget={max_size_mb: 0.2, max_drop: 9, effort: quick}"
    outcome = pipeline.run("digits", tmp_path / "run", overrides=[*SETTINGS, budget])
    found = outcome.figures["compression"]
    assert found["feasible"]
    assert Bundle.open(found["front"][0]["bundle"]).name == "digits"
    written = (tmp_path / "run" / "compressed" / "compress.json").stat().st_mtime_ns
    pipeline.run("digits", tmp_path / "run", overrides=[*SETTINGS, budget], mode="resume")
    assert (tmp_path / "run" / "compressed" / "compress.json").stat().st_mtime_ns == written
    tight = [*SETTINGS, "compression.budget={max_size_mb: 0.000001, effort: quick}"]
    outcome = pipeline.run("digits", tmp_path / "run", overrides=tight, mode="resume")
    with pytest.raises(InfeasibleError, match="no candidate meets the budget"):
        outcome.raise_for_gate()


def test_what_a_recipe_names_is_learnt_from(run: Path, tmp_path: Path) -> None:
    """A student of one's own, another teacher beside the original, features transferred, and rows without labels."""
    images = np.random.default_rng(0).integers(0, 17, (12, 8, 8), dtype=np.uint8) * 15
    (tmp_path / "more").mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / "more" / f"{number}.png")
    other = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("compress*")))
    recipe = yaml.safe_load((other / "recipe.yaml").read_text())
    recipe["compression"] |= {
        "student": {"name": "cnn", "widths": [8, 16]}, "teachers": [str(run / "bundle")],
        "distillation": {"name": "feature-transfer", "similarity": 1.0}, "methods": [],
        "unlabelled": {"source": str(tmp_path / "more"), "threshold": 0.0},
    }  # fmt: skip
    (other / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    said = io.StringIO()
    found = compress_bundle(other, Budget(), out=tmp_path / "front", effort="quick", console=Console(said))
    assert "12 rows without labels get the original's answer" in said.getvalue()
    student = next(point for point in (*found.front, *found.others) if point.name == "student")
    assert student.steps[0] == "a new cnn"
    assert "feature-transfer" in student.steps[1]
    assert student.facts["parameters"] < found.baseline.facts["parameters"] / 3
    assert not any("int8" in point.name for point in (*found.front, *found.others))


def test_drops_are_those_of_the_test_rows(run: Path, found: Compression) -> None:
    dataset = load_data(resolve(str(run / "recipe.yaml")), _quiet())
    original = _answers(Bundle.open(run / "bundle").graph("f32"), dataset.test.inputs)
    right = original.argmax(1) == dataset.test.targets
    for point in found.front:
        bundle = Bundle.open(found.bundles[point.name])
        answers = _answers(bundle.graph(bundle.default), dataset.test.inputs).argmax(1) == dataset.test.targets
        assert point.metric == ("accuracy", pytest.approx(answers.mean()))
        assert point.drop == pytest.approx(100 * (right.mean() - answers.mean()))
        assert point.drop_high >= point.drop


def test_what_is_said_is_what_is_written(found: Compression) -> None:
    said: dict[str, Any] = json.loads(json.dumps(found.to_json()))
    assert read_json(found.out / "compress.json") == said
    assert said["chosen"] in [point["name"] for point in said["front"]]
    assert set(said["baseline"]) >= {"size_bytes", "latency_ms", "metric"}
    assert all(Path(point["bundle"]).is_dir() for point in said["front"])


def test_a_point_is_served_and_predicts_like_any_other_bundle(found: Compression) -> None:
    bundle = Bundle.open(found.bundles[found.choice.chosen.name])
    answer = bundle.predict([np.zeros((8, 8, 1), np.uint8)])[0]
    assert answer["answer"] in bundle.answers.labels


def test_an_infeasible_budget_still_gives_the_front(run: Path, tmp_path: Path) -> None:
    found = compress_bundle(run, Budget(max_size_mb=0.0001), out=tmp_path / "front", effort="quick")
    assert not found.choice.feasible
    assert found.choice.binding == ("max_size_mb",)
    assert found.choice.chosen.size_bytes == min(point.size_bytes for point in found.front)


def test_a_bundle_alone_will_do_where_its_data_is_there(run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "alone"))
    found = compress_bundle(bundle, Budget(), out=tmp_path / "front", effort="quick")
    assert found.choice.feasible
    assert found.choice.binding == ()


def test_few_validation_rows_choose_by_the_drop_itself_and_test_rows_decide() -> None:
    def point(name: str, ms: float, drop: float, high: float) -> Point:
        return Point(name, (), 1000, Latency(ms, ms, 9), ("accuracy", 0.9), drop, high)

    budget = Budget(max_latency_ms=1.5, max_drop=0.5)
    sure, likely, worse = point("sure", 1.4, 0.1, 0.4), point("likely", 1.0, 0.2, 0.9), point("worse", 0.5, 2.0, 3.0)
    order = preferred([worse, likely, sure], budget)
    assert order == ["sure", "likely", "worse"]
    assert confirmed(order, [sure, likely, worse], budget) == (Choice(True, sure, ()), 0)
    lost, held = point("sure", 1.4, 0.5, 0.8), point("likely", 1.0, 0.1, 0.3)  # on the rows that are asked last
    assert confirmed(order, [lost, held, worse], budget) == (Choice(True, held, ()), 1)
    none, passed = confirmed(order, [lost, likely, worse], budget)
    assert (none.feasible, none.chosen, none.binding, passed) == (False, lost, ("max_drop",), 3)


def test_what_cannot_be_compressed(run: Path, found: Compression, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="something already"):
        compress_bundle(run, Budget(), out=found.out)
    with pytest.raises(BedplateError, match="no such bundle"):
        compress_bundle(tmp_path / "nowhere", Budget())
    quantised = next(name for name in found.bundles if "int8" in name)
    with pytest.raises(InputError, match="only a quantised graph is left"):
        compress_bundle(found.bundles[quantised], Budget(), out=tmp_path / "f")
    other = Path(shutil.copytree(run, tmp_path / "other"))
    recipe = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(recipe.replace("seed: 0", "seed: 1", 1))
    with pytest.raises(InputError, match="isn't what this bundle was trained on"):
        compress_bundle(other, Budget(), out=tmp_path / "f")
    assert not (tmp_path / "f").exists()


def _quiet() -> Console:
    return Console(quiet=True)


def _answers(graph: bytes, inputs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], dict(inputs))[0])


@pytest.mark.slow
def test_thorough_tries_what_optuna_draws_and_every_form(run: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    found = compress_bundle(run, Budget(max_drop=9), out=tmp_path / "f", effort="thorough", console=Console(said))
    assert "optuna draws 16 students" in said.getvalue()
    assert "trial-" in said.getvalue()
    names = {point.name for point in (*found.front, *found.others)} | {name for name, _ in found.refused}
    assert {f"original-{form}" for form in ("int8-aware", "int8-percentile", "int8-weights", "fp16-storage")} <= names
    assert any(name.startswith("low-rank") for name in names)
    assert any(name.startswith("tucker") for name in names)
    assert found.choice.feasible
