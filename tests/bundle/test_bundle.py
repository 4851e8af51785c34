"""Every way in which a bundle can be damaged, and the one way in which it opens."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import golden_of, image_bundle, image_graph, images

from bedplate.bundle import Bundle, Golden
from bedplate.bundle.session import OnnxPredict
from bedplate.core import machine
from bedplate.core.errors import BundleError, InputError, PayloadError
from bedplate.core.hashing import sha256_bytes


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_bundle(tmp_path_factory.mktemp("sealed") / "box").path


@pytest.fixture
def box(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "box"))


def reseal(box: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and give it a matching id, as someone who tampers would."""
    manifest = json.loads((box / "manifest.json").read_bytes())
    change(manifest)
    data = json.dumps(manifest).encode()
    (box / "manifest.json").write_bytes(data)
    (box / "BUNDLE_ID").write_text(sha256_bytes(data) + "\n")


def replace_file(box: Path, name: str, data: bytes) -> None:
    (box / name).write_bytes(data)
    entry = {"sha256": sha256_bytes(data), "size": len(data)}
    reseal(box, lambda manifest: manifest["files"].__setitem__(name, entry))


def test_what_was_sealed_is_what_opens(box: Path) -> None:
    bundle = Bundle.open(box)
    assert (bundle.name, bundle.task, bundle.default, bundle.variants) == (
        "small",
        "image-classification",
        "f32",
        ["f32"],
    )
    assert bundle.id == sha256_bytes((box / "manifest.json").read_bytes())
    assert bundle.report["metrics"]["accuracy"]["value"] == 0.5
    assert bundle.lineage == {"seed": 0}
    assert bundle.reference == {}
    assert bundle.model["name"] == "linear"
    assert bundle.card == "# small\n"
    assert bundle.weights()["layer.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bundle.golden.rows == 12
    assert bundle.codec.contract()["height"] == 8


def test_answers_are_those_of_the_graph_at_any_batch_size(box: Path) -> None:
    bundle = Bundle.open(box)
    rows = images(9, seed=3)
    direct = OnnxPredict(image_graph(), variant="f32")({"image": rows})["probabilities"]
    for size in (1, 4, 100):
        answers = bundle.predict(list(rows), batch_size=size)
        assert [a["answer"] for a in answers] == [bundle.answers.labels[k] for k in direct.argmax(1)]
        np.testing.assert_allclose([list(a["probabilities"].values()) for a in answers], direct, atol=1e-6)


def test_equal_content_gives_an_equal_id_and_another_weight_another_one(tmp_path: Path) -> None:
    one, two = image_bundle(tmp_path / "one"), image_bundle(tmp_path / "two")
    other = image_bundle(tmp_path / "other", weights={"layer.weight": np.ones(3, np.float32)})
    assert one.id == two.id != other.id


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), scale=st.floats(1e-4, 0.1), rows=st.integers(1, 30))
def test_write_then_open_predicts_as_before(tmp_path: Path, seed: int, scale: float, rows: int) -> None:
    graphs = {"f32": image_graph(seed, scale=scale)}
    inputs = {"image": images(rows, seed)}
    path = tmp_path / f"box-{seed}-{scale!r}-{rows}"
    shutil.rmtree(path, ignore_errors=True)
    image_bundle(path, graphs=graphs, golden=golden_of(inputs, graphs, None))
    opened = Bundle.open(path)
    sealed = OnnxPredict(graphs["f32"], variant="f32")(inputs)["probabilities"]
    np.testing.assert_array_equal(opened.predictor()(inputs)["probabilities"], sealed)
    np.testing.assert_array_equal(opened.golden.outputs["f32"]["probabilities"], sealed)


def test_a_flipped_bit_in_any_file_is_noticed(box: Path) -> None:
    names = sorted(p for p in box.rglob("*") if p.is_file())
    assert len(names) == 11
    for file in names:
        data = file.read_bytes()
        for place in {0, len(data) // 2, len(data) - 1}:
            broken = bytearray(data)
            broken[place] ^= 1
            file.write_bytes(bytes(broken))
            with pytest.raises(BundleError):
                Bundle.open(box)
        file.write_bytes(data)
    Bundle.open(box)


def test_a_file_cut_short_is_noticed(box: Path) -> None:
    for file in sorted(p for p in box.rglob("*") if p.is_file()):
        data = file.read_bytes()
        file.write_bytes(data[:-1])
        with pytest.raises(BundleError):
            Bundle.open(box)
        file.write_bytes(data)


def test_a_missing_file_is_noticed(box: Path) -> None:
    for file in sorted(p for p in box.rglob("*") if p.is_file()):
        data = file.read_bytes()
        file.unlink()
        with pytest.raises(BundleError):
            Bundle.open(box)
        file.write_bytes(data)


@pytest.mark.parametrize("name", ["extra.py", "graphs/other.onnx", "deep/er/file.json", ".hidden"])
def test_an_extra_file_is_refused(box: Path, name: str) -> None:
    (box / name).parent.mkdir(parents=True, exist_ok=True)
    (box / name).write_text("import os")
    with pytest.raises(BundleError, match="never sealed"):
        Bundle.open(box)


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "BUNDLE_ID", "graphs", "extra"])
def test_a_symlink_is_refused_wherever_it_points(box: Path, tmp_path: Path, name: str) -> None:
    if (box / name).exists():
        shutil.move(box / name, tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").write_text("x")
    (box / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.open(box)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "graphs/../../x", "a\\..\\b", "a//b", "./a", "~root", "a\x00b"]
)
def test_a_path_that_leaves_the_bundle_is_refused(box: Path, name: str) -> None:
    entry = {"sha256": "0" * 64, "size": 1}
    reseal(box, lambda manifest: manifest["files"].__setitem__(name, entry))
    with pytest.raises(BundleError, match="unsafe path"):
        Bundle.open(box)


def test_names_that_differ_by_case_only_are_refused(box: Path) -> None:
    reseal(box, lambda m: m["files"].__setitem__("model_card.md", m["files"]["MODEL_CARD.md"]))
    with pytest.raises(BundleError, match="case only"):
        Bundle.open(box)


def test_a_newer_format_says_to_upgrade(box: Path) -> None:
    reseal(box, lambda manifest: manifest.update(format=2, strange="field"))
    with pytest.raises(BundleError, match=r"newer format.*upgrade bedplate"):
        Bundle.open(box)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", '{"format": true}', '{"format": "1"}', "{", '{"format":1,"format":1}', "[" * 5000]
)
def test_a_manifest_that_is_none_is_refused(box: Path, text: str) -> None:
    (box / "manifest.json").write_text(text)
    (box / "BUNDLE_ID").write_text(sha256_bytes(text.encode()) + "\n")
    with pytest.raises(BundleError):
        Bundle.open(box)


def test_a_lone_graph_made_for_other_processors_runs_and_is_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = {"int8": image_graph()}
    info = {"int8": {"isa": {"any_of": ["avx512_vnni", "neon"], "made_on": ["avx512_vnni"]}}}
    image_bundle(tmp_path / "box", graphs=graphs, default="int8", variants_info=info)
    monkeypatch.setattr("bedplate.bundle.bundle.cpu_features", lambda: frozenset({"avx2", "avx512_vnni"}))
    with caplog.at_level(logging.WARNING):
        assert Bundle.open(tmp_path / "box").predictor().variant == "int8"
    assert caplog.text == ""
    monkeypatch.setattr("bedplate.bundle.bundle.cpu_features", lambda: frozenset({"avx2"}))
    with caplog.at_level(logging.WARNING):
        bundle = Bundle.open(tmp_path / "box")
        assert bundle.predictor().variant == "int8"
        assert bundle.predictor()({"image": images(2)})["probabilities"].shape == (2, 3)
    (record,) = caplog.records
    for word in ("small", "'int8'", "avx512_vnni or neon", "saturate", "no other graph", "golden rows"):
        assert word in record.getMessage()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(default="int8"), "default variant"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.pop("contract"), "contract"),
        (lambda m: m["variants"]["f32"].update(graph="model.json"), "no graph of its own"),
        (lambda m: m["files"].pop("lineage.json"), "every bundle has"),
        (lambda m: m.update(requires={"onnxruntime": "99.0"}), "too old"),
        (lambda m: m["contract"]["inputs"][0].update(shape=[9, 9, 1]), "contradicts"),
        (lambda m: m["contract"].update(output="value"), "contradicts"),
        (lambda m: m["contract"]["codec"].pop("height"), "damaged"),
        (lambda m: m["contract"]["answers"].pop("labels"), "incomplete"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    box: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    reseal(box, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(box)


def test_a_wrong_id_is_noticed(box: Path) -> None:
    for text in ("0" * 64 + "\n", "", "x", "0" * 64):
        (box / "BUNDLE_ID").write_text(text)
        with pytest.raises(BundleError, match="sealed"):
            Bundle.open(box)


def test_another_graph_under_a_good_hash_fails_its_golden_rows(box: Path) -> None:
    replace_file(box, "graphs/f32.onnx", image_graph(seed=1))
    Bundle.open(box, replay=False)
    with pytest.raises(BundleError, match="golden rows give other answers"):
        Bundle.open(box)


def test_a_graph_of_another_shape_is_refused(box: Path) -> None:
    replace_file(box, "graphs/f32.onnx", image_graph(size=4))
    with pytest.raises(BundleError, match="isn't what the contract says"):
        Bundle.open(box)


def test_labels_must_be_equal_unless_the_two_best_are_as_good_as_equal() -> None:
    sealed = np.array([[0.52, 0.48], [0.50001, 0.49999]], np.float32)
    golden = Golden({"x": np.zeros((2, 1), np.float32)}, {"f32": {"probabilities": sealed}})
    wide = {"atol": 0.03, "rtol": 0.0}  # the first two lie 0.04 apart, more than atol
    golden.replay(lambda _: {"probabilities": np.array([[0.501, 0.499], [0.49, 0.51]])}, "f32", wide, "box")
    with pytest.raises(BundleError, match=r"other labels.*1 of 2"):
        golden.replay(lambda _: {"probabilities": np.array([[0.499, 0.501], [0.49, 0.51]])}, "f32", wide, "box")
    with pytest.raises(BundleError, match="other answers"):
        golden.replay(lambda _: {"probabilities": np.full((2, 2), np.nan)}, "f32", wide, "box")


def test_a_file_changed_after_opening_is_noticed_when_it_is_read(box: Path) -> None:
    bundle = Bundle.open(box)
    (box / "report.json").write_text('{"metrics": {}}')
    with pytest.raises(BundleError, match="sealed"):
        _ = bundle.report


def test_places_that_hold_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    for place, message in {"nowhere": "no such bundle", "text": "archive", "empty": "no bundle"}.items():
        with pytest.raises(BundleError, match=message):
            Bundle.open(tmp_path / place)


def test_the_default_falls_back_where_the_processor_lacks_a_feature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = sorted(set(machine.FEATURES) - machine.cpu_features())[0]
    graphs = {"f32": image_graph(), "int8": image_graph(scale=0.049)}
    info = {"f32": {}, "int8": {"reason": "smaller", "isa": {"any_of": [missing]}, "latency_ms": 1.5}}
    golden = golden_of({"image": images(5)}, graphs, None)
    with caplog.at_level(logging.WARNING):
        bundle = image_bundle(tmp_path / "box", graphs=graphs, default="int8", variants_info=info, golden=golden)
        assert bundle.predictor().variant == "f32"
    assert missing in caplog.text
    assert bundle.predictor("int8").variant == "int8"
    assert bundle.manifest.variants["int8"].model_extra == {"latency_ms": 1.5}
    here = sorted(machine.cpu_features())[:1]
    info["int8"]["isa"] = {"any_of": [missing, *here]}
    bundle = image_bundle(tmp_path / "here", graphs=graphs, default="int8", variants_info=info, golden=golden)
    assert bundle.predictor().variant == ("int8" if here else "f32")
    with pytest.raises(BundleError, match="did you mean 'int8'"):
        bundle.predictor("int-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": {"accuracy": float("nan")}}, "isn't JSON"),
        ({"name": "../up"}, "wrong at name"),
        ({"default": "int8"}, "default variant"),
        ({"golden": Golden({"image": images(2)}, {})}, "every variant"),
        (
            {
                "graphs": {"f32": b"junk"},
                "golden": Golden({"image": images(2)}, {"f32": {"probabilities": np.ones((2, 3))}}),
            },
            "ONNX",
        ),
    ],
)
def test_nothing_is_written_where_the_content_is_wrong(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        image_bundle(tmp_path / "box", **change)
    assert list(tmp_path.iterdir()) == []


def test_golden_rows_that_the_graph_does_not_give_are_never_sealed(tmp_path: Path) -> None:
    golden = golden_of({"image": images(5)}, {"f32": image_graph(seed=9)}, None)
    with pytest.raises(BundleError, match="golden rows"):
        image_bundle(tmp_path / "box", golden=golden)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(box: Path) -> None:
    with pytest.raises(InputError, match="already exists"):
        image_bundle(box)
    Bundle.open(box)


def test_golden_rows_are_at_most_256_and_agree() -> None:
    with pytest.raises(BundleError, match="1 to 256"):
        Golden({"image": images(257)}, {})
    with pytest.raises(BundleError, match="labels"):
        Golden({"image": images(3)}, {}, labels=np.zeros(2))


def test_strings_and_missing_numbers_survive_in_golden_rows() -> None:
    inputs = {
        "age": np.array([1.5, np.nan]),
        "town": np.array(["Zürich", ""], dtype=object),
        "note": np.array(["a\nb", "東京"], dtype=object),
    }
    golden = Golden(inputs, {"f32": {"value": np.array([1, 2], np.float32)}}, np.array([0.5, 1.0]), "synthetic")
    text, tensors = golden.to_files()
    back = Golden.from_files(json.loads(text), tensors, "box")
    assert back.inputs["town"].tolist() == ["Zürich", ""]
    assert back.inputs["note"].tolist() == ["a\nb", "東京"]
    np.testing.assert_array_equal(back.inputs["age"], inputs["age"])
    assert (back.origin, back.rows) == ("synthetic", 2)
    assert golden.to_files() == (text, tensors)


def test_one_payload_alone_and_a_runs_folder_are_told(box: Path, tmp_path: Path) -> None:
    for payload in (b"\x89PNG", "text", {"a": 1}):
        with pytest.raises(PayloadError, match="put it into a list"):
            Bundle.open(box).predict(payload)  # type: ignore[arg-type]
    shutil.copytree(box, tmp_path / "run" / "bundle")
    with pytest.raises(BundleError, match=r"it is a run's folder: name .*run/bundle"):
        Bundle.open(tmp_path / "run")
