"""`monitor` on a server's state and on payloads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.bundle.boxes import image_bundle, images, table_bundle, table_rows, watched_image_bundle

from bedplate.bundle import Bundle
from bedplate.core.errors import BundleError, InputError, PayloadError
from bedplate.operations import monitor
from bedplate.profile import Reference
from bedplate.serving.state import StateFolder, WindowState


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return watched_image_bundle(tmp_path_factory.mktemp("box") / "image")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return table_bundle(tmp_path_factory.mktemp("box") / "table")


def brighter(rows: int, seed: int = 1) -> np.ndarray:
    return np.clip(images(rows, seed).astype(int) + 80, 0, 255).astype(np.uint8)


def saved(box: Bundle, folder: Path, *batches: np.ndarray) -> Path:
    reference = Reference.from_json(box.reference)
    state = WindowState(box.id, reference)
    for rows in batches:
        state.add({"image": rows}, box.predictor()({"image": rows}))
    keep = StateFolder(folder)
    keep.save("served-name", state)
    keep.close()
    return folder


def test_payloads_like_the_reference_do_not_drift_and_others_do(box: Bundle, table: Bundle) -> None:
    assert not monitor(box, inputs=list(images(200, seed=3))).drift
    report = monitor(box, inputs=iter(brighter(200)))
    assert report.drift
    assert "image.brightness" in {feature.name for feature in report.moved}
    assert report.rows == 200
    assert not monitor(table, inputs=table_rows(200, seed=8)).drift
    older = [row | {"age": (row["age"] or 0) + 60} for row in table_rows(200, seed=8)]
    assert {"age"} <= {feature.name for feature in monitor(table, inputs=older).moved}


def test_a_servers_state_is_judged_by_its_newest_rows(box: Bundle, tmp_path: Path) -> None:
    good, bad = images(100, seed=4), brighter(100)
    assert not monitor(box, state=saved(box, tmp_path / "a", good, good[:20])).drift
    assert monitor(box, state=saved(box, tmp_path / "b", good, bad)).drift
    assert monitor(box, state=saved(box, tmp_path / "c", good, bad[:60])).drift
    assert monitor(box, state=saved(box, tmp_path / "d", bad[:60])).drift
    recovered = monitor(box, state=saved(box, tmp_path / "e", bad, good))
    assert (recovered.drift, recovered.rows) == (False, 100)


def test_too_few_rows_say_how_many_are_needed(box: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least 50 rows.*received 12 rows.*38 more"):
        monitor(box, inputs=list(images(12)))
    with pytest.raises(InputError, match="received 0 rows"):
        monitor(box, inputs=[])
    with pytest.raises(InputError, match="30 more"):
        monitor(box, state=saved(box, tmp_path, images(20)))


def test_what_can_not_be_judged(box: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say what to look at"):
        monitor(box)
    with pytest.raises(InputError, match="say what to look at"):
        monitor(box, state=tmp_path, inputs=[])
    with pytest.raises(InputError, match="no such folder"):
        monitor(box, state=tmp_path / "nowhere")
    with pytest.raises(PayloadError):
        monitor(box, inputs=[b"junk"] * 60)
    with pytest.raises(BundleError, match="holds no drift reference"):
        monitor(image_bundle(tmp_path / "plain"), inputs=list(images(60)))
