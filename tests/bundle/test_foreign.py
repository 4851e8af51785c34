"""A bare ONNX file becomes a sealed bundle that answers as the file does, or is refused with a reason."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from bedplate.bundle import Bundle
from bedplate.bundle.foreign import ImportSpec, default_name, import_onnx, read_graph
from bedplate.bundle.foreign_frame import Preprocessing
from bedplate.core.errors import BundleError, InputError, RunError

FLOAT = TensorProto.FLOAT


def value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def write(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 17, **constants: np.ndarray
) -> Path:
    graph = helper.make_graph(
        nodes, "foreign", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()]
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)]), str(path))
    return path


def linear(path: Path, inputs: int = 4, outputs: int = 3, rows: Any = "rows", opset: int = 17) -> Path:
    weights = np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32)
    node = helper.make_node("MatMul", ["features", "w"], ["scores"])
    return write(
        path,
        [node],
        [value("features", FLOAT, [rows, inputs])],
        [value("scores", FLOAT, [rows, outputs])],
        opset,
        w=weights,
    )


def convolution(path: Path, shape: list[Any], opset: int = 17) -> Path:
    """An image classifier with channels first: convolution, mean over the pixels, two classes."""
    weights = np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"]),
    ]
    return write(path, nodes, [value("input", FLOAT, shape)], [value("logits", FLOAT, [shape[0], 2])], opset, w=weights)


def own_answers(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_plain_tensors_keep_the_file_byte_by_byte(tmp_path: Path) -> None:
    path = linear(tmp_path / "scorer v2.onnx")
    bundle = import_onnx(path, tmp_path / "out", ImportSpec())
    assert bundle.name == "scorer-v2"
    assert bundle.graph("f32") == path.read_bytes()
    assert (bundle.manifest.contract.output, bundle.outputs[0].shape) == ("scores", (3,))
    assert bundle.lineage["imported"]["file"] == "scorer v2.onnx"
    assert bundle.model["name"] == "imported"
    rows = np.random.default_rng(5).normal(size=(6, 4)).astype(np.float32)
    (expected,) = own_answers(path, {"features": rows})
    given = bundle.predict(list(rows))
    np.testing.assert_array_equal(np.array([one["outputs"]["scores"] for one in given], np.float32), expected)
    assert import_onnx(path, tmp_path / "again", ImportSpec()).id == bundle.id  # seeded


def test_several_inputs_of_several_types_and_several_outputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["n"], ["nf"], to=FLOAT),
        helper.make_node("Add", ["a", "nf"], ["sum"]),
        helper.make_node("Not", ["flag"], ["unflag"]),
        helper.make_node("Identity", ["half"], ["same"]),
    ]
    path = write(
        tmp_path / "many.onnx", nodes,
        [value("a", FLOAT, ["r", "any"]), value("n", TensorProto.INT64, ["r", "any"]), value("flag", TensorProto.BOOL, ["r"]),
         value("half", TensorProto.FLOAT16, ["r", 2, 2])],
        [value("sum", FLOAT, ["r", "any"]), value("unflag", TensorProto.BOOL, ["r"]), value("same", TensorProto.FLOAT16, ["r", 2, 2])],
    )  # fmt: skip
    bundle = import_onnx(path, tmp_path / "out", ImportSpec())
    assert [(one.name, one.dtype, one.shape) for one in bundle.outputs] == [
        ("sum", "float32", (-1,)), ("unflag", "bool", ()), ("same", "float16", (2, 2)),
    ]  # fmt: skip
    (answer,) = bundle.predict([{"a": [0.5, 1], "n": [1, 2], "flag": True, "half": [[1, 2], [3, 4]]}])
    assert answer == {"outputs": {"sum": [1.5, 3.0], "unflag": False, "same": [[1, 2], [3, 4]]}}


@pytest.mark.parametrize(("rows", "opset"), [("rows", 17), (1, 17), ("rows", 9)])
def test_an_image_graph_normalises_as_its_maker_did(tmp_path: Path, rows: Any, opset: int) -> None:
    path = convolution(tmp_path / "photo.onnx", [rows, 3, 8, 10], opset)
    how = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), order="bgr")
    bundle = import_onnx(path, tmp_path / "out", ImportSpec("image", labels=("cat", "dog"), image=how))
    pixels = np.random.default_rng(3).integers(0, 256, (4, 8, 10, 3), dtype=np.uint8)
    scaled = (pixels[..., ::-1].astype(np.float32) / 255 - np.float32(how.mean)) / np.float32(how.std)
    rows_in = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
    expected = softmax(np.concatenate([own_answers(path, {"input": row[None]})[0] for row in rows_in]))
    given = bundle.predict(list(pixels))
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in given], expected, atol=1e-5)
    assert [one["answer"] for one in given] == [("cat", "dog")[k] for k in expected.argmax(axis=1)]


def test_an_image_of_open_size_needs_a_size_and_keeps_to_it(tmp_path: Path) -> None:
    path = convolution(tmp_path / "photo.onnx", ["rows", 3, "h", "w"])
    with pytest.raises(InputError, match="--size"):
        import_onnx(path, tmp_path / "out", ImportSpec("image"))
    bundle = import_onnx(path, tmp_path / "out", ImportSpec("image", image=Preprocessing(size=(12, 9))))
    assert bundle.inputs[0].shape == (12, 9, 3)
    assert set(bundle.predict([np.zeros((20, 20, 3), np.uint8)])[0]["outputs"]) == {"logits"}
    fixed = convolution(tmp_path / "fixed.onnx", ["rows", 3, 8, 8])
    with pytest.raises(InputError, match="size of its own"):
        import_onnx(fixed, tmp_path / "other", ImportSpec("image", image=Preprocessing(size=(12, 9))))


def test_uint8_and_channels_last_pass_untouched(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=FLOAT),
        helper.make_node("ReduceMean", ["f"], ["level"], axes=[1, 2], keepdims=0),
    ]
    path = write(
        tmp_path / "u8.onnx",
        nodes,
        [value("pixels", TensorProto.UINT8, ["r", 6, 5, 1])],
        [value("level", FLOAT, ["r", 1])],
    )
    bundle = import_onnx(path, tmp_path / "out", ImportSpec("image"))
    pixels = np.arange(30, dtype=np.uint8).reshape(6, 5, 1)
    assert bundle.predict([pixels])[0]["outputs"]["level"] == [14.5]
    with pytest.raises(InputError, match="as they are"):
        import_onnx(path, tmp_path / "b", ImportSpec("image", image=Preprocessing(mean=(0.5,))))


def test_a_table_takes_rows_by_column(tmp_path: Path) -> None:
    path = linear(tmp_path / "flowers.onnx")
    spec = ImportSpec("table", columns=("a", "b", "value", "d"), labels=("x", "y", "z"), target="kind")
    bundle = import_onnx(path, tmp_path / "out", spec)
    assert [one.name for one in bundle.codec.tensors] == ["a", "b", "value_", "d"]
    rows = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)
    expected = softmax(own_answers(path, {"features": rows})[0])
    given = bundle.predict([dict(zip(("a", "b", "value", "d"), map(float, row), strict=True)) for row in rows])
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in given], expected, atol=1e-6)


def test_a_table_without_labels_answers_a_number(tmp_path: Path) -> None:
    path = linear(tmp_path / "price.onnx", outputs=1)
    bundle = import_onnx(path, tmp_path / "out", ImportSpec("table"))
    row = {"column1": 1, "column2": "2", "column3": 3.5, "column4": -1}
    expected = own_answers(path, {"features": np.array([[1, 2, 3.5, -1]], np.float32)})[0][0, 0]
    assert bundle.predict([row])[0]["value"] == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(InputError, match="one number a row"):
        import_onnx(linear(tmp_path / "three.onnx"), tmp_path / "b", ImportSpec("table"))


def test_probabilities_are_left_alone_and_logits_get_a_softmax(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["p"], axis=1)]
    path = write(tmp_path / "p.onnx", nodes, [value("x", FLOAT, ["r", 4])], [value("p", FLOAT, ["r", 3])], w=weights)
    rows = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)
    expected = own_answers(path, {"x": rows})[0]
    for k, activation in enumerate(("auto", "none")):
        bundle = import_onnx(path, tmp_path / str(k), ImportSpec(labels=("a", "b", "c"), activation=activation))
        given = [list(one["probabilities"].values()) for one in bundle.predict(list(rows))]
        np.testing.assert_allclose(given, expected, atol=1e-6)
    twice = import_onnx(path, tmp_path / "twice", ImportSpec(labels=("a", "b", "c"), activation="softmax"))
    given = [list(one["probabilities"].values()) for one in twice.predict(list(rows))]
    np.testing.assert_allclose(given, softmax(expected), atol=1e-6)
    with pytest.raises(InputError, match="isn't probabilities"):
        import_onnx(linear(tmp_path / "l.onnx"), tmp_path / "c", ImportSpec(labels=("a", "b", "c"), activation="none"))


def test_a_graph_without_a_row_axis_answers_one_whole_call_a_row(tmp_path: Path) -> None:
    """A recurrent cell: the state's batch lies second, and the rate is a scalar. An inner graph looks outwards."""
    inner = [helper.make_node("Mul", ["state", "half"], ["kept"])]
    branch = [
        helper.make_graph(inner, "then", [], [value("kept", FLOAT, [2, "b", 3])]),
        helper.make_graph(
            [helper.make_node("Identity", ["state"], ["kept2"])], "else", [], [value("kept2", FLOAT, [2, "b", 3])]
        ),
    ]
    nodes = [
        helper.make_node("Greater", ["rate", "limit"], ["fast"]),
        helper.make_node("If", ["fast"], ["next"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("ReduceSum", ["next"], ["total"], keepdims=0),
    ]
    path = write(
        tmp_path / "cell.onnx", nodes, [value("state", FLOAT, [2, "b", 3]), value("rate", TensorProto.INT64, [])],
        [value("next", FLOAT, [2, "b", 3]), value("total", FLOAT, [])],
        half=np.array(0.5, np.float32), limit=np.array(5, np.int64),
    )  # fmt: skip
    bundle = import_onnx(path, tmp_path / "out", ImportSpec())
    assert [(one.name, one.shape) for one in bundle.inputs] == [("state", (2, -1, 3)), ("rate", ())]
    state = np.random.default_rng(0).normal(size=(3, 2, 4, 3)).astype(np.float32)
    given = bundle.predict([{"state": state[k], "rate": rate} for k, rate in enumerate((1, 8, 9))])
    for k, rate in enumerate((1, 8, 9)):
        after, total = own_answers(path, {"state": state[k], "rate": np.array(rate)})
        np.testing.assert_array_equal(np.array(given[k]["outputs"]["next"], np.float32), after)
        assert given[k]["outputs"]["total"] == pytest.approx(float(total))


def test_given_golden_rows_are_sealed_with_their_answers(tmp_path: Path) -> None:
    path = linear(tmp_path / "a.onnx")
    rows = np.random.default_rng(9).normal(size=(5, 4)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", features=rows)
    bundle = import_onnx(path, tmp_path / "out", ImportSpec(golden=tmp_path / "rows.npz"))
    assert bundle.golden.origin == "rows"
    np.testing.assert_array_equal(bundle.golden.inputs["features"], rows)
    np.testing.assert_array_equal(bundle.golden.outputs["f32"]["scores"], own_answers(path, {"features": rows})[0])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"other": np.zeros((2, 4), np.float32)}, "other inputs"),
        ({"features": np.zeros((2, 5), np.float32)}, "don't fit"),
        ({"features": np.zeros((0, 4), np.float32)}, "one golden row at least"),
        ({"features": np.full((2, 4), np.nan, np.float32)}, "NaN"),
        ({"features": np.array([["a"] * 4])}, "don't fit"),
        ({"features": np.float32(1)}, "don't fit"),
    ],
)
def test_golden_rows_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(InputError, match=words):
        import_onnx(linear(tmp_path / "a.onnx"), tmp_path / "out", ImportSpec(golden=tmp_path / "rows.npz"))
    assert not (tmp_path / "out").exists()


def test_a_file_of_rows_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"PK\x03\x04 no archive")
    for name in ("rows.npz", "absent.npz"):
        with pytest.raises(InputError, match="can't be read"):
            import_onnx(linear(tmp_path / "a.onnx"), tmp_path / "out", ImportSpec(golden=tmp_path / name))


def external(path: Path, location: str = "weights.bin") -> Path:
    """A linear graph whose weights lie in a second file."""
    model = onnx.load(str(linear(path)))
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    if location != "weights.bin":
        model = onnx.load(str(path), load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_second_file_are_packed_in(tmp_path: Path) -> None:
    plain = linear(tmp_path / "plain.onnx")
    path = external(tmp_path / "split.onnx")
    bundle = import_onnx(path, tmp_path / "out", ImportSpec())
    rows = np.ones((2, 4), np.float32)
    (expected,) = own_answers(plain, {"features": rows})
    np.testing.assert_array_equal(
        np.array([a["outputs"]["scores"] for a in bundle.predict(list(rows))], np.float32), expected
    )
    (tmp_path / "weights.bin").unlink()
    assert len(Bundle.open(tmp_path / "out").predict(list(rows))) == 2
    with pytest.raises(InputError, match="missing"):
        import_onnx(path, tmp_path / "b", ImportSpec())


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "sub/weights.bin", "..", "", "a\\b"])
def test_weights_outside_the_folder_are_never_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"0" * 48)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    path = external(tmp_path / "in" / "a.onnx", location)
    with pytest.raises(InputError, match="own folder"):
        import_onnx(path, tmp_path / "out", ImportSpec())


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_beside_the_graph_is_not_followed(tmp_path: Path, link: Any) -> None:
    (tmp_path / "in").mkdir()
    path = external(tmp_path / "in" / "a.onnx")
    (tmp_path / "in" / "weights.bin").rename(tmp_path / "elsewhere.bin")
    link(tmp_path / "elsewhere.bin", tmp_path / "in" / "weights.bin")
    with pytest.raises(InputError, match="plain file"):
        import_onnx(path, tmp_path / "out", ImportSpec())


def test_local_functions_are_put_in_place(tmp_path: Path) -> None:
    function = helper.make_function(
        "mine", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["y"], domain="mine")],
        "g",
        [value("x", FLOAT, ["r", 2])],
        [value("y", FLOAT, ["r", 2])],
    )
    model = helper.make_model(
        graph,
        ir_version=8,
        functions=[function],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )
    onnx.save(model, str(tmp_path / "f.onnx"))
    bundle = import_onnx(tmp_path / "f.onnx", tmp_path / "out", ImportSpec())
    assert bundle.predict([[1, 2]])[0]["outputs"]["y"] == [2, 4]


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    for name, data in {
        "text.onnx": b"not a graph at all",
        "empty.onnx": b"",
        "torch.onnx": b"PK\x03\x04" + b"0" * 99,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BundleError, match="not a readable ONNX graph"):
            import_onnx(tmp_path / name, tmp_path / "out", ImportSpec())
    with pytest.raises(InputError, match="can't be read"):
        read_graph(tmp_path / "absent.onnx")


def test_a_newer_opset_is_named(tmp_path: Path) -> None:
    model = onnx.load(str(linear(tmp_path / "a.onnx")))
    model.opset_import[0].version = 99
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"opset 99.*lower opset"):
        import_onnx(tmp_path / "a.onnx", tmp_path / "out", ImportSpec())


def test_random_answers_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    path = write(tmp_path / "r.onnx", nodes, [value("x", FLOAT, ["r", 2])], [value("y", FLOAT, ["r", 2])])
    with pytest.raises(InputError, match="random"):
        import_onnx(path, tmp_path / "out", ImportSpec())


def test_a_graph_without_inputs_or_finite_answers_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "n.onnx",
        [helper.make_node("Identity", ["w"], ["y"])],
        [],
        [value("y", FLOAT, [2])],
        w=np.ones(2, np.float32),
    )
    with pytest.raises(InputError, match="no inputs"):
        import_onnx(path, tmp_path / "out", ImportSpec())
    nan = write(
        tmp_path / "nan.onnx", [helper.make_node("Mul", ["x", "w"], ["y"])], [value("x", FLOAT, ["r", 2])],
        [value("y", FLOAT, ["r", 2])], w=np.array([np.nan, 1], np.float32),
    )  # fmt: skip
    with pytest.raises(InputError, match="finite"):
        import_onnx(nan, tmp_path / "out", ImportSpec())


def test_labels_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 labels.*received 2"):
        import_onnx(linear(tmp_path / "a.onnx"), tmp_path / "out", ImportSpec(labels=("a", "b")))
    with pytest.raises(InputError, match="no such output"):
        import_onnx(linear(tmp_path / "a.onnx"), tmp_path / "out", ImportSpec(labels=("a", "b", "c"), output="other"))


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="exists"):
        import_onnx(linear(tmp_path / "a.onnx"), tmp_path / "out", ImportSpec())


def test_without_the_onnx_package_plain_tensors_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = linear(tmp_path / "a.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert import_onnx(path, tmp_path / "out", ImportSpec()).outputs[0].name == "scores"
    with pytest.raises(InputError, match=r"bedplate\[train\]"):
        import_onnx(path, tmp_path / "b", ImportSpec(labels=("a", "b", "c")))


def test_names_that_a_bundle_can_have() -> None:
    assert default_name(Path("/x/My Model (v2).onnx")) == "My-Model-v2"
    assert default_name(Path("/x/模型.onnx")) == "imported"


def test_no_damage_gets_past_the_errors(tmp_path: Path) -> None:
    """Bytes changed, cut out, put in and cut off anywhere: a bundle that answers, or an error that says why."""
    rng = np.random.default_rng(0)
    seeds = [linear(tmp_path / "a.onnx").read_bytes(), external(tmp_path / "b.onnx").read_bytes()]
    specs = [ImportSpec(), ImportSpec(labels=("a", "b", "c")), ImportSpec("table", labels=("a", "b", "c"))]
    refused = 0
    for k in range(150):
        data = bytearray(seeds[k % 2])
        at = int(rng.integers(len(data)))
        data[at : at + int(rng.integers(3))] = rng.bytes(int(rng.integers(3)))
        file = tmp_path / "damaged.onnx"
        file.write_bytes(data if k % 5 else data[:at])
        try:
            import_onnx(file, tmp_path / f"out{k}", specs[k % 3])
        except InputError:
            refused += 1
    assert refused > 50
