"""Nearest neighbours as a loop finds them, and figures that follow from their labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs.answers import Answers
from bedplate.core.errors import InputError
from bedplate.evaluation import Report, evaluate, metric_drop, neighbours
from bedplate.evaluation.neighbours import EMBEDDINGS, EmbeddingFacts, commonest, nearest

ANSWERS = Answers("topic", dimensions=3)


def plainly(vectors: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The figures as their definitions say, row by row."""
    found: dict[str, list[float]] = {name: [] for name in EMBEDDINGS}
    for k, own in enumerate(vectors):
        cosines = [
            -np.inf if j == k else float(own @ other / (np.linalg.norm(own) * np.linalg.norm(other)))
            for j, other in enumerate(vectors)
        ]
        near = [targets[j] for j in np.argsort(-np.array(cosines), kind="stable")[: min(10, len(vectors) - 1)]]
        counts = [near.count(label) for label in near]
        found["recall_at_1"].append(near[0] == targets[k])
        found["recall_at_10"].append(targets[k] in near)
        found["precision_at_10"].append(near.count(targets[k]) / len(near))
        found["knn_accuracy"].append(near[counts.index(max(counts))] == targets[k])
    return {name: float(np.mean(values)) for name, values in found.items()}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 40), width=st.integers(2, 9), labels=st.integers(1, 4))
def test_figures_are_the_definitions(seed: int, rows: int, width: int, labels: int) -> None:
    draw = np.random.default_rng(seed)
    vectors, targets = draw.normal(size=(rows, width)).astype(np.float32), draw.integers(0, labels, rows)
    facts = EmbeddingFacts(vectors, targets)
    figures = {name: float(value[0]) for name, value in facts.measure(np.ones((1, rows))).items()}
    assert figures == pytest.approx(plainly(vectors, targets))
    # A vector's length says nothing.
    again = EmbeddingFacts(vectors * draw.uniform(0.5, 9, (rows, 1)), targets)
    np.testing.assert_array_equal(facts.near, again.near)


def test_blocks_and_zeros_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 5))
    vectors[7] = 0
    whole = nearest(vectors, 3)
    monkeypatch.setattr(neighbours, "_CELLS", 120)
    parts = nearest(vectors, 3)
    np.testing.assert_array_equal(whole[0], parts[0])
    assert np.isfinite(parts[1]).all()
    assert not (parts[0] == np.arange(50)[:, None]).any()


def test_the_commonest_label_is_the_nearer_one_where_two_tie() -> None:
    assert commonest(np.array([[2, 1, 1, 2], [3, 1, 1, 0], [5, 4, 3, 2]])).tolist() == [2, 1, 5]


def test_a_report_of_vectors_goes_to_json_and_back_and_is_compared() -> None:
    draw = np.random.default_rng(3)
    targets = np.arange(120) % 3
    good = (np.eye(3)[targets] + draw.normal(scale=0.3, size=(120, 3))).astype(np.float32)
    bad = draw.normal(size=(120, 7)).astype(np.float32)
    names = np.array(["sport", "world", "science"], object)[targets]
    rows = {"row": np.arange(120)}
    better, worse = (
        evaluate(lambda given, v=v: {"embedding": v[given["row"]]}, rows, targets, ANSWERS, slices={"topic": names})
        for v in (good, bad)
    )
    assert set(better.metrics) == set(EMBEDDINGS)
    assert better.metrics["recall_at_1"].low > worse.metrics["recall_at_1"].high
    assert better.compare(worse).real
    assert better.compare(worse).metric == "recall_at_1"
    again = Report.from_json(better.to_json())
    np.testing.assert_array_equal(again.row_errors, better.row_errors)
    assert {one.metric for one in better.slices} == {"recall_at_1"}
    assert worse.worst[0]["expected"] != worse.worst[0]["answer"]
    assert worse.worst[0]["answer"] in ("sport", "world", "science")
    drop = metric_drop("recall_at_1", good, bad, targets, kind="embedding")
    share = better.metrics["recall_at_1"].value - worse.metrics["recall_at_1"].value
    assert drop.value == pytest.approx(100 * share)
    assert drop.high > drop.value
    assert metric_drop("knn_accuracy", good, good, targets, kind="embedding").value == 0
    with pytest.raises(InputError, match="unknown metric 'accuracy'"):
        metric_drop("accuracy", good, bad, targets, kind="embedding")


def test_one_row_has_no_neighbours() -> None:
    with pytest.raises(InputError, match="one row has no neighbours"):
        evaluate(lambda _: {"embedding": np.ones((1, 3))}, {"row": np.zeros(1)}, np.zeros(1, int), ANSWERS)


def test_vectors_without_a_mistake_are_not_certainly_without_one() -> None:
    targets = np.arange(60) % 3
    vectors = np.eye(3, dtype=np.float32)[targets]
    report = evaluate(lambda given: {"embedding": vectors[given["row"]]}, {"row": np.arange(60)}, targets, ANSWERS)
    for one in report.metrics.values():
        assert (one.value, one.high) == (1, 1)
        assert 0.9 < one.low < 1
