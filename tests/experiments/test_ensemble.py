"""An ensemble is one ordinary bundle, judged honestly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.core.console import Console
from bedplate.core.errors import RecipeError
from bedplate.experiments.experiment import ExperimentOutcome, experiment
from bedplate.experiments.matrix import build_matrix
from bedplate.experiments.spec import read_experiment
from bedplate.export.ensemble import combine_answers
from bedplate.models import predictor
from bedplate.stages.data import load_data
from bedplate.stages.folder import RunFolder
from bedplate.stages.train import load_network
from bedplate.stages.work import Work

ALONE = """
import json, sys
from bedplate.bundle import Bundle
bundle = Bundle.open(sys.argv[1])
golden = bundle.golden
row = {name: values[0].item() if hasattr(values[0], "item") else values[0] for name, values in golden.inputs.items()}
answer = bundle.predict([row])[0]
print(json.dumps({"answer": answer["answer"], "torch": "torch" in sys.modules, "onnx": "onnx" in sys.modules}))
"""


def works(file: Path, out: Path, arm: str) -> list[Work]:
    """Return each of an arm's runs, as its folder holds it."""
    found = []
    for cell in build_matrix(read_experiment(file), file.parent).of(arm):
        quiet = Console(quiet=True)
        found.append(Work(cell.resolved, load_data(cell.resolved, quiet), RunFolder(out / cell.folder), quiet))
    return found


def test_it_opens_and_answers_without_torch(wine: ExperimentOutcome) -> None:
    command = [sys.executable, "-c", ALONE, wine.figures["ensemble"]["bundle"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["torch"] is False
    assert found["onnx"] is False
    assert found["answer"] in {"class_0", "class_1", "class_2"}


def test_the_graph_shares_one_pre_graph_and_names_its_members(wine: ExperimentOutcome) -> None:
    import onnx

    bundle = Bundle.open(wine.figures["ensemble"]["bundle"])
    graph = onnx.load_from_string(bundle.graph("f32")).graph
    names = [node.name for node in graph.node] + [value.name for value in graph.initializer]
    for k in range(3):
        assert any(f"member{k}/" in name for name in names)
    assert not any("member" in name and "codec/" in name for name in names), "the pre-graph is there once"
    lineage = bundle.lineage
    assert [one["seed"] for one in lineage["members"]] == [0, 1, 2]
    assert len({one["weights_sha256"] for one in lineage["members"]}) == 3
    assert bundle.model["name"] == "ensemble"
    assert len(bundle.model["members"]) == 3
    assert {name.partition("/")[0] for name in bundle.weights()} == {"member0", "member1", "member2"}
    assert "3 members" in bundle.card


def test_it_votes_as_its_members_do(wine: ExperimentOutcome) -> None:
    """Each member's own answers come from its own network, loaded from its run's folder."""
    outputs = []
    for work in works(wine.path.parent / "wine.yaml", wine.path, "full"):
        test = work.dataset.test
        outputs.append(predictor(load_network(work))(work.features(test))["probabilities"])
    bundle = Bundle.open(wine.figures["ensemble"]["bundle"])
    joined = OnnxPredict(bundle.graph("f32"), variant="f32")(test.inputs)["probabilities"]
    assert np.allclose(joined, combine_answers(outputs, "vote"), atol=1e-5)


def test_it_is_judged_beside_its_best_member(wine: ExperimentOutcome) -> None:
    found = wine.figures["ensemble"]
    full = next(arm for arm in wine.figures["arms"] if arm["name"] == "full")["runs"]
    best = max(full, key=lambda run: run["validation"])
    assert found["best_member"] == f"full, seed {best['seed']}", "chosen on validation rows"
    assert found["best_member_metrics"]["accuracy"]["value"] == pytest.approx(best["test"])
    assert found["verdict"]["paired"] is True
    assert found["verdict"]["low"] <= found["verdict"]["difference"] <= found["verdict"]["high"]
    page = (wine.path / "ensemble" / "report.html").read_text()
    assert "best member alone" in page


def test_members_that_saw_the_test_rows_are_refused_before_training(experiment_file: Path) -> None:
    text = experiment_file.read_text().replace("seeds: 3", "folds: 3\nensemble: {of: full}")
    experiment_file.write_text(text)
    out = experiment_file.parent / "out"
    with pytest.raises(RecipeError, match="trained on rows that would judge it"):
        experiment(experiment_file, out)
    assert not out.exists()


def test_one_member_is_none(experiment_file: Path) -> None:
    experiment_file.write_text(experiment_file.read_text().replace("seeds: 3", "seeds: 1\nensemble: {of: full}"))
    with pytest.raises(RecipeError, match="two members"):
        experiment(experiment_file, experiment_file.parent / "out")


def test_members_of_folds_keep_their_own_codec_and_average_numbers(tmp_path: Path) -> None:
    """With an official test file folds may be joined: no member saw its rows."""
    draw = np.random.default_rng(0)
    for name, rows in (("train", 90), ("test", 40)):
        x = draw.normal(size=(rows, 2))
        lines = [f"{a:.6f},{b:.6f},{'ab'[int(a > 0)]},{3 * a - b:.6f}" for a, b in x]
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,z,c,y", *lines]) + "\n")
    (tmp_path / "own.yaml").write_text(
        "name: own\ntask: tabular-regression\ndata: {files: {train: train.csv, test: test.csv}, target: y}\n"
        "training: {epochs: 4}\nevaluation: {resamples: 100}\n"
    )
    (tmp_path / "e.yaml").write_text("name: e\nbase: own.yaml\narms: {only: {}}\nfolds: 3\nensemble: {}\n")
    found = experiment(tmp_path / "e.yaml", tmp_path / "out").raise_for_failures().figures["ensemble"]
    bundle = Bundle.open(found["bundle"])
    assert len(found["members"]) == 3
    payloads = [{"x": 0.5, "z": 0.1, "c": "a"}, {"x": -2.0, "z": None, "c": "b"}]
    alone = []
    for work in works(tmp_path / "e.yaml", tmp_path / "out", "only"):
        codec = work.dataset.codec
        alone.append(predictor(load_network(work))(codec.features(codec.decode(payloads)))["value"])
    assert not np.allclose(alone[0], alone[1]), "members of different folds differ"
    assert [answer["value"] for answer in bundle.predict(payloads)] == pytest.approx(np.mean(alone, axis=0), rel=1e-4)
