"""Texts through the whole life: trained, sealed, predicted, served by every protocol, compressed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.data.reviews import BAD, GOOD, as_table, reviews
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.compression.front import Budget
from bedplate.core.arrays import take
from bedplate.core.errors import BedplateError
from bedplate.models import Outputs, predictor
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bundle import compress_bundle

RECIPE = """name: reviews
task: text-classification
data: {{source: {source}, target: sentiment}}
model: {model}
training: {{epochs: 8, batch_size: 16, optimizer: {{name: adamw, lr: 0.01}}}}
evaluation: {{resamples: 100}}
"""
MODELS = {
    "bag": "{name: bag, size: 16, pairs: 500}",
    "text-cnn": "{name: text-cnn, size: 16, filters: 16}",
    "lstm": "{name: lstm, size: 16, hidden: 16}",
    "gru": "{name: gru, size: 16, hidden: 16, both: false}",
    "transformer": "{name: transformer-encoder, size: 16, heads: 2, layers: 1}",
}


@pytest.fixture(scope="module", params=list(MODELS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("texts")
    table = as_table(place / "reviews.csv", 600)
    (place / "recipe.yaml").write_text(RECIPE.format(source=table, model=MODELS[request.param]))
    return pipeline.run(place / "recipe.yaml", place / "run").path


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return Bundle.open(run / "bundle")


def test_good_words_are_told_from_bad_ones_and_the_baseline_stands_beside(run: Path, bundle: Bundle) -> None:
    assert bundle.report["metrics"]["accuracy"]["value"] > 0.85  # of 90 rows
    assert "TF-IDF, logistic regression" in json.loads((run / "evaluate" / "baselines.json").read_text())
    answers = bundle.predict([f"the film was {word}" for word in (*GOOD, *BAD)])
    found = [answer["answer"] for answer in answers]
    assert sum(a == b for a, b in zip(found, ["good"] * len(GOOD) + ["bad"] * len(BAD), strict=True)) >= 10


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_torch_and_onnx_agree_at_every_length(bundle: Bundle, rows: int) -> None:
    network = bundle_network(bundle, Outputs(2))
    typical = [text for text, _ in reviews(rows, seed=9)]
    for texts in (["film"] * rows, typical, ["and the " * 500] * rows, [*typical[:-1], "wonderful"]):
        inputs = bundle.codec.decode(texts)
        ours = predictor(network)(bundle.codec.features(inputs))["probabilities"]
        for variant in bundle.variants:
            if variant == "f32":
                np.testing.assert_allclose(bundle.predictor(variant)(inputs)["probabilities"], ours, atol=1e-5)
        together = bundle.predictor()(inputs)["probabilities"]
        alone = [bundle.predictor()(take(inputs, slice(k, k + 1)))["probabilities"][0] for k in range(rows)]
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("run", ["bag", "lstm"], indirect=True)
def test_every_protocol_answers_as_the_bundle_and_refuses_what_is_no_text(bundle: Bundle) -> None:
    texts = ["a wonderful film", "dull and far too long, with an awful plot", "🎬 שלום 映画"]
    wanted = bundle.predictor()(bundle.codec.decode(texts))["probabilities"]
    labels = [answer["answer"] for answer in bundle.predict(texts)]
    with running([("reviews", bundle.path)], grpc_port=0) as server, httpx.Client(base_url=server.url) as client:
        for payload in (texts, [{"text": text} for text in texts], [{"review": text} for text in texts]):
            reply = client.post("/predict/reviews", json=payload).json()
            assert [answer["answer"] for answer in reply["answers"]] == labels
        plain = client.post("/predict/reviews", content=texts[2].encode(), headers={"content-type": "text/plain"})
        assert plain.json()["answers"][0]["answer"] == labels[2]
        lines = "review,stars\n" + "\n".join(f'"{text}",5' for text in texts)
        csv = client.post("/predict/reviews", content=lines.encode(), headers={"content-type": "text/csv"}).json()
        assert [answer["answer"] for answer in csv["answers"]] == labels
        tf = client.post("/v1/models/reviews:predict", json={"instances": texts}).json()
        np.testing.assert_allclose(tf["predictions"], wanted, atol=1e-6)
        data = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3], "data": texts}]}
        oip = client.post("/v2/models/reviews/infer", json=data).json()
        np.testing.assert_allclose(np.reshape(oip["outputs"][0]["data"], (3, 2)), wanted, atol=1e-6)
        for body, kind in ((b"\xff\xfe", "text/plain"), (b'""', "application/json"), (b"[5]", "application/json"),
                           (b'["fine", " "]', "application/json"), (b'{"body": "x"}', "application/json")):  # fmt: skip
            refused = client.post("/predict/reviews", content=body, headers={"content-type": kind})
            assert refused.status_code == 400, (body, refused.text)
        assert client.post("/predict/reviews", json="the film " * 100_000).status_code == 200  # cut, not refused
        empty = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [""]}]}
        assert client.post("/v2/models/reviews/infer", json=empty).status_code == 400
        for asked in (
            {"instances": [""]},
            {"instances": [{"text": " "}]},
            {"inputs": [""]},
            {"inputs": {"text": [""]}},
        ):
            assert client.post("/v1/models/reviews:predict", json=asked).status_code == 400, asked
        assert server.stop()[1].count("HEAVY []") == 1  # neither torch nor its friends


@pytest.mark.parametrize("run", ["bag"], indirect=True)
def test_the_command_line_reads_texts_and_tables(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a wonderful\nfilm")
    (tmp_path / "some.csv").write_text("review\na dull film\na superb film\n")
    words = [sys.executable, "-m", "bedplate", "predict", "--json", str(bundle.path)]
    done = subprocess.run([*words, "one.txt", "some.csv"], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["answer"] for one in found] == ["good", "bad", "good"]
    folder = tmp_path / "folder" / "a"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("a superb film")
    (folder / "y.txt").write_text("a lifeless film")
    done = subprocess.run([*words, "folder"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == ["good", "bad"]
    refused = subprocess.run(
        [*words[:3], "export", str(bundle.path), "--to", "onnx-fp16"], capture_output=True, text=True, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "texts aren't exported yet" in refused.stderr
    piped = subprocess.run(words, input="an awful film", capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(piped.stdout)["answer"] == "bad"


@pytest.mark.parametrize("run", ["bag", "lstm"], indirect=True)
def test_a_front_is_found_for_texts_too(run: Path, tmp_path: Path) -> None:
    found = compress_bundle(run, Budget(max_drop=10), out=tmp_path / "front", effort="quick")
    assert found.choice.feasible
    for path in found.bundles.values():
        assert Bundle.open(path).predict(["a wonderful film"])[0]["answer"] in ("good", "bad")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.augment={name: mixup}", "not for texts"),
        ("training.pseudo_labels={source: reviews.csv}", "images or rows of tables"),
        ("data.stream={}", "aren't streamed yet"),
        ("data.split.by=group", "not split by group"),
        ("model.name=cnn", "bag"),
    ],
)
def test_what_texts_cannot_have_is_refused_with_a_reason(tmp_path: Path, setting: str, message: str) -> None:
    table = as_table(tmp_path / "reviews.csv", 100)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(source=table, model="{name: bag}"))
    more = ["data.split.column=review"] if "group" in setting else []
    with pytest.raises(BedplateError, match=message):
        pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", overrides=[setting, *more])
