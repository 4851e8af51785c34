"""Vectors of texts through the whole life: a checkpoint served as it is, fine-tuned, compressed; fresh models, too."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.data.reviews import as_table, reviews
from tests.models.published import BERT, random_weights, states, write_checkpoint
from tests.serving.running import running
from tokenizers import Tokenizer

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.compression.front import Budget
from bedplate.core.arrays import take
from bedplate.core.errors import PayloadError
from bedplate.serving.client_grpc import GrpcClient
from bedplate.stages.compress_bundle import compress_bundle
from bedplate.stages.init import init
from bedplate.stages.plan import plan
from bedplate.stages.resolve import resolve

RECIPE = """name: meaning
task: {task}
data: {{source: {source}, target: sentiment}}
{model}
training: {{epochs: {epochs}, batch_size: 16, optimizer: {{name: adamw, lr: {rate}}}{start}}}
evaluation: {{resamples: 100}}
compression: {{methods: [int8-dynamic], max_drop: 20}}
"""

PLAIN = "model: {name: bert, dropout: 0.0}"
"""What is dropped is noise to so small a network."""


def lived(
    place: Path, *, task: str = "text-embedding", epochs: int = 0, rate: float = 0.003, model: str = "",
    start: Path | None = None,
) -> Path:  # fmt: skip
    table = as_table(place / "reviews.csv", 600)
    told = f", start: {{weights: {start}}}" if start else ""
    (place / "recipe.yaml").write_text(
        RECIPE.format(task=task, source=table, epochs=epochs, rate=rate, model=model, start=told)
    )
    return pipeline.run(place / "recipe.yaml", place / "run").path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", pooling="pooling_mode_mean_tokens")


@pytest.fixture(scope="module")
def run(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lived(tmp_path_factory.mktemp("vectors"), start=checkpoint)


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return Bundle.open(run / "bundle")


def twin(checkpoint: Path, texts: list[str]) -> np.ndarray:
    """The original's own way: its tokenizer alone, its equations in NumPy, the mean, divided by its length."""
    rules = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    rules.enable_truncation(24)
    found = [states(BERT, random_weights(BERT), rules.encode(text).ids).mean(0) for text in texts]
    return np.stack([vector / np.linalg.norm(vector) for vector in found])


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_a_checkpoint_is_served_as_it_is(bundle: Bundle, checkpoint: Path, rows: int) -> None:
    typical = [text for text, _ in reviews(rows, seed=9)]
    for texts in (["film"] * rows, typical, ["and the " * 500] * rows, [*typical[:-1], "🎬 שלום 我喜欢 a\0b"]):
        inputs, wanted = bundle.codec.decode(texts), twin(checkpoint, texts)
        together = bundle.predictor("f32")(inputs)["embedding"]
        np.testing.assert_allclose(together, wanted, atol=2e-5)
        assert ((together * wanted).sum(1) >= 0.9999).all()
        for variant in bundle.variants:
            found = bundle.predictor(variant)(inputs)["embedding"]
            assert ((found * wanted).sum(1) >= 0.9).all(), variant  # int8 of a random network of 16 numbers
            alone = [bundle.predictor(variant)(take(inputs, slice(k, k + 1)))["embedding"][0] for k in range(rows)]
            np.testing.assert_allclose(found, alone, atol=1e-3 if variant != "f32" else 1e-5)


def test_the_bundle_says_where_it_comes_from(bundle: Bundle, run: Path, checkpoint: Path) -> None:
    assert [spec.to_json() for spec in bundle.outputs] == [{"name": "embedding", "dtype": "float32", "shape": [16]}]
    assert len(bundle.lineage["started_from"]) == 1
    assert bundle.lineage["recipe"]["model"]["layers"] == 2
    assert bundle.codec.contract()["length"] == 24  # as the checkpoint says
    assert bundle.codec.contract()["tokenizer"]["model"]["type"] == "WordPiece"
    assert set(bundle.report["metrics"]) == {"recall_at_1", "recall_at_10", "precision_at_10", "knn_accuracy"}
    assert "TF-IDF, latent semantic analysis" in json.loads((run / "evaluate" / "baselines.json").read_text())
    assert "Recall at 1" in (run / "report.html").read_text()
    with pytest.raises(PayloadError, match="empty"):
        bundle.predict(["fine", " "])


def test_training_brings_texts_of_one_label_together(bundle: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    trained = Bundle.open(lived(tmp_path, epochs=8, model=PLAIN, start=checkpoint) / "bundle")
    before, after = (one.report["metrics"]["recall_at_1"]["value"] for one in (bundle, trained))
    assert after > before + 0.1


def test_a_checkpoint_learns_to_classify(checkpoint: Path, tmp_path: Path) -> None:
    path = lived(tmp_path, task="text-classification", epochs=6, model=PLAIN, start=checkpoint)
    assert Bundle.open(path / "bundle").report["metrics"]["accuracy"]["value"] > 0.8
    started = json.loads((path / "train" / "start.json").read_text())
    assert started["missing"] == ["head.weight", "head.bias"]
    assert not started["unused"]
    assert not started["reshaped"]
    again = resolve(str(path / "recipe.yaml")).recipe  # which the run wrote, and which stands on its own
    assert again.model == resolve(str(tmp_path / "recipe.yaml")).recipe.model
    assert again.data.text.tokenizer == str(checkpoint.resolve() / "tokenizer.json")


def test_fresh_models_give_vectors_too(tmp_path: Path) -> None:
    path = lived(tmp_path, epochs=8, rate=0.02, model="model: {name: bag, size: 8, pairs: 300, dropout: 0.0}")
    found = Bundle.open(path / "bundle")
    assert found.outputs[0].shape == (8,)
    assert found.report["metrics"]["recall_at_1"]["value"] > 0.8


def test_every_protocol_answers_as_the_bundle(bundle: Bundle) -> None:
    texts = ["a wonderful film", "dull and far too long", "🎬 שלום 映画"]
    wanted = bundle.predictor()(bundle.codec.decode(texts))["embedding"]
    with running([("meaning", bundle.path)], grpc_port=0, engine="onnxruntime") as server:
        with httpx.Client(base_url=server.url) as client:
            native = client.post("/predict/meaning", json=texts).json()
            np.testing.assert_allclose([one["answer"] for one in native["answers"]], wanted, atol=1e-3)
            tf = client.post("/v1/models/meaning:predict", json={"instances": texts}).json()
            np.testing.assert_allclose(tf["predictions"], wanted, atol=1e-3)
            data = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3], "data": texts}]}
            oip = client.post("/v2/models/meaning/infer", json=data).json()["outputs"][0]
            np.testing.assert_allclose(np.reshape(oip["data"], (3, 16)), wanted, atol=1e-3)
            reply = client.post("/v1/embeddings", json={"model": "meaning", "input": texts}).json()
            np.testing.assert_allclose([one["embedding"] for one in reply["data"]], wanted, atol=1e-3)
            refused = client.post("/v1/models/meaning:regress", json={"examples": [{"text": "x"}]})
            assert (refused.status_code, "ask it with :predict" in refused.text) == (400, True)
            (one,) = client.get("/models").json()["models"]
            assert one["outputs"] == [{"name": "embedding", "dtype": "float32", "shape": [16]}]
            assert client.get("/openapi.json").status_code == 200
        with GrpcClient(server.grpc) as rpc:
            found = rpc.infer("meaning", {"text": np.array(texts, object)})
            np.testing.assert_allclose(found["embedding"], wanted, atol=1e-3)
        assert server.stop()[1].count("HEAVY []") == 1


@pytest.mark.slow
def test_a_front_is_found_for_vectors_too(run: Path, tmp_path: Path) -> None:
    found = compress_bundle(run, Budget(max_drop=50), out=tmp_path / "front", effort="quick")
    assert found.choice.feasible
    for path in found.bundles.values():
        assert len(Bundle.open(path).predict(["a wonderful film"])[0]["answer"]) == 16


@pytest.mark.parametrize("form", ["table", "folder"])
def test_init_proposes_a_recipe_that_plans(tmp_path: Path, form: str) -> None:
    if form == "table":
        source = as_table(tmp_path / "reviews.csv", 120)
    else:
        source = tmp_path / "reviews"
        for k, (text, label) in enumerate(reviews(60)):
            (source / label).mkdir(parents=True, exist_ok=True)
            (source / label / f"{k}.txt").write_text(text)
    target = "sentiment" if form == "table" else None
    written = init(str(source), target, str(tmp_path / "r.yaml"), task="text-embedding")
    assert written.task == "text-embedding"
    assert any("supervised-contrastive" in reason for reason in written.reasons)
    assert "model: {name: bag" in written.path.read_text()
    assert "a vector of 32 numbers" in plan(written.path).answers
