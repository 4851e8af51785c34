"""The watcher under more rows than it may sketch."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tests.bundle.boxes import images

from bedplate.bundle import Bundle
from bedplate.serving import watch
from bedplate.serving.dataplane import DataPlane


@pytest.fixture
def plane(image_box: Bundle, monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    monkeypatch.setattr(watch, "ROWS_A_SECOND", 1e-6)
    monkeypatch.setattr(watch, "MOST_AT_ONCE", 40)
    plane = DataPlane()
    plane.serve([("", image_box)])
    return plane


def test_of_many_rows_some_are_sketched_and_all_are_counted(plane: DataPlane) -> None:
    (model,) = plane.repository.models.values()
    pixels = images(100, seed=3)
    outputs = model.chosen.run({"image": pixels})
    for first in (0, 30, 60):
        rows = slice(first, first + 30)
        plane.watcher.put(model, {"image": pixels[rows]}, {n: a[rows] for n, a in outputs.items()}, 30)
    plane.close()
    assert plane.watcher.states["small"].rows == 40
    assert plane.metrics.tallies.unwatched == {"small": 50}
    assert 'bedplate_unwatched_rows_total{model="small"} 50' in plane.metrics.text().decode()


def test_what_is_taken_of_one_request_is_spread_over_it(plane: DataPlane) -> None:
    (model,) = plane.repository.models.values()
    pixels = np.repeat(np.arange(80, dtype=np.uint8)[:, None, None, None], 64, 1).reshape(80, 8, 8, 1)
    plane.watcher.put(model, {"image": pixels}, model.chosen.run({"image": pixels}), 80)
    _, taken, outputs = plane.watcher._waiting[0]
    assert taken["image"][:, 0, 0, 0].tolist() == list(range(0, 80, 2))
    assert {len(array) for array in outputs.values()} == {40}
    begun = time.monotonic()
    plane.close()  # does not wait for the pause of a busy model
    assert time.monotonic() - begun < 2
