from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.codecs.columns import ColumnSchema, read_columns, tensor_specs
from bedplate.codecs.table import TableCodec
from bedplate.codecs.table_learning import CLIP
from bedplate.core.errors import BundleError, DataError, PayloadError

COLUMNS = [
    ColumnSchema("age", "number", "."),
    ColumnSchema("numeric", "number", ","),  # the name of one of the graph's outputs
    ColumnSchema("wealth", "number", "."),
    ColumnSchema("job", "category", "text"),
    ColumnSchema("code", "category", "code"),
    ColumnSchema("active", "category", "bool"),
    ColumnSchema("when", "date", "dmy", clock=True),
    ColumnSchema("note", "text"),
    ColumnSchema("id", "identifier"),
]


def values(rows: int, seed: int = 0) -> dict[str, list[Any]]:
    """Raw training columns with missing values, a rare category and a heavy tail."""
    rng = np.random.default_rng(seed)
    return {
        "age": ["" if rng.random() < 0.1 else str(rng.integers(18, 40)) for _ in range(rows)],
        "numeric": [f"{rng.normal():.3f}".replace(".", ",") for _ in range(rows)],
        "wealth": [float(np.exp(rng.normal(0, 3))) for _ in range(rows)],
        "job": ["rare" if i == 0 else str(rng.choice(["cook", "köchin", "NA", "poet"])) for i in range(rows)],
        "code": [int(rng.integers(1, 4)) for _ in range(rows)],
        "active": [bool(rng.random() < 0.5) for _ in range(rows)],
        "when": [f"{rng.integers(1, 29)}/{rng.integers(1, 13)}/2021 {rng.integers(0, 24)}:30" for _ in range(rows)],
    }


def fitted(rows: int = 800) -> tuple[TableCodec, dict[str, np.ndarray]]:
    inputs = read_columns(values(rows), COLUMNS).tensors
    return TableCodec.fit(inputs, COLUMNS, "wage"), inputs


CODEC, INPUTS = fitted()
ROW = {"age": 30, "numeric": "0,5", "wealth": 3, "job": "cook", "code": 2, "active": True, "when": "31/12/2021 8:30"}


def test_tensors_and_features_have_the_promised_names_types_and_shapes() -> None:
    specs = {spec.name: spec.dtype for spec in CODEC.tensors}
    assert list(specs) == [
        "age", "numeric_", "wealth", "job", "code", "active",
        "when.days", "when.year", "when.month", "when.day", "when.weekday", "when.hour",
    ]  # fmt: skip
    assert list(INPUTS) == list(specs)
    for name, dtype in specs.items():
        assert INPUTS[name].dtype == (object if dtype == "string" else np.float64)
    features = CODEC.features(INPUTS)
    spec = CODEC.feature_spec()
    assert features["numeric"].dtype == np.float32
    assert features["numeric"].shape == (800, spec["numeric"])
    assert features["categories"].dtype == np.int64
    assert features["categories"].shape == (800, len(spec["categories"]))
    assert len(spec["edges"]) == spec["numeric"]


def test_features_are_finite_clipped_and_standardised_and_categories_within_their_cardinality() -> None:
    features = CODEC.features(INPUTS)
    numeric, spec = features["numeric"], CODEC.feature_spec()
    assert np.isfinite(numeric).all()
    assert np.abs(numeric).max() <= CLIP
    scaled = len(CODEC.learned.scaled)
    np.testing.assert_allclose(numeric[:, :scaled].mean(0), 0, atol=0.05)
    np.testing.assert_allclose(numeric[:, :scaled].std(0), 1, atol=0.1)
    for column, cardinality in zip(features["categories"].T, spec["categories"], strict=True):
        assert column.min() >= 0
        assert column.max() < cardinality
    for edges in spec["edges"]:
        assert len(edges) <= 17
        assert edges == sorted(set(edges))


def test_the_graph_agrees_with_numpy() -> None:
    """The plain twin of the pre-graph: the same numbers from `Learned` in NumPy."""
    learned, features = CODEC.learned, CODEC.features(INPUTS)
    for k, item in enumerate(learned.scaled):
        x = np.where(np.isnan(INPUTS[item.tensor]), item.fill, INPUTS[item.tensor])
        x = np.sign(x) * np.log1p(np.abs(x) / item.log) if item.log else x
        expected = np.clip((x - item.mean) / item.deviation, -CLIP, CLIP)
        np.testing.assert_allclose(features["numeric"][:, k], expected, rtol=1e-6, atol=1e-6)
    for k, known in enumerate(learned.categories):
        index = {value: place for place, value in enumerate(known.values, start=2)}
        raw = INPUTS[known.tensor].tolist()
        if known.codes:
            expected_codes = [1 if math.isnan(value) else index.get(math.floor(value), 0) for value in raw]
        else:
            expected_codes = [1 if value == "" else index.get(value, 0) for value in raw]
        assert features["categories"][:, k].tolist() == expected_codes


def test_heavy_tails_go_through_a_logarithm_and_missing_values_get_an_indicator() -> None:
    logs = {item.tensor for item in CODEC.learned.scaled if item.log > 0}
    assert logs == {"wealth"}
    assert CODEC.learned.missing == ("age",)
    indicator = CODEC.features(INPUTS)["numeric"][:, -1]
    assert np.array_equal(indicator == 1, np.isnan(INPUTS["age"]))


def test_rare_categories_train_the_unknown_index_which_new_ones_then_use() -> None:
    job = next(k for k, known in enumerate(CODEC.learned.categories) if known.tensor == "job")
    assert CODEC.features(INPUTS)["categories"][0, job] == 0  # the row of the one "rare"
    seen = CODEC.features(CODEC.decode([{**ROW, "job": text} for text in ("astronaut", None, "cook", "NA")]))
    unknown, missing, cook, also_missing = seen["categories"][:, job].tolist()
    assert (unknown, missing, also_missing) == (0, 1, 1)
    assert cook >= 2


def test_one_row_means_the_same_in_every_spelling() -> None:
    spellings = [
        ROW,
        {**ROW, "age": "30", "wealth": "3.0", "code": "2", "active": "TRUE", "job": "  cook "},
        {**ROW, "age": " 30.0 ", "wealth": "$3", "code": 2.0, "active": "true", "numeric": 0.5},
        {**ROW, "when": "2021-12-31T08:30:00", "note": "ignored", "id": 7, "wage": 99},
    ]
    decoded = CODEC.decode(spellings)
    for array in decoded.values():
        assert len(set(array.tolist())) == 1


def test_composed_and_decomposed_letters_are_one_category() -> None:
    both = CODEC.decode([{**ROW, "job": "k\u00f6chin"}, {**ROW, "job": "ko\u0308chin"}])["job"]
    assert both[0] == both[1]


@pytest.mark.parametrize("absent", [None, "", "NA", "nan", "NaN", "?", " null ", float("nan")])
def test_missing_values_in_every_spelling(absent: object) -> None:
    decoded = CODEC.decode([dict.fromkeys(ROW, absent)])
    for array in decoded.values():
        assert array[0] == "" if array.dtype == object else math.isnan(array[0])
    features = CODEC.features(decoded)
    assert np.isfinite(features["numeric"]).all()
    assert (features["categories"] == 1).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": "thirty"}, ["row 2, column 'age'", "expected a number, or null where missing", "received 'thirty'"]),
        ({"age": float("inf")}, ["column 'age'", "a finite number", "inf"]),
        ({"age": "-Infinity"}, ["column 'age'", "a finite number"]),
        ({"age": 10**400}, ["column 'age'", "a finite number"]),
        ({"age": [1]}, ["column 'age'", "received [1]"]),
        ({"when": "13/13/2021"}, ["column 'when'", "a date such as 31/01/2020 (day first)", "'13/13/2021'"]),
        ({"when": True}, ["column 'when'", "received true"]),
        ({"job": {"a": 1}}, ["column 'job'", "a text"]),
        ({"job": float("inf")}, ["column 'job'", "a finite number"]),
        ({"aeg": 3}, ["row 2", "unknown column 'aeg'", "did you mean 'age'?"]),
    ],
)
def test_what_does_not_fit_is_refused_with_row_column_expected_and_received(
    change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode([ROW, {**ROW, **change}])
    for word in words:
        assert word in caught.value.message


def test_missing_and_misspelt_columns_and_rows_that_are_none() -> None:
    lacking = {name: value for name, value in ROW.items() if name != "wealth"}
    with pytest.raises(PayloadError, match=r"row 1: the row lacks column 'wealth'.*give null"):
        CODEC.decode([lacking])
    with pytest.raises(PayloadError, match=r"lacks column 'wealth'.*for 'Wealht': did you mean 'wealth'\?"):
        CODEC.decode([{**lacking, "Wealht": 1}])
    with pytest.raises(PayloadError, match="a row must give each column a value"):
        CODEC.decode(["age=3"])
    with pytest.raises(PayloadError, match="received 2 values"):
        CODEC.decode([["3", "4"]])


def test_every_fault_is_counted() -> None:
    with pytest.raises(PayloadError, match="1 more values do not fit"):
        CODEC.decode([{**ROW, "age": "x", "wealth": "y"}])


def test_a_codec_rebuilt_from_its_contract_gives_the_same_features_bit_for_bit() -> None:
    contract = json.loads(json.dumps(CODEC.contract(), allow_nan=False))
    assert contract == CODEC.contract()
    again = from_contract(contract)
    assert again.graph() == CODEC.graph()
    assert again.tensors == CODEC.tensors
    assert again.feature_spec() == CODEC.feature_spec()
    ours, theirs = CODEC.features(INPUTS), again.features(INPUTS)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_damaged_and_newer_contracts_are_refused() -> None:
    with pytest.raises(BundleError, match="newer than this release"):
        TableCodec.from_contract({**CODEC.contract(), "version": 99})
    with pytest.raises(BundleError, match="incomplete"):
        TableCodec.from_contract({key: value for key, value in CODEC.contract().items() if key != "learned"})
    with pytest.raises(BundleError, match="unknown kind of codec"):
        from_contract({"kind": "smell"})


def test_the_graph_is_of_the_promised_versions_with_a_free_row_axis() -> None:
    model = onnx.load_from_string(CODEC.graph())
    assert model.ir_version == 10
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20, "ai.onnx.ml": 3}
    assert [entry.name for entry in model.graph.output] == ["numeric", "categories"]
    assert all(entry.type.tensor_type.shape.dim[0].dim_param == "rows" for entry in model.graph.input)


def test_tables_of_only_categories_and_of_only_numbers() -> None:
    for column, raw in (
        (ColumnSchema("c", "category", "text"), ["a", "b"] * 20),
        (ColumnSchema("n", "number", "."), [0.5, 1.25, 3.0, 4.75] * 10),
    ):
        inputs = read_columns({column.name: raw}, [column]).tensors
        codec = TableCodec.fit(inputs, [column], "y")
        features, spec = codec.features(inputs), codec.feature_spec()
        assert features["numeric"].shape == (40, spec["numeric"])
        assert features["categories"].shape == (40, len(spec["categories"]))


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(DataError, match="no column is left"):
        TableCodec.fit({}, [ColumnSchema("t", "text")], "y")
    constant = [ColumnSchema("n", "number", ".")]
    with pytest.raises(DataError, match="no column differs"):
        TableCodec.fit(read_columns({"n": [1, 1, 1]}, constant).tensors, constant, "y")


def test_high_cardinality_keeps_the_commonest() -> None:
    column = ColumnSchema("c", "category", "text")
    raw = [f"v{i}" for i in range(400) for _ in range(2 + (i < 100))]
    codec = TableCodec.fit(read_columns({"c": raw}, [column]).tensors, [column], "y")
    assert codec.feature_spec()["categories"] == [258]
    assert set(codec.learned.categories[0].values[:100]) == {f"v{i}" for i in range(100)}


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**6), 10**6))
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.booleans(), st.integers(0, 9), st.floats(allow_infinity=False))


WIDE = st.one_of(st.none(), st.floats(), st.integers(-(2**1100), 2**1100), st.integers(-(10**20), 10**20))


@settings(deadline=None)
@given(st.lists(WIDE, min_size=1, max_size=8))
def test_numbers_as_they_come_in_json_are_read_as_one_by_one(raw: list[float | int | None]) -> None:
    quick = read_columns({"n": raw}, [ColumnSchema("n", "number", ".")])
    plain = read_columns({"n": raw}, [ColumnSchema("n", "number", ".", missing=("never",))])
    np.testing.assert_array_equal(quick.tensors["n"], plain.tensors["n"])
    assert quick.faults == plain.faults


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, TEXTS), min_size=5, max_size=40))
def test_any_table_round_trips_and_never_gives_a_feature_that_is_not_finite(rows: list[tuple[Any, Any]]) -> None:
    columns = [ColumnSchema("n", "number", "."), ColumnSchema("t", "category", "text")]
    raw = {"n": [row[0] for row in rows], "t": [row[1] for row in rows]}
    decoded = read_columns(raw, columns)
    assert not decoded.faults
    codec = TableCodec.fit(decoded.tensors, columns, "y")
    by_row = codec.decode([{"n": n, "t": t} for n, t in rows])
    for name, array in decoded.tensors.items():  # the training path and the serving path
        assert array.tolist() == by_row[name].tolist() or np.array_equal(array, by_row[name], equal_nan=True)
    again = from_contract(json.loads(json.dumps(codec.contract())))
    ours, theirs = codec.features(by_row), again.features(by_row)
    assert np.isfinite(ours["numeric"]).all()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_names_of_tensors_never_clash() -> None:
    columns = [
        ColumnSchema("when", "date", "ymd"),
        ColumnSchema("when.days", "number", "."),
        ColumnSchema("value", "number", "."),
        ColumnSchema("value_", "number", "."),
    ]
    names = [spec.name for spec in tensor_specs(columns)]
    assert len(set(names)) == len(names)
    assert "when.days" in names
    assert "value" not in names


def test_texts_that_no_graph_can_hold_are_replaced_rather_than_fatal() -> None:
    decoded = CODEC.decode([{**ROW, "job": "\ud800"}, {**ROW, "job": "co\0ok"}])
    assert CODEC.features(decoded)["categories"].shape[0] == 2
    assert "\0" not in decoded["job"][1]
