"""Tagged sentences through the whole life: trained, sealed, predicted, served by every protocol, compressed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.data.names import as_conll
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.codecs.words import joined
from bedplate.compression.front import Budget
from bedplate.core.arrays import take
from bedplate.core.errors import BedplateError, ServerError
from bedplate.evaluation import Report
from bedplate.models import predictor
from bedplate.serving.client_grpc import GrpcClient
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bundle import compress_bundle
from bedplate.stages.init import init

RECIPE = """name: names
task: token-classification
data: {{source: names.conll}}
model: {model}
objective: {{name: {objective}}}
training: {{epochs: 8, batch_size: 16, optimizer: {{name: adamw, lr: 0.01}}, gradient_clip: 5.0}}
evaluation: {{resamples: 100}}
compression: {{max_drop: 5.0}}
"""
SMALL = "size: 16, shape: 4, letter: 8, filters: 8, hidden: 16, dropout: 0.2"
RUNS = {
    "lstm and crf": (f"{{name: bilstm-tagger, {SMALL}}}", "crf"),
    "gru and cross-entropy": (f"{{name: bilstm-tagger, cell: gru, layers: 2, {SMALL}}}", "cross-entropy"),
}
TEXTS = ["Ana García vive hoy en San Luis.", "Iker nació en Quito y trabaja para Banco Sur desde 1999 ."]
STRANGE = ["x", "🎬 שלום עולם 我爱北京", "zzz qqq " * 40, "¡¡¡ ..."]


@pytest.fixture(scope="module", params=list(RUNS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("names")
    as_conll(place / "names.conll", 500)
    model, objective = RUNS[request.param]
    (place / "recipe.yaml").write_text(RECIPE.format(model=model, objective=objective))
    return pipeline.run(place / "recipe.yaml", place / "run").path


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return Bundle.open(run / "bundle")


def test_names_are_found_and_the_baselines_stand_beside(run: Path, bundle: Bundle) -> None:
    metrics = {name: one["value"] for name, one in bundle.report["metrics"].items()}
    assert metrics["f1"] > 0.9
    baselines = json.loads((run / "evaluate" / "baselines.json").read_text())
    assert set(baselines) == {"commonest tag", "each word's commonest tag"}
    assert baselines["commonest tag"]["f1"] == 0
    assert [row["label"] for row in bundle.report["per_class"]] == ["LOC", "ORG", "PER"]
    answer = bundle.predict([TEXTS[0]])[0]
    assert {"type": "PER", "words": [0, 2], "text": "Ana García", "start": 0, "end": 10} in answer["answer"]
    assert answer["words"][-2:] == ["Luis", "."]
    assert len(answer["tags"]) == len(answer["words"])
    page = (run / "report.html").read_text()
    assert "Entities" in page
    assert "each word" in page
    assert "F1" in (run / "bundle" / "MODEL_CARD.md").read_text()


def test_what_was_trained_says_how_it_went(run: Path) -> None:
    history = json.loads((run / "train" / "history.json").read_text())
    best = json.loads((run / "train" / "stage.json").read_text())["best_epoch"]
    assert history[best - 1]["validation_f1"] == max(one["validation_f1"] for one in history)
    assert set(history[0]) >= {"validation_loss", "validation_accuracy", "validation_f1"}


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_torch_and_every_graph_agree_at_every_length(bundle: Bundle, rows: int) -> None:
    network = bundle_network(bundle)
    typical = [str(text) for text in np.resize(bundle.golden.inputs["text"], rows).tolist()]
    longest = joined(["Quito", "y"] * 1000)
    cases = [["Ana"] * rows, typical, [longest if k == 0 else "Ana" for k in range(rows)], (STRANGE * 5)[:rows]]
    for texts in cases if rows < 17 else cases[:2]:
        inputs = bundle.codec.decode(texts)
        ours = predictor(network)(bundle.codec.features(inputs))["tag_probabilities"]
        for variant in bundle.variants:
            found = bundle.predictor(variant)(inputs)["tag_probabilities"]
            np.testing.assert_allclose(found, ours, atol=1e-4 if variant == "f32" else 0.3)
        together = bundle.predictor()(inputs)
        alone = [bundle.predictor()(take(inputs, slice(k, k + 1))) for k in range(rows)]
        for k, one in enumerate(alone):
            width = one["tag_probabilities"].shape[1]
            np.testing.assert_allclose(together["tag_probabilities"][k, :width], one["tag_probabilities"][0], atol=1e-4)
            assert (together["tag_probabilities"][k, width:] == 0).all()


def test_an_8_bit_graph_answers_nearly_alike(run: Path) -> None:
    table = {row["name"]: row for row in json.loads((run / "compress" / "variants.json").read_text())["variants"]}
    assert table["int8-dynamic"]["metrics"]["f1"] > table["f32"]["metrics"]["f1"] - 0.05


def test_what_is_sealed_is_what_was_judged(run: Path, bundle: Bundle) -> None:
    lines = [json.loads(line) for line in (run / "pack" / "predictions.jsonl").read_text().splitlines()]
    again = bundle.predict([line["words"] for line in lines])
    assert [one["tags"] for one in again] == [line["tags"] for line in lines]
    report = Report.from_json(json.loads((run / "report.json").read_text())["report"])
    assert report.compare(report).real is False
    bundle.replay()
    assert "answer.confidence" in bundle.reference["features"]


@pytest.mark.parametrize("run", ["lstm and crf"], indirect=True)
def test_every_protocol_answers_as_the_bundle_and_refuses_what_is_no_sentence(bundle: Bundle) -> None:
    wanted = bundle.predict(TEXTS)
    words = [one["words"] for one in wanted]
    inputs = bundle.codec.decode(TEXTS)
    raw = bundle.predictor()(inputs)["tag_probabilities"]
    tags = [one["tags"] for one in wanted]
    with running([("names", bundle.path)], grpc_port=0) as server, httpx.Client(base_url=server.url) as client:
        trained = [{"tokens": row, "tags": ["O"] * len(row)} for row in words]
        for payload in (TEXTS, [{"text": text} for text in TEXTS], words, [{"words": row} for row in words], trained):
            reply = client.post("/predict/names", json=payload)
            assert [one["tags"] for one in reply.json()["answers"]] == tags, reply.text
        one = client.post("/predict/names", json=TEXTS[0]).json()["answers"][0]
        assert one == wanted[0]
        assert "start" not in client.post("/predict/names", json=[words[0]]).json()["answers"][0]["answer"][0]
        lines = "\n".join(map(json.dumps, trained)).encode()
        for kind in ("application/x-ndjson", "application/json", "application/x-www-form-urlencoded"):
            reply = client.post("/predict/names", content=lines, headers={"content-type": kind})
            assert [one["tags"] for one in reply.json()["answers"]] == tags, reply.text
        plain = client.post("/predict/names", content=TEXTS[0].encode(), headers={"content-type": "text/plain"})
        assert plain.json()["answers"][0] == wanted[0]
        stream = client.post("/predict/names?stream=true", json=TEXTS)
        assert [json.loads(line)["tags"] for line in stream.text.splitlines()] == tags
        for instances in (TEXTS, words, [{"text": row} for row in words]):
            v1 = client.post("/v1/models/names:predict", json={"instances": instances})
            np.testing.assert_allclose(v1.json()["predictions"], raw, atol=1e-6)
        for columns in (TEXTS, words):
            v1 = client.post("/v1/models/names:predict", json={"inputs": {"text": columns}})
            np.testing.assert_allclose(v1.json()["outputs"], raw, atol=1e-6)
        for data in (TEXTS, [joined(row) for row in words]):
            asked = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": data}]}
            v2 = client.post("/v2/models/names/infer", json=asked).json()["outputs"][0]
            assert v2["shape"] == list(raw.shape)
            np.testing.assert_allclose(np.reshape(v2["data"], v2["shape"]), raw, atol=1e-6)
            with GrpcClient(server.grpc) as rpc:
                found = rpc.infer("names", {"text": np.array(data, object)})["tag_probabilities"]
                np.testing.assert_allclose(found, raw, atol=1e-6)
                with pytest.raises(ServerError, match="control character"):
                    rpc.infer("names", {"text": np.array(["a\0"], object)})
        assert client.get("/v2/models/names").json()["outputs"][0]["shape"] == [-1, -1, raw.shape[2]]
        for text in STRANGE:
            assert client.post("/predict/names", json=text).status_code == 200, text
        for bad, said in (
            ("", "empty"), ([], "no rows"), ([[]], "empty"), ([["Ana", 5]], "not a word"), ("x" * 1_000_000, "too long"),
            ("x " * 100_000, "at most 2,000 words"), ([["x"] * 100_000], "at most 2,000 words"), ("a\0b", "control"),
            ({"body": "x"}, "no sentence"), ([5], "not a sentence"), ([None], "not a sentence"),
        ):  # fmt: skip
            refused = client.post("/predict/names", json=bad)
            assert refused.status_code == 400, (str(bad)[:50], refused.text[:200])
            assert said in refused.text
        assert (
            client.post("/predict/names", content=b"\xff\xfe", headers={"content-type": "text/plain"}).status_code
            == 400
        )
        for bad in ([""], [[]], [["Ana", 5]], ["a\0"], [5], [{"text": []}]):
            assert client.post("/v1/models/names:predict", json={"instances": bad}).status_code == 400, bad
        empty = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [""]}]}
        assert client.post("/v2/models/names/infer", json=empty).status_code == 400
        assert client.get("/openapi.json").status_code == 200
        assert server.stop()[1].count("HEAVY []") == 1  # neither torch nor its friends


@pytest.mark.parametrize("run", ["lstm and crf"], indirect=True)
def test_a_request_is_answered_alike_whoever_runs_beside_it(bundle: Bundle) -> None:
    from concurrent.futures import ThreadPoolExecutor

    texts = ["Ana", TEXTS[1] + " " + TEXTS[0], "Iker vive hoy en Lima ."] * 10
    alone = [bundle.predictor()(bundle.codec.decode([text]))["tag_probabilities"] for text in texts]
    with running([("names", bundle.path)]) as server, httpx.Client(base_url=server.url) as client:

        def ask(text: str) -> np.ndarray:
            asked = {"instances": [text]}
            return np.array(client.post("/v1/models/names:predict", json=asked).json()["predictions"])

        with ThreadPoolExecutor(8) as pool:
            for found, wanted in zip(pool.map(ask, texts), alone, strict=True):
                assert found.shape == wanted.shape
                np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("run", ["lstm and crf"], indirect=True)
def test_the_command_line_reads_lines_tables_and_pipes(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text(f"{TEXTS[0]}\n\n{TEXTS[1]}\n")
    (tmp_path / "some.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (TEXTS[0], ["Ana", "vive"])))
    command = [sys.executable, "-m", "bedplate", "predict", str(bundle.path)]
    done = subprocess.run([*command, "--json", "some.txt", "some.jsonl"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["input"] for one in found[:2]] == ["some.txt:1", "some.txt:3"]
    assert [one["tags"] for one in found[:3]] == [bundle.predict([text])[0]["tags"] for text in (*TEXTS, TEXTS[0])]
    assert found[3]["words"] == ["Ana", "vive"]
    as_conll(tmp_path / "data" / "names.conll", 4)
    (tmp_path / "bad.jsonl").write_text('{"wrods": ["Ana"]}\n' * 9 + '{"tokens": ["Ana"]}\n')
    done = subprocess.run([*command, "--json", "data", "bad.jsonl"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["input"] == "data/names.conll:3"
    assert "X" not in first["words"]
    assert last["words"] == ["Ana"]
    said = done.stderr.splitlines()
    assert len(said) == 4
    assert "bad.jsonl:1: the row has no sentence (expected 'text' or 'tokens' or 'words'" in said[0]
    assert "6 more inputs: the row has no sentence" in said[3]
    piped = subprocess.run(command, input=TEXTS[0], capture_output=True, text=True, check=True)
    assert "Ana García" in piped.stdout
    refused = subprocess.run(
        [*command[:3], "export", str(bundle.path), "--to", "onnx-fp16"], capture_output=True, text=True, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "sentences aren't exported yet" in refused.stderr


@pytest.mark.parametrize("run", ["lstm and crf"], indirect=True)
def test_a_front_is_found_and_its_points_tag(run: Path, tmp_path: Path) -> None:
    found = compress_bundle(run, Budget(max_drop=20), out=tmp_path / "front", effort="quick")
    assert found.choice.feasible
    assert found.baseline.metric[0] == "f1"
    for path in found.bundles.values():
        assert len(Bundle.open(path).predict([TEXTS[0]])[0]["tags"]) == 8


def test_init_proposes_a_recipe_that_runs(tmp_path: Path) -> None:
    as_conll(tmp_path / "names.conll", 120)
    written = init(str(tmp_path / "names.conll"), output=str(tmp_path / "r.yaml"))
    assert written.task == "token-classification"
    assert any("a word and its tag a line" in reason for reason in written.reasons)
    model = f"model={{name: bilstm-tagger, {SMALL}}}"
    run = pipeline.run(tmp_path / "r.yaml", tmp_path / "run", overrides=["training.epochs=1", model])
    assert Bundle.open(run.path / "bundle").task == "token-classification"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.name=squared-error", "is for number"), ("objective.name=perceptron", "is for classes"), ("model.name=lstm", "bilstm-tagger"), ("model.name=mlp", "bilstm-tagger"),
        ("data.stream={}", "aren't streamed yet"), ("data.split.by=group", "not split by group"),
        ("gate.minimum={accuracy: 1}", "unknown metric"), ("training.augment={name: mixup}", "gives mixed targets"),
        ("training.sampling=balanced", "for classes"), ("training.pseudo_labels={source: a.csv}", "for classes"),
        ("data.text.length=50", "all of them are read"), ("data.source=nothing.conll", "no such file"),
    ],
)  # fmt: skip
def test_what_tags_cannot_have_is_refused_with_a_reason(tmp_path: Path, setting: str, message: str) -> None:
    as_conll(tmp_path / "names.conll", 60)
    model = "{name: bilstm-tagger}" if "model" not in setting else "{}"
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(model=model, objective="crf"))
    more = ["data.split.column=x"] if "group" in setting else []
    with pytest.raises(BedplateError, match=message):
        pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", overrides=[setting, *more])


def test_class_weights_are_of_tags_where_each_word_is_learnt_by_itself(tmp_path: Path) -> None:
    as_conll(tmp_path / "names.conll", 60)
    (tmp_path / "recipe.yaml").write_text(
        RECIPE.format(model=f"{{name: bilstm-tagger, {SMALL}}}", objective="cross-entropy")
    )
    balanced = ["objective.class_weights=balanced", "training.epochs=1", "evaluation.baselines=false"]
    pipeline.run_stage("train", tmp_path / "recipe.yaml", tmp_path / "run", overrides=balanced)
    with pytest.raises(BedplateError, match="not one weight a class"):
        pipeline.run_stage(
            "train", tmp_path / "recipe.yaml", tmp_path / "w", overrides=["objective.class_weights=[1.0, 2.0]"]
        )
