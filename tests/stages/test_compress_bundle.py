"""A search under a budget on a run of digits: every figure it prints is one that its bundles bear out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.compression.front import Budget, Choice, Point
from bedplate.compression.measure import Latency
from bedplate.core.errors import BedplateError, InputError, RunError
from bedplate.core.files import read_json
from bedplate.stages.compress_bundle import Compression, _confirmed, _selected, compress_bundle
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
        assert bundle.model["arguments"]["widths"] == ([16, 32, 32] if "width-0.5" in point.name else [32, 64, 64])
    chosen = found.choice.chosen
    assert chosen.size_bytes <= 200_000
    assert chosen.drop_high <= 5.0


def test_students_are_really_smaller(found: Compression) -> None:
    by_name = {point.name: point for point in found.front}
    student = next(point for name, point in by_name.items() if name.startswith("width-0.5"))
    assert student.facts["parameters"] < 0.35 * found.baseline.facts["parameters"]
    assert student.size_bytes < 0.4 * found.baseline.size_bytes
    assert any("distilled" in step for step in student.steps)


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
    points = [point("sure", 1.4, 0.1, 0.4), point("likely", 1.0, 0.2, 0.9), point("worse", 0.5, 2.0, 3.0)]
    assert _selected(points, budget).chosen.name == "sure"
    assert _selected(points[1:], budget).chosen.name == "likely"
    assert not _selected(points[2:], budget).feasible
    held = _confirmed(_selected(points[1:], budget), budget)  # its bound on the rows that were asked last
    assert (held.feasible, held.binding) == (False, ("max_drop",))
    assert _confirmed(Choice(True, points[0], ()), budget).feasible


def test_what_cannot_be_compressed(run: Path, found: Compression, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="something already"):
        compress_bundle(run, Budget(), out=found.out)
    with pytest.raises(BedplateError, match="no such bundle"):
        compress_bundle(tmp_path / "nowhere", Budget())
    with pytest.raises(InputError, match="no weights"):
        compress_bundle(found.bundles[found.choice.chosen.name], Budget(), out=tmp_path / "f")
    other = Path(shutil.copytree(run, tmp_path / "other"))
    recipe = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(recipe.replace("seed: 0", "seed: 1", 1))
    with pytest.raises(InputError, match="isn't what this bundle was trained on"):
        compress_bundle(other, Budget(), out=tmp_path / "f")
    assert not (tmp_path / "f").exists()


def _quiet() -> Any:
    from bedplate.core.console import Console

    return Console(quiet=True)


def _answers(graph: bytes, inputs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], dict(inputs))[0])
