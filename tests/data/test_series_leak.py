"""A column that is the target some steps early is told; what is only alike isn't."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.data.test_series import load

from bedplate.data.series_leak import steps_ahead
from bedplate.data.suggest import suggest

DRAW = np.random.default_rng(0)
HOURS = np.arange(600)
LOAD = 50 + 10 * np.sin(HOURS * 2 * np.pi / 24) + DRAW.normal(0, 3, 600)


@pytest.mark.parametrize(
    ("column", "ahead"),
    [
        (np.roll(LOAD, -1), 1), (np.roll(LOAD, -4), 4), (3 - 2 * np.roll(LOAD, -3), 3), (np.roll(LOAD, -5), None),
        (np.roll(LOAD, 1), None), (LOAD, None), (LOAD + DRAW.normal(0, 3, 600), None), (np.zeros(600), None),
        (np.where(HOURS % 7 == 0, np.nan, np.roll(LOAD, -2)), 2),
    ],
)  # fmt: skip
def test_how_early_it_is(column: np.ndarray, ahead: int | None) -> None:
    assert steps_ahead(column[:560], LOAD[:560], 4) == ahead


def test_a_slow_series_is_no_leak_of_itself() -> None:
    slow = np.cumsum(DRAW.normal(0, 1, 600)) + 5 * HOURS
    assert steps_ahead(np.roll(slow, -1)[:560] + DRAW.normal(0, 1, 560), slow[:560], 4) is None
    wave = np.sin(HOURS * 2 * np.pi / 24)
    assert steps_ahead(wave, wave, 48) is None


def test_it_is_told_by_init_and_when_it_is_read(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1)
    lines = [f"{start + timedelta(hours=k)},{LOAD[k]:.4f},{LOAD[(k + 3) % 600]:.4f}" for k in range(600)]
    found = load(tmp_path, lines, columns=["other"])
    assert any(note.startswith("LEAK: 'other' is 'load' 3 steps early") for note in found.notes)
    (tmp_path / "rows.csv").write_text("hour,load,later\n" + "\n".join(lines[::-1]) + "\n")
    reasons = suggest(tmp_path / "rows.csv", "load", "forecasting").reasons
    assert any("LEAK: later shows 'load' before it comes" in why for why in reasons)
    assert not any("could be read" in why for why in reasons)
