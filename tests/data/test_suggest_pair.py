from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import DataError
from bedplate.data.suggest import suggest


def test_two_files_of_lines_are_recognised_by_their_braces(tmp_path: Path) -> None:
    for side in ("de", "en"):
        (tmp_path / f"train.{side}").write_text("".join(f"{side} {k} Wort\n" for k in range(40)))
    found = suggest(str(tmp_path / "train.{de,en}"))
    assert found.task == "text-to-text"
    assert found.data["source"] == str(tmp_path / "train.{de,en}")
    assert found.facts["train_rows"] == 36
    assert found.facts["tokens"] > 36 * 3


def test_a_table_has_its_longest_columns(tmp_path: Path) -> None:
    lines = "".join(f"{k},please say it again {k},again {k} it is\n" for k in range(40))
    (tmp_path / "talk.csv").write_text("id,said,replied\n" + lines)
    found = suggest(tmp_path / "talk.csv", task="text-to-text")
    assert (found.data["text"], found.data["target"]) == ({"column": "said"}, "replied")
    other = suggest(tmp_path / "talk.csv", "said", task="text-to-text")
    assert (other.data["text"], other.data["target"]) == ({"column": "replied"}, "said")
    with pytest.raises(DataError, match="did you mean 'said'"):
        suggest(tmp_path / "talk.csv", "sad", task="text-to-text")


def test_one_column_is_no_pair(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("text\n" + "some words here\n" * 30)
    with pytest.raises(DataError, match="no column beside the answers"):
        suggest(tmp_path / "one.csv", task="text-to-text")
    with pytest.raises(DataError, match="no such file of lines"):
        suggest(str(tmp_path / "none.{de,en}"))
