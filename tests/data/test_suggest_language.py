from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import DataError
from bedplate.data.suggest import suggest


def test_a_text_is_proposed_as_it_loads(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("So it goes, and so it went on.\n" * 400)
    found = suggest(file, task="language-modelling")
    assert found.task == "language-modelling"
    assert found.data["text"]["tokens"] == "character"
    assert found.facts["tokens"] > 5000
    assert any("characters" in reason for reason in found.reasons)


def test_a_short_text_is_seen_in_short_windows_and_one_too_short_is_told(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("So it goes, and so it went on.\n" * 20)
    assert suggest(file, task="language-modelling").data["text"]["length"] == 8
    file.write_text("So it goes.")
    with pytest.raises(DataError, match="too little text"):
        suggest(file, task="language-modelling")
