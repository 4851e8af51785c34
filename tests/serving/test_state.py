"""Windows tumble, survive a restart, and a state that isn't ours is set aside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.core.errors import InputError
from bedplate.profile import Reference, fit_reference, merge
from bedplate.serving.state import StateFolder, WindowState, read_state, rows_in

RNG = np.random.default_rng(0)
REFERENCE = Reference.from_json(fit_reference({"x": RNG.normal(size=500)}, None, window=75, windows=(50,)))


def rows(count: int, shift: float = 0.0, seed: int = 1) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(shift, 1, count)}


def outputs(count: int) -> dict[str, np.ndarray]:
    return {"value": np.zeros(count, np.float32)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_rows_fall_into_the_same_windows_however_they_arrive(sizes: list[int]) -> None:
    total = sum(sizes)
    values = rows(total)["x"]
    state, whole = WindowState("id", REFERENCE), WindowState("id", REFERENCE)
    whole_verdicts = whole.add({"x": values}, outputs(total))
    verdicts, start = [], 0
    for size in sizes:
        verdicts += state.add({"x": values[start : start + size]}, outputs(size))
        start += size
    assert len(verdicts) == len(whole_verdicts) == total // 75 == state.windows
    assert rows_in(state.running) == total % 75
    assert state.rows == total
    assert [v.to_json() for v in verdicts] == [v.to_json() for v in whole_verdicts]
    for parts, others in ((state.last, whole.last), (state.running, whole.running)):
        assert [p["x"].counts.tolist() for p in parts] == [p["x"].counts.tolist() for p in others]
    if state.last:
        assert len(state.last) == 10
        assert [part["x"].rows for part in state.last] == [8, 7, 8, 7, 8, 7, 8, 7, 8, 7]


def test_the_state_survives_json() -> None:
    state = WindowState("id", REFERENCE)
    state.add(rows(200), outputs(200))
    back = WindowState.from_json(json.loads(json.dumps(state.to_json())), REFERENCE)
    assert back.to_json() == state.to_json()
    assert [merge(window)["x"].rows for window in back.newest()] == [75, 50]


def test_the_state_costs_the_same_whatever_was_served() -> None:
    state = WindowState("id", REFERENCE)
    state.add(rows(20_000), outputs(20_000))
    before = len(json.dumps(state.to_json()))
    state.add(rows(75_000), outputs(75_000))
    assert len(json.dumps(state.to_json())) < before * 1.1
    assert len(state.history) == 100


def test_drift_is_in_the_history() -> None:
    state = WindowState("id", REFERENCE)
    state.add(rows(75), outputs(75))
    state.add(rows(75, shift=5), outputs(75))
    assert [entry["drift"] for entry in state.history] == [False, True]
    assert state.history[1]["moved"]


def test_a_folder_saves_and_restores(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    state, note = folder.restore("m", "id", REFERENCE)
    assert (state.rows, note) == (0, None)
    state.add(rows(100), outputs(100))
    folder.save("m", state)
    back, note = folder.restore("m", "id", REFERENCE)
    assert back.to_json() == state.to_json()
    assert note == "m: 100 rows watched before"
    folder.close()
    assert read_state(tmp_path / "state", "id", REFERENCE).rows == 100


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"bundle_id": "id"}', '{"bundle_id": "id", "format": 9, "window": 75}',
        '{"bundle_id": "id", "format": 1, "window": 75, "last": [{"x": {"counts": [1]}}], "running": []}',
        '{"bundle_id": "id", "format": 1, "window": 75, "last": [{"y": {}}], "running": []}',
        '{"bundle_id": "another", "format": 1}',
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_state_is_kept_aside_and_told(tmp_path: Path, text: str) -> None:
    folder = StateFolder(tmp_path)
    (tmp_path / "m.json").write_text(text)
    state, note = folder.restore("m", "id", REFERENCE)
    assert state.rows == 0
    assert note is not None
    (aside,) = tmp_path.glob("*.aside")
    assert aside.name in note
    assert aside.read_text() == text
    assert not (tmp_path / "m.json").exists()
    folder.close()


def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with pytest.raises(InputError, match="another server"):
        StateFolder(tmp_path)
    folder.close()
    StateFolder(tmp_path).close()


def test_a_state_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_state(tmp_path / "nowhere", "id", REFERENCE)
    with pytest.raises(InputError, match="an empty folder"):
        read_state(tmp_path, "id", REFERENCE)
    (tmp_path / "other.json").write_text('{"bundle_id": "another"}')
    with pytest.raises(InputError, match=r"other bundles: other\.json"):
        read_state(tmp_path, "id", REFERENCE)
