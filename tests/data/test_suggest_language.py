from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.core.errors import DataError
from bedplate.data.suggest import suggest
from bedplate.data.suggest_language import is_prose


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


TALE = "old Tom saw a river, and the king forgot every star.\n"


@pytest.mark.parametrize(
    ("name", "text", "prose"),
    [
        ("tale.txt", TALE * 40, True),
        ("tale.md", "So it goes.\nAnd so, my friend, it went, and went.\nAll night long.\n" * 20, True),
        ("line.txt", "So it went on and on, and never ended. " * 30, True),
        ("mail.txt", "spam\tcall now and win a prize\nham\tso it goes with us\n" * 20, False),
        ("rows.txt", "red, small, yes\nblue, large, no\n" * 20, False),
        ("rows.txt", "the film was good, pos\nthe film was bad, neg\n" * 20, False),
        ("rows.csv", TALE * 40, False),
        ("rows.txt", "1 2 3\n4 5 6\n" * 20, False),
    ],
)
def test_prose_is_told_from_a_table(tmp_path: Path, name: str, text: str, prose: bool) -> None:
    (tmp_path / name).write_text(text)
    assert is_prose(tmp_path / name) is prose


def test_a_plain_text_is_no_table_of_clauses(tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    file.write_text(TALE * 400)
    found = suggest(file)
    assert found.task == "language-modelling"
    assert "plain text, not a table" in found.reasons[0]


def test_a_folder_of_plain_texts_is_one_and_official_parts_stay_apart(tmp_path: Path) -> None:
    for name in ("play0.txt", "play1.txt", "notes.md"):
        (tmp_path / name).write_text(TALE * 100)
    found = suggest(tmp_path)
    assert (found.task, found.data["source"]) == ("language-modelling", str(tmp_path))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert not is_prose(tmp_path)
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").write_text(TALE * 100)
    files = suggest(folder).data["files"]
    assert {split: Path(file).name for split, file in files.items()} == {
        "train": "train.txt", "validation": "valid.txt", "test": "test.txt"
    }  # fmt: skip


def test_texts_that_are_not_recognised_hint_at_the_task(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("1+1=2 ... 3*4=12 {so}\n\n" * 40)
    with pytest.raises(DataError, match=r"several tables .*--task language-modelling"):
        suggest(tmp_path)
    rows = "".join(f'{{"text": "So it went {k} and on and on, all night."}}\n' for k in range(60))
    (tmp_path / "only.jsonl").write_text(rows)
    with pytest.raises(DataError, match="a column of their own, and --task language-modelling"):
        suggest(tmp_path / "only.jsonl")
    with pytest.raises(DataError, match="vectors are judged by a column of classes"):
        suggest(tmp_path / "only.jsonl", task="text-embedding")
