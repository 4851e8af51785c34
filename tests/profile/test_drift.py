"""Drift is called where data moved, said in words, and not called where it didn't."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from bedplate.core.errors import BundleError, DataError, InputError
from bedplate.profile import DriftReport, Reference, compare, fit_reference

WINDOWS = (50, 200, 1000)


def table(rng: np.random.Generator, rows: int, *, shift: float = 0.0, east: float = 0.3, missing: float = 0.1) -> dict:
    size = rng.normal(10 + 2 * shift, 2, rows)
    size[rng.random(rows) < missing] = np.nan
    town = np.where(rng.random(rows) < east, "east", np.where(rng.random(rows) < 0.02, "islet", "west"))
    return {"size": size, "price": size * 3 + rng.normal(0, 1, rows), "town": town.astype(object)}


def outputs(rng: np.random.Generator, rows: int, sure: float = 4.0) -> dict:
    logits = rng.normal(0, sure, (rows, 3))
    scaled = np.exp(logits - logits.max(1, keepdims=True))
    return {"probabilities": (scaled / scaled.sum(1, keepdims=True)).astype(np.float32)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    value = fit_reference(table(rng, 3000), outputs(rng, 3000), window=200, labels=["a", "b", "c"], windows=WINDOWS)
    return Reference.from_json(json.loads(json.dumps(value)))


def judge(reference: Reference, inputs: dict, answers: dict, parts: int = 10) -> DriftReport:
    index = np.array_split(np.arange(len(inputs["size"])), parts)
    pick = lambda arrays, i: {name: array[i] for name, array in arrays.items()}  # noqa: E731
    return compare(reference, [reference.sketch(pick(inputs, i), pick(answers, i)) for i in index])


def test_honest_windows_do_not_alarm(reference: Reference) -> None:
    rng = np.random.default_rng(1)
    alarms = sum(judge(reference, table(rng, 200), outputs(rng, 200)).drift for _ in range(300))
    assert alarms <= 6  # 1 % of 300 are 3; more than 6 has a chance of 3 %


def test_the_report_names_all_features_and_the_rate(reference: Reference) -> None:
    rng = np.random.default_rng(2)
    report = judge(reference, table(rng, 200), outputs(rng, 200)).to_json()
    assert {f["name"] for f in report["features"]} == {
        "size",
        "price",
        "town",
        "answer",
        "answer.confidence",
        "answer.entropy",
    }
    assert report["false_alarm_rate"] == 0.01
    assert report["rows"] == 200
    assert set(report["features"][0]) == {"name", "kind", "statistic", "threshold", "moved", "from", "to"}


@pytest.mark.parametrize(
    ("changes", "sure", "moved", "words"),
    [
        ({"shift": 1.0}, 4.0, "size", "mean 12"),
        ({"missing": 0.5}, 4.0, "size", "% missing"),
        ({"east": 0.7}, 4.0, "town", "'east' "),
        ({}, 0.5, "answer.confidence", "mean 0.4"),
    ],
)
def test_what_moved_is_named_and_said_in_words(
    reference: Reference, changes: dict, sure: float, moved: str, words: str
) -> None:
    rng = np.random.default_rng(3)
    report = judge(reference, table(rng, 400, **changes), outputs(rng, 400, sure))
    assert report.drift
    found = {feature.name: feature for feature in report.moved}
    assert moved in found
    assert words in found[moved].now
    assert report.features[0].moved


def test_a_category_never_seen_and_a_number_out_of_range_alarm_though_few(reference: Reference) -> None:
    rng = np.random.default_rng(4)
    inputs = table(rng, 1000)
    inputs["town"][:60] = "atlantis"
    inputs["price"][::16] = 1e6
    moved = {(f.name, f.kind): f for f in judge(reference, inputs, outputs(rng, 1000)).moved}
    assert "6.0% never seen before" in moved["town", "outside"].now
    assert "outside that range" in moved["price", "outside"].now


def test_huge_windows_with_trivial_differences_do_not_alarm(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    assert not judge(reference, table(rng, 100_000, shift=0.05, east=0.32), outputs(rng, 100_000)).drift


def test_bursts_widen_the_thresholds_but_cannot_hide_a_real_move(reference: Reference) -> None:
    rng = np.random.default_rng(6)
    false_alarms = {"in order": 0, "shuffled": 0}
    for _ in range(40):
        # Each run of 40 rows is of one batch whose sizes lie together: honest, but not independent.
        inputs = table(rng, 400, missing=0)
        inputs["size"] = np.repeat(rng.normal(10, 1.6, 10), 40) + rng.normal(0, 1.2, 400)
        inputs["price"] = inputs["size"] * 3
        false_alarms["in order"] += judge(reference, inputs, outputs(rng, 400)).drift
        mixed = rng.permutation(400)
        shuffled = {name: values[mixed] for name, values in inputs.items()}
        false_alarms["shuffled"] += judge(reference, shuffled, outputs(rng, 400)).drift
    assert false_alarms["in order"] * 3 < false_alarms["shuffled"]
    half = table(rng, 400)
    for name in ("size", "price"):
        half[name][200:] += 30
    assert judge(reference, half, outputs(rng, 400)).drift


def test_a_drift_that_sets_in_between_two_windows_is_not_taken_for_a_burst(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    before, after = table(rng, 200), table(rng, 120, shift=3)
    parts = [
        [reference.sketch({name: values[i] for name, values in rows.items()}, None) for i in np.array_split(index, 10)]
        for rows, index in ((before, np.arange(200)), (after, np.arange(120)))
    ]
    apart, together = compare(reference, *parts), compare(reference, [*parts[0], *parts[1]])
    assert {"size", "price"} <= {feature.name for feature in apart.moved}
    thresholds = [next(f.threshold for f in report.features if f.name == "size") for report in (apart, together)]
    assert thresholds[0] < thresholds[1]


def test_too_few_rows_say_how_many_are_needed(reference: Reference) -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(InputError, match=r"at least 50 rows.*received 30 rows.*20 more"):
        judge(reference, table(rng, 30), outputs(rng, 30))
    with pytest.raises(InputError, match="received 0 rows"):
        compare(reference, [])
    with pytest.raises(DataError, match="at least 2"):
        fit_reference({"x": np.zeros(1)}, None)


def test_the_reference_holds_no_rows_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(8)
    inputs = {"x": rng.normal(size=300), "y": np.array([f"secret-{k}" for k in range(300)], dtype=object)}
    one = fit_reference(inputs, None, windows=(50,), window=50)
    assert json.dumps(one) == json.dumps(fit_reference(inputs, None, windows=(50,), window=50))
    numbers = {value for value in inputs["x"].tolist() if repr(value) in json.dumps(one)}
    assert numbers <= {inputs["x"].min(), inputs["x"].max()}


@pytest.mark.parametrize(
    "value", [{}, {"format": 1}, {"format": 2, "features": {"x": {}}}, {"format": 1, "features": {"x": {}}}]
)
def test_a_reference_that_is_none_is_refused(value: dict) -> None:
    with pytest.raises(BundleError):
        Reference.from_json(value)


def test_constant_empty_and_tiny_references_work() -> None:
    inputs = {"constant": np.ones(40), "empty": np.full(40, np.nan), "none": np.array([""] * 40, dtype=object)}
    reference = Reference.from_json(fit_reference(inputs, None, windows=(50,), window=50))
    same = {name: np.resize(values, 60) for name, values in inputs.items()}
    assert not compare(reference, [reference.sketch(same, None)]).drift
    other = {"constant": np.zeros(60), "empty": np.ones(60), "none": np.array(["x"] * 60, dtype=object)}
    moved = {feature.name for feature in compare(reference, [reference.sketch(other, None)]).moved}
    assert moved == {"constant", "empty", "none"}


def mnist(root: Path, part: str) -> np.ndarray:
    raw = gzip.decompress((root / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1)


@pytest.mark.data
def test_mnist_as_published_and_shuffled_keeps_the_rate_and_damaged_images_alarm(data_root: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = mnist(data_root, "train"), mnist(data_root, "t10k")
    reference = Reference.from_json(fit_reference({"image": train[rng.choice(60_000, 6000, replace=False)]}, None))

    def drift(images: np.ndarray) -> bool:
        return compare(
            reference, [reference.sketch({"image": part}, None) for part in np.array_split(images, 10)]
        ).drift

    for images in (test, test[rng.permutation(10_000)]):
        alarms = sum(drift(images[i : i + 500]) for i in range(0, 10_000, 500))
        assert alarms == 0  # 1 % of 20 windows
    blurred = sum(np.roll(test[:500].astype(float), (a, b), (1, 2)) for a in (-1, 0, 1) for b in (-1, 0, 1)) / 9
    damaged = [
        255 - test[:500],
        blurred.astype(np.uint8),
        np.roll(test[:500], 3, 2),
        np.roll(test[:500], -2, 1),
        test[:500] // 2,
    ]
    assert all(drift(images) for images in damaged)


def test_the_report_reads_as_sentences(reference: Reference) -> None:
    rng = np.random.default_rng(9)
    still = judge(reference, table(rng, 200), outputs(rng, 200)).lines()
    assert still == [
        "no drift in 200 rows: 6 figures watched; rows like the reference's alarm in at most 1.00% of windows"
    ]
    lines = judge(reference, table(rng, 200, shift=2), outputs(rng, 200)).lines()
    assert lines[0].startswith("drift in 200 rows")
    assert any(re.search(r"size: mean (9\.|10).* → mean 1[34]", line) for line in lines[1:])
