"""A series through the whole life: trained, sealed, forecast from files, served by every protocol, compressed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.serving.running import running

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.compression.front import Budget
from bedplate.core.arrays import take
from bedplate.core.errors import BedplateError
from bedplate.evaluation import Report
from bedplate.models import predictor
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bundle import compress_bundle
from bedplate.stages.init import init

STEPS = 900
RECIPE = """name: load
task: forecasting
data:
  source: load.csv
  target: load
  series: {{time: hour, columns: [wind], history: 48, horizon: 12{more}}}
model: {model}
training: {{epochs: 8, batch_size: 32, optimizer: {{name: adam, lr: 0.01}}}}
evaluation: {{resamples: 100}}
"""
MODELS = {"dlinear": ("{name: dlinear}", ""), "tcn": ("{name: tcn, units: 8}", ", calendar: [day]")}


def recipe(name: str = "dlinear") -> str:
    model, more = MODELS[name]
    return RECIPE.format(model=model, more=more)


def series(steps: int = STEPS) -> list[str]:
    """A day's rhythm with noise, and another column of another size."""
    draw = np.random.default_rng(0)
    hours = np.arange(steps)
    load = 500 + 100 * np.sin(hours * 2 * np.pi / 24) + draw.normal(0, 5, steps)
    wind = 0.05 * np.cos(hours * 2 * np.pi / 12) + draw.normal(0, 0.005, steps)
    start = datetime(2024, 1, 1)
    return [f"{start + timedelta(hours=k)},{load[k]:.4f},{wind[k]:.6f}" for k in range(steps)]


@pytest.fixture(scope="module", params=list(MODELS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("series")
    (place / "load.csv").write_text("hour,load,wind\n" + "\n".join(series()) + "\n")
    (place / "recipe.yaml").write_text(recipe(request.param))
    return pipeline.run(place / "recipe.yaml", place / "run").path


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return Bundle.open(run / "bundle")


def past(steps: int = 60) -> list[dict[str, object]]:
    rows = [row.split(",") for row in series()[-steps:]]
    return [{"hour": hour, "load": float(load), "wind": float(wind)} for hour, load, wind in rows]


def test_it_beats_the_season_before_and_says_so(run: Path, bundle: Bundle) -> None:
    metrics = {name: one["value"] for name, one in bundle.report["metrics"].items()}
    assert set(metrics) == {"mse", "mae", "mase"}
    baselines = json.loads((run / "evaluate" / "baselines.json").read_text())
    assert set(baselines) == {"last value", "as a season ago", "gradient boosting on lags"}
    assert baselines["as a season ago"]["mse"] < baselines["last value"]["mse"]
    # The smaller network, in as few epochs, only beats the simpler one.
    assert metrics["mse"] < baselines["as a season ago" if "dlinear" in bundle.card else "last value"]["mse"]
    page = (run / "report.html").read_text()
    assert "Error by how far ahead" in page
    assert "the worst window" in page
    told = bundle.predict([past()])[0]
    answer = told["answer"]
    assert set(answer) == {"load", "wind"}
    assert told["times"] == [str(datetime(2024, 1, 1) + timedelta(hours=STEPS + k)) for k in range(12)]
    hours = np.arange(STEPS, STEPS + 12)
    np.testing.assert_allclose(answer["load"], 500 + 100 * np.sin(hours * 2 * np.pi / 24), atol=40)


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_torch_and_every_graph_agree(bundle: Bundle, rows: int) -> None:
    inputs = take(bundle.golden.inputs, np.arange(rows))
    ours = predictor(bundle_network(bundle))(inputs)["forecast"]
    assert ours.shape == (rows, 12, 2)
    scale = np.array([70.0, 0.035])
    for variant in bundle.variants:
        found = bundle.predictor(variant)(inputs)["forecast"]
        np.testing.assert_allclose(found / scale, ours / scale, atol=1e-4 if variant == "f32" else 0.3)
    together = bundle.predictor()(inputs)["forecast"]
    alone = [bundle.predictor()(take(inputs, slice(k, k + 1)))["forecast"][0] for k in range(rows)]
    np.testing.assert_allclose(together / scale, np.array(alone) / scale, atol=1e-4)


def test_what_is_sealed_is_what_was_judged(run: Path, bundle: Bundle) -> None:
    lines = [json.loads(line) for line in (run / "pack" / "predictions.jsonl").read_text().splitlines()]
    rows = (run.parent / "load.csv").read_text().splitlines()
    begin = next(k for k, row in enumerate(rows) if row.startswith(lines[0]["input"]))
    again = bundle.predict(["\n".join([rows[0], *rows[begin - 48 : begin]])])[0]
    np.testing.assert_allclose(again["answer"]["load"], lines[0]["answer"]["load"], rtol=1e-5)
    report = Report.from_json(json.loads((run / "report.json").read_text())["report"])
    assert len(report.forecast["by_step"]) == 12  # type: ignore[index]
    assert report.compare(report).real is False
    watched = {name.rpartition(".")[0] for name in bundle.reference["features"]}
    assert watched == {"history.load", "history.wind", "answer.load", "answer.wind"}


@pytest.mark.parametrize("run", ["dlinear"], indirect=True)
def test_every_protocol_forecasts_as_the_bundle_and_refuses_what_is_no_past(bundle: Bundle) -> None:
    wanted = bundle.predictor()(bundle.codec.decode([past(), past(48)]))["forecast"]
    csv = "hour,load,wind\n" + "\n".join(series()[-60:])
    history = [[row["load"], row["wind"]] for row in past(48)]
    with running([("load", bundle.path)], grpc_port=0) as server, httpx.Client(base_url=server.url) as client:
        plain = client.post("/predict/load", content=csv.encode(), headers={"content-type": "text/csv"}).json()
        np.testing.assert_allclose(plain["answers"][0]["answer"]["wind"], wanted[0, :, 1], rtol=1e-5, atol=1e-6)
        times = [str(datetime(2024, 1, 1) + timedelta(hours=STEPS + k)) for k in range(12)]
        assert plain["answers"][0]["times"] == times
        many = client.post("/predict/load", json=[{"history": past()}, {"history": history}]).json()
        assert many["answers"][0]["times"] == times
        assert "times" not in many["answers"][1]  # steps as lists have none
        lines = client.post("/predict/load?stream=true", json=[{"history": past()}]).text
        assert json.loads(lines)["times"] == times
        np.testing.assert_allclose(many["answers"][1]["answer"]["load"], wanted[1, :, 0], rtol=1e-5)
        rows = client.post("/predict/load", json=past()).json()  # the CSV's rows as objects are one past
        np.testing.assert_allclose(rows["answers"][0]["answer"]["load"], wanted[0, :, 0], rtol=1e-5)
        bare = client.post("/predict/load", json=history).json()  # steps as lists are one past, too
        np.testing.assert_allclose(bare["answers"][0]["answer"]["load"], wanted[1, :, 0], rtol=1e-5)
        v1 = client.post("/v1/models/load:predict", json={"instances": [{"history": history}]}).json()
        np.testing.assert_allclose(v1["predictions"], wanted[1:], rtol=1e-4, atol=1e-5)
        data = {
            "inputs": [{"name": "history", "datatype": "FP32", "shape": [1, 48, 2], "data": np.ravel(history).tolist()}]
        }
        v2 = client.post("/v2/models/load/infer", json=data).json()
        np.testing.assert_allclose(np.reshape(v2["outputs"][0]["data"], (1, 12, 2)), wanted[1:], rtol=1e-4, atol=1e-5)
        gap = past()[:20] + past()[21:]
        for asked, said in (
            ({"history": past(20)}, "the past is too short"), ({"history": gap}, "don't follow one another"),
            ({"history": [[1, None]] * 48}, "a value is missing"), (5, "expected"), ({"wind": [1] * 48}, "is missing"),
        ):  # fmt: skip
            refused = client.post("/predict/load", json=asked)
            assert refused.status_code == 400, refused.text
            assert said in refused.text
        assert client.post("/v1/models/load:predict", json={"instances": [history[1:]]}).status_code == 400
        assert server.stop()[1].count("HEAVY []") == 1  # neither torch nor its friends


@pytest.mark.parametrize("run", ["tcn"], indirect=True)
def test_a_calendar_is_read_from_the_times_and_can_be_sent_as_a_tensor(bundle: Bundle) -> None:
    rows = past()
    later = [{**row, "hour": str(datetime.fromisoformat(str(row["hour"])) + timedelta(hours=9))} for row in rows]
    moved, as_it_was = (bundle.predict([one])[0]["answer"]["load"] for one in (later, rows))
    assert not np.allclose(moved, as_it_was, rtol=1e-4)  # the hour counts
    inputs = bundle.codec.decode([rows])
    with running([("load", bundle.path)]) as server, httpx.Client(base_url=server.url) as client:
        told = client.get("/models").json()["models"][0]
        assert {one["name"] for one in told["inputs"]} == {"history", "calendar"}
        sent = client.post("/predict/load", json=told["examples"][0])
        assert sent.status_code == 200, sent.text
        asked = client.post("/predict/load", json={"history": rows})
        np.testing.assert_allclose(asked.json()["answers"][0]["answer"]["load"], as_it_was, rtol=1e-4)
        tensors = [
            {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
            for name, array in inputs.items()
        ]
        v2 = client.post("/v2/models/load/infer", json={"inputs": tensors}).json()
        np.testing.assert_allclose(np.reshape(v2["outputs"][0]["data"], (12, 2))[:, 0], as_it_was, rtol=1e-4)
        refused = client.post("/predict/load", json={"history": [[1, 2]] * 48})
        assert refused.status_code == 400
        assert "the time of the latest step is missing" in refused.text


@pytest.mark.parametrize("run", ["dlinear"], indirect=True)
def test_the_command_line_forecasts_from_a_file_and_from_a_pipe(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("hour,load,wind\n" + "\n".join(series()[-60:]))
    (tmp_path / "short.csv").write_text("hour,load,wind\n" + "\n".join(series()[-5:]))
    words = [sys.executable, "-m", "bedplate", "predict", "--json", str(bundle.path)]
    done = subprocess.run([*words, "past.csv", "short.csv"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    first, second = map(json.loads, done.stdout.splitlines())
    assert "the past is too short" in second["error"]
    options_first = subprocess.run([*words[:4], str(bundle.path), "--json", "past.csv"], capture_output=True, text=True,
                                   cwd=tmp_path)  # fmt: skip
    assert json.loads(options_first.stdout) == first
    few = subprocess.run([*words[:3], "monitor", str(bundle.path), "--input", "past.csv"], capture_output=True, text=True,
                         cwd=tmp_path)  # fmt: skip
    assert few.returncode == 2
    assert "a file each" in few.stderr
    piped = subprocess.run(words, input=(tmp_path / "past.csv").read_text(), capture_output=True, text=True, check=True)
    assert json.loads(piped.stdout)["answer"] == first["answer"]


def test_a_front_is_found_and_its_points_forecast(run: Path, tmp_path: Path) -> None:
    found = compress_bundle(run, Budget(max_drop=50), out=tmp_path / "front", effort="quick")
    assert found.choice.feasible
    assert found.baseline.metric[0] == "mse"
    for path in found.bundles.values():
        assert len(Bundle.open(path).predict([past()])[0]["answer"]["load"]) == 12


@pytest.fixture(scope="module")
def uncertain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose objective asks for quantiles."""
    place = tmp_path_factory.mktemp("quantiles")
    (place / "load.csv").write_text("hour,load,wind\n" + "\n".join(series()) + "\n")
    (place / "recipe.yaml").write_text(recipe())
    overrides = ["objective={name: quantile, levels: [0.05, 0.5, 0.95]}", "training.epochs=12"]
    return pipeline.run(place / "recipe.yaml", place / "run", overrides=overrides).path


def test_quantiles_rise_and_hold_what_they_promise(uncertain: Path) -> None:
    bundle = Bundle.open(uncertain / "bundle")
    metrics = {name: one["value"] for name, one in bundle.report["metrics"].items()}
    assert set(metrics) == {"mse", "mae", "mase", "pinball", "coverage"}
    assert 0.8 < metrics["coverage"] < 0.98  # 0.9 is asked
    answer = bundle.predict([past()])[0]
    assert answer["answer"]["load"] == answer["quantiles"]["load"]["0.5"]
    for column in answer["quantiles"].values():
        assert list(column) == ["0.05", "0.5", "0.95"]
        low, middle, high = (np.array(column[level]) for level in column)
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert (high - low).mean() > 0
    baselines = json.loads((uncertain / "evaluate" / "baselines.json").read_text())
    assert metrics["pinball"] < baselines["as a season ago"]["pinball"]


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_quantiles_are_the_same_in_torch_and_in_the_graph_and_are_served(uncertain: Path, rows: int) -> None:
    bundle = Bundle.open(uncertain / "bundle")
    inputs = take(bundle.golden.inputs, np.arange(rows))
    ours = predictor(bundle_network(bundle))(inputs)["forecast"]
    found = bundle.predictor("f32")(inputs)["forecast"]
    assert found.shape == (rows, 12, 2, 3)
    scale = np.array([[70.0], [0.035]])
    np.testing.assert_allclose(found / scale, ours / scale, atol=1e-4)
    if rows == 1:
        with running([("load", bundle.path)]) as server, httpx.Client(base_url=server.url) as client:
            reply = client.post("/predict/load", json={"history": past()}).json()["answers"][0]
            assert set(reply["quantiles"]["wind"]) == {"0.05", "0.5", "0.95"}
            history = [[row["load"], row["wind"]] for row in past(48)]
            v1 = client.post("/v1/models/load:predict", json={"instances": [{"history": history}]}).json()
            assert np.shape(v1["predictions"]) == (1, 12, 2, 3)


def test_a_front_of_quantiles_is_judged_by_the_pinball_loss_too(uncertain: Path, tmp_path: Path) -> None:
    found = compress_bundle(uncertain, Budget(max_drop=50), out=tmp_path / "f", effort="quick", metric="pinball")
    assert found.baseline.metric[0] == "pinball"
    for path in found.bundles.values():
        assert set(Bundle.open(path).predict([past()])[0]["quantiles"]) == {"load", "wind"}


def test_init_proposes_a_recipe_that_runs(tmp_path: Path) -> None:
    lines = series()
    (tmp_path / "load.csv").write_text("hour,wind,load\n" + "\n".join([*lines[:50], lines[49], *lines[53:]]) + "\n")
    written = init(str(tmp_path / "load.csv"), output=str(tmp_path / "r.yaml"), task="forecasting")
    said = " ".join(written.reasons)
    for word in ("'hour' holds the times", "'load' is forecast", "1 row with the time", "3 steps of 900", "24 steps"):
        assert word in said, said
    empty = [*lines[:70], f"{lines[70].rpartition(',')[0]},", *lines[71:]]
    (tmp_path / "empty.csv").write_text("hour,wind,load\n" + "\n".join(empty) + "\n")
    again = init(str(tmp_path / "empty.csv"), output=str(tmp_path / "e.yaml"), task="forecasting")
    assert "interpolate: 6" in again.path.read_text()
    run = pipeline.run(tmp_path / "r.yaml", tmp_path / "run", overrides=["training.epochs=1"])
    assert Bundle.open(run.path / "bundle").task == "forecasting"
    with pytest.raises(BedplateError, match="did you mean 'hour'"):
        init(str(tmp_path / "load.csv"), output=str(tmp_path / "s.yaml"), time="hou")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.name=cross-entropy", "is for classes"), ("objective={name: quantile, levels: [0.1]}", "the levels must rise"), ("model.name=cnn", "dlinear"), ("model.name=mlp", "dlinear"),
        ("data.stream={}", "aren't streamed yet"), ("data.split.by=random", "own future"),
        ("gate.minimum={accuracy: 1}", "unknown metric"),
        ("data.target=nothing", "there is no column"), ("training.sampling=balanced", "for classes"),
    ],
)  # fmt: skip
def test_what_a_forecast_cannot_have_is_refused_with_a_reason(tmp_path: Path, setting: str, message: str) -> None:
    (tmp_path / "load.csv").write_text("hour,load,wind\n" + "\n".join(series(300)) + "\n")
    (tmp_path / "recipe.yaml").write_text(recipe())
    with pytest.raises(BedplateError, match=message):
        pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", overrides=[setting])


def test_several_series_are_trained_sealed_and_forecast_from_rows_below_one_another(tmp_path: Path) -> None:
    parts = [row.split(",") for row in series(400)]
    rows = [
        f"{hour},{name},{float(load) * size:.3f}" for hour, load, _ in parts for name, size in (("a", 1), ("b", 50))
    ]
    (tmp_path / "load.csv").write_text("hour,meter,load\n" + "\n".join(rows) + "\n")
    text = recipe().replace("columns: [wind]", "by: meter")
    (tmp_path / "recipe.yaml").write_text(text)
    made = pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", overrides=["training.epochs=4"])
    bundle = Bundle.open(made.path / "bundle")
    long = ("hour,meter,load\n" + "\n".join(rows[-2 * 48 :])).encode()
    wide = {name: [float(row.split(",")[2]) for row in rows if row.split(",")[1] == name][-48:] for name in ("a", "b")}
    first, second = bundle.predict([long, wide])
    assert set(first["answer"]) == {"a", "b"}
    assert first.pop("times")[0] == parts[-1][0].replace("15:00", "16:00")
    assert first == second  # columns by themselves name no times
    assert np.mean(first["answer"]["b"]) == pytest.approx(50 * np.mean(first["answer"]["a"]), rel=0.05)


def test_rows_at_any_times_are_served_as_they_were_judged(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    hours = np.cumsum(draw.exponential(0.3, 2400))
    start = datetime(2024, 1, 1)
    lines = [
        f"{(start + timedelta(hours=at)).isoformat(timespec='seconds')},{500 + 100 * np.sin(at * 2 * np.pi / 24):.3f},{at:.3f}"
        for at in hours.tolist()
    ]
    (tmp_path / "load.csv").write_text("hour,load,wind\n" + "\n".join(lines) + "\n")
    (tmp_path / "recipe.yaml").write_text(recipe().replace("columns: [wind]", "step: 1h, interpolate: 3"))
    made = pipeline.run(tmp_path / "recipe.yaml", tmp_path / "run", overrides=["training.epochs=2"]).path
    judged = json.loads((made / "pack" / "predictions.jsonl").read_text().splitlines()[0])
    past = [line for line in lines if line.split(",")[0] < judged["input"]]
    with running([("load", made / "bundle")]) as server, httpx.Client(base_url=server.url) as client:
        body = "hour,load,wind\n" + "\n".join(past[::-1])
        told = client.post("/predict/load", content=body, headers={"content-type": "text/csv"}).json()["answers"][0]
        np.testing.assert_allclose(told["answer"]["load"], judged["answer"]["load"], rtol=1e-5)
        assert told["times"][0] == judged["input"]
        late = client.post("/predict/load", content="hour,load,wind\n" + "\n".join(past[:40]))
        assert (late.status_code, "the past is too short" in late.text) == (400, True)
