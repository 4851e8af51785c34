"""What differs is seen, at every batch size, and judged by the limits of the format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import table_codec, table_graph

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.image import ImageCodec
from bedplate.codecs.tensor import TensorCodec
from bedplate.core.arrays import Arrays, Predict
from bedplate.core.errors import GateError
from bedplate.export.fidelity import Difference, Limits, check_fidelity, difference, edge_rows

EXACT, ROUNDED = Limits(), Limits(exact=False, agreement=0.98, error=0.05)


def table_of(answers: np.ndarray) -> Predict:
    return lambda rows: {"out": answers[np.asarray(rows["row"])]}


def seen(left: np.ndarray, right: np.ndarray, *, labels: bool = True) -> Difference:
    rows: Arrays = {"row": np.arange(len(left))}
    return difference(table_of(left), table_of(right), rows, ["out"], labels=labels)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 50), st.integers(2, 6), st.integers(0, 50), st.integers(0, 9999))
def test_changed_labels_are_counted(rows: int, classes: int, changed: int, seed: int) -> None:
    left = np.random.default_rng(seed).dirichlet(np.ones(classes), rows)
    right = left.copy()
    changed = min(changed, rows)
    right[:changed] = np.roll(np.eye(classes), 1, axis=1)[left[:changed].argmax(axis=1)]
    found = seen(left, right)
    assert found.label_agreement == pytest.approx(1 - changed / rows)
    assert found.within == (changed == 0)
    assert found.rows == rows


def test_equal_answers_pass_every_limit_and_the_batches_are_all_asked() -> None:
    asked = []

    def watching(rows: Arrays) -> Arrays:
        asked.append(len(rows["row"]))
        return {"out": answers[rows["row"]]}

    answers = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    found = difference(table_of(answers), watching, {"row": np.arange(12)}, ["out"], labels=True)
    assert asked == [1, 2, 7, 33, 12]
    assert (found.max_difference, found.label_agreement, found.relative_error, found.within) == (0.0, 1.0, 0.0, True)
    for limits in (EXACT, ROUNDED):
        check_fidelity({"golden": found, "edge": found}, limits)


def test_a_number_is_judged_by_the_answers_own_spread() -> None:
    left = np.array([100.0, 200.0, 300.0, 400.0])
    near, far = seen(left, left + 1, labels=False), seen(left, left + 20, labels=False)
    assert near.relative_error == pytest.approx(1 / left.std())
    assert near.label_agreement is None
    check_fidelity({"golden": near}, ROUNDED)
    with pytest.raises(GateError, match="too far"):
        check_fidelity({"golden": far}, ROUNDED)
    with pytest.raises(GateError, match="golden rows: the exported model does not answer as the bundle does"):
        check_fidelity({"golden": near}, EXACT)


def test_labels_are_held_to_the_budget_on_golden_rows_alone() -> None:
    left = np.tile([[0.9, 0.1]], (64, 1))
    right = left.copy()
    right[0] = [0.1, 0.9]
    one = seen(left, right)
    check_fidelity({"golden": one, "edge": seen(left, 1 - left)}, ROUNDED)  # one of 64 may change
    right[1] = [0.1, 0.9]
    with pytest.raises(GateError, match=r"other labels .*at least 98.0% of the labels; received 96.9%"):
        check_fidelity({"golden": seen(left, right)}, ROUNDED)
    with pytest.raises(GateError, match="edge rows"):
        check_fidelity({"golden": seen(left, left), "edge": one}, EXACT)


def test_another_shape_and_missing_numbers_are_seen() -> None:
    left = np.array([[0.5, np.inf], [np.nan, 1.0]])
    assert seen(left[:1], left[:1], labels=False).within  # infinity equals itself
    assert not seen(left, left, labels=False).within  # what isn't a number equals nothing
    with pytest.raises(GateError, match="another shape"):
        seen(left, left[:, :1])


def test_edge_rows_fit_the_graph() -> None:
    images = edge_rows(ImageCodec(5, 4, 3))
    assert images is not None
    assert (images["image"].shape, images["image"].dtype) == ((4, 5, 4, 3), np.uint8)
    codec = table_codec()
    rows = edge_rows(codec)
    assert rows is not None
    assert set(rows) == {spec.name for spec in codec.tensors}
    assert np.isnan(rows["age"][0])
    assert "never seen" in rows["town"]
    assert np.isfinite(OnnxPredict(table_graph(codec), variant="f32")(rows)["value"]).all()
    assert edge_rows(TensorCodec((TensorSpec("x", "float32", (2,)),))) is None
