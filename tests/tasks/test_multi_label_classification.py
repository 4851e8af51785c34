"""Texts with several labels through the whole life: init, run, bundle, every protocol, drift, a smaller graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.data.topics import as_json_lines, notes
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.cli.main import main
from bedplate.compression.front import Budget
from bedplate.core.errors import RecipeError
from bedplate.models import Outputs, predictor
from bedplate.pipeline import Outcome
from bedplate.profile import Reference, compare
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bundle import compress_bundle
from bedplate.stages.init import init
from bedplate.stages.resolve import resolve

FAST = [
    "training.epochs=12",
    "model.size=16",
    "model.pairs=500",
    "training.optimizer.lr=0.02",
    "evaluation.resamples=100",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("notes")
    as_json_lines(made / "notes.jsonl", 600)
    return made


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    written = init(str(folder / "notes.jsonl"), None, str(folder / "notes.yaml"))
    assert written.task == "multi-label-classification"
    return pipeline.run(written.path, folder / "run", overrides=FAST)


@pytest.fixture(scope="module")
def box(outcome: Outcome) -> Bundle:
    return Bundle.open(outcome.figures["bundle"])


def test_it_learns_and_the_report_tells_each_label(outcome: Outcome, folder: Path) -> None:
    assert outcome.passed
    figures = outcome.figures["metrics"]
    assert next(iter(figures)) == "f1"
    assert figures["f1"]["value"] > 0.9
    assert 0 <= figures["f1"]["low"] <= figures["f1"]["value"] <= figures["f1"]["high"] <= 1
    baselines = json.loads((folder / "run" / "evaluate" / "baselines.json").read_text())
    assert set(baselines) == {"share of each label", "TF-IDF, a logistic regression a label"}
    html = Path(outcome.figures["report"]).read_text()
    for part in ("Label by label", "Sets that are right", "A row may have several labels", "weather"):
        assert part in html


def test_answers_are_sets_and_those_that_evaluation_judged(box: Bundle, folder: Path) -> None:
    both, none = box.predict(["the match and the storm", "they said that about people"])
    assert (both["answer"], none["answer"]) == (["sport", "weather"], [])
    assert set(both["probabilities"]) == {"sport", "money", "weather"}
    told = [json.loads(line) for line in (folder / "run" / "pack" / "predictions.jsonl").read_text().splitlines()]
    lines = (folder / "notes.jsonl").read_text().splitlines()
    rows = [json.loads(lines[int(one["input"].rpartition(":")[2]) - 1]) for one in told]
    assert [one["answer"] for one in box.predict([row["note"] for row in rows])] == [one["answer"] for one in told]
    right = np.mean([sorted(one["answer"]) == sorted(row["subjects"]) for one, row in zip(told, rows, strict=True)])
    assert right == pytest.approx(box.report["metrics"]["subset_accuracy"]["value"])


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_torch_and_onnx_agree(box: Bundle, rows: int) -> None:
    network = bundle_network(box, Outputs(many=3))
    for texts in (["rain"] * rows, [text for text, _ in notes(rows, seed=4)], ["and the " * 300] * rows):
        inputs = box.codec.decode(texts)
        ours = predictor(network)(box.codec.features(inputs))["label_probabilities"]
        np.testing.assert_allclose(box.predictor("f32")(inputs)["label_probabilities"], ours, atol=1e-5)


def test_every_protocol_answers_as_the_bundle(box: Bundle) -> None:
    texts = ["the match and the storm", "they said that about people", "bank shares rain goal"]
    wanted = box.predictor()(box.codec.decode(texts))["label_probabilities"]
    sets = [one["answer"] for one in box.predict(texts)]
    with running([("notes", box.path)], grpc_port=0) as server, httpx.Client(base_url=server.url) as client:
        assert [one["answer"] for one in client.post("/predict/notes", json=texts).json()["answers"]] == sets
        streamed = client.post("/predict/notes?stream=true", json=texts).text.splitlines()
        assert [json.loads(line)["answer"] for line in streamed] == sets
        tf = client.post("/v1/models/notes:predict", json={"instances": texts}).json()
        np.testing.assert_allclose(tf["predictions"], wanted, atol=1e-6)
        data = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3], "data": texts}]}
        oip = client.post("/v2/models/notes/infer", json=data).json()
        assert oip["outputs"][0]["name"] == "label_probabilities"
        np.testing.assert_allclose(np.reshape(oip["outputs"][0]["data"], (3, 3)), wanted, atol=1e-6)
        refused = client.post("/v1/models/notes:classify", json={"examples": [{"text": "rain"}]})
        assert refused.status_code == 400
        described = client.get("/models").json()
        assert described["models"][0]["any_of"] == ["money", "sport", "weather"]
        schema = json.dumps(client.get("/openapi.json").json())
        assert '"enum": ["money", "sport", "weather"]' in schema
        assert client.post("/predict/notes", json="").status_code == 400


def test_predict_prints_the_set(box: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(box.path), "--text", "storm at the bank"]) == 0
    wanted = json.dumps(box.predict(["storm at the bank"])[0]["answer"])
    assert capsys.readouterr().out == f"--text\t{wanted}\n"


def test_a_shift_of_what_is_answered_alarms(box: Bundle) -> None:
    def outputs(rows: int, seed: int, only: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        texts = [text for text, subjects in notes(rows, seed) if only is None or only in subjects]
        inputs = box.codec.decode(texts)
        return dict(inputs), dict(box.predictor()(inputs))

    reference = Reference.from_json(box.reference)
    assert {"answer.labels", "answer.sport", "answer.money", "answer.weather"} <= set(reference.features)
    usual = compare(reference, [reference.sketch(*outputs(300, 6))])
    shifted = compare(reference, [reference.sketch(*outputs(700, 7, only="weather"))])
    assert not usual.drift
    assert {"answer.weather", "answer.labels"} <= {one.name for one in shifted.moved}


def test_its_graph_alone_is_quantised_under_a_budget(outcome: Outcome, tmp_path: Path) -> None:
    found = compress_bundle(outcome.path, Budget(max_drop=5.0), out=tmp_path / "front", effort="quick")
    assert found.baseline.metric[0] == "f1"
    assert "isn't distilled yet" in found.notes[0]
    assert Bundle.open(found.bundles[found.choice.chosen.name]).answers.many == ("money", "sport", "weather")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("objective: {name: cross-entropy}", "is for classes"), ("gate: {minimum: {accuracy: 0.5}}", "one of f1"),
        ("training: {pseudo_labels: {source: x.csv}}", "pseudo-labels are for classes"),
        ("training: {sampling: balanced}", "for classes"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_told(folder: Path, more: str, match: str) -> None:
    path = folder / "w.yaml"
    path.write_text(
        "name: w\ntask: multi-label-classification\n"
        f"data: {{source: notes.jsonl, target: subjects, text: {{column: note}}}}\n{more}\n"
    )
    with pytest.raises(RecipeError) as caught:
        resolve(str(path))
    assert match in caught.value.message


def test_keys_of_the_other_kind_of_labels_are_refused(folder: Path) -> None:
    path = folder / "v.yaml"
    for task, key in (
        ("text-classification", "label_separator: ';'"),
        ("multi-label-classification", "positive: sport"),
        ("text-classification", "label_columns: [a]"),
        ("multi-label-classification", "label_columns: [a]"),
    ):
        path.write_text(f"name: v\ntask: {task}\ndata: {{source: notes.jsonl, target: subjects, {key}}}\n")
        with pytest.raises(RecipeError, match=r"one label only|each there or not|either `label_columns`"):
            resolve(str(path))
