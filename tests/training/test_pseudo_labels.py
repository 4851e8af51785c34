"""Which rows are taken, and with which labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.training.samples import go, mlp, spec, table

from bedplate.training.pseudo_labels import label, pseudo_labels


@given(st.integers(0, 60), st.integers(2, 5), st.floats(0.51, 1.0), st.integers(0, 99))
def test_all_and_only_the_sure_rows_are_taken(rows: int, classes: int, threshold: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.full(classes, 0.2), rows).reshape(rows, classes)
    found = pseudo_labels(probabilities, threshold)
    assert set(found.rows.tolist()) == {row for row in range(rows) if probabilities[row].max() >= threshold}
    assert (found.classes == probabilities[found.rows].argmax(1)).all()
    assert np.allclose(found.probabilities, probabilities[found.rows].max(1))
    shares = draw.dirichlet(np.ones(classes))
    capped = pseudo_labels(probabilities, threshold, shares)
    assert set(capped.rows.tolist()) <= set(found.rows.tolist())
    assert (np.diff(capped.rows) > 0).all()
    for k in range(classes):
        own, all_of_it = capped.rows[capped.classes == k], found.rows[found.classes == k]
        assert len(own) == min(len(all_of_it), int(np.ceil(shares[k] * len(found))))
        left = np.setdiff1d(all_of_it, own)
        if len(own) and len(left):
            assert probabilities[own].max(1).min() >= probabilities[left].max(1).max() - 1e-12, "the surest first"


def test_a_networks_labels_are_its_answers_and_leave_it_in_its_mode() -> None:
    data = table()
    run = go(mlp(), data, spec(epochs=6))
    run.network.train()
    found = label(run.network, data.validation_features, 0.9)
    assert run.network.training
    assert 0 < len(found) < len(data.validation_targets)
    right = (found.classes == data.validation_targets[found.rows]).mean()
    assert right >= run.history[run.best_epoch]["validation_accuracy"], "the sure ones are right at least as often"
    assert found.digest == label(run.network, data.validation_features, 0.9).digest
    assert found.digest != label(run.network, data.validation_features, 0.8).digest
