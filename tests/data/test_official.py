from __future__ import annotations

import numpy as np
import pytest

from bedplate.data.official import told_overlaps, torn_labels


@pytest.mark.parametrize(
    ("count", "note"),
    [
        (0, []),
        (1, ["overlap: 1 test text also lies in the train split"]),
        (2000, ["overlap: 2,000 test texts also lie in the train split"]),
    ],
)
def test_overlaps_are_told_in_words_that_fit_their_number(count: int, note: list[str]) -> None:
    assert told_overlaps({"test_in_train": count, "test_in_validation": 0}, "text") == note


def test_one_torn_row_appears_and_two_appear() -> None:
    keys, labels = np.array(["a", "a", "b", "b"], object), np.array(["x", "y", "x", "x"], object)
    assert torn_labels(keys, labels, ["1", "2", "3", "4"], "texts") == [
        "1 text appears under more than one class: 1, 2"
    ]
    labels[3] = "y"
    assert torn_labels(keys, labels, list("1234"), "images")[0].startswith("2 images appear under")
