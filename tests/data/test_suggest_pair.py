from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.data.talks import said, talks, write

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


@pytest.mark.parametrize("task", [None, "text-to-text"])
def test_talks_are_recognised(tmp_path: Path, task: str | None) -> None:
    path = write(tmp_path / "talks.jsonl", talks())
    found = suggest(path, task=task)
    assert (found.task, found.data) == ("text-to-text", {"source": str(path), "text": {"messages": "messages"}})
    assert any("'messages' holds talks" in reason for reason in found.reasons)
    assert found.facts["rows"] == 160


def test_talks_in_official_files_are_recognised(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", talks()[:60])
    write(tmp_path / "test.jsonl", talks()[60:])
    found = suggest(tmp_path)
    assert set(found.data["files"]) == {"train", "test"}
    assert found.data["text"] == {"messages": "messages"}
    assert found.facts["rows"] == 160


def test_a_bad_talk_among_good_ones_is_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "talks.jsonl", [*talks(), said("nobody answers")])
    found = suggest(path)
    assert found.data["on_bad_row"] == "skip"
    assert any("no message of the assistant" in reason for reason in found.reasons)


def test_talks_that_are_all_at_fault_are_told_by_line_and_message(tmp_path: Path) -> None:
    path = write(tmp_path / "talks.jsonl", [said(f"nobody answers {k}") for k in range(20)])
    with pytest.raises(DataError, match=r"talks\.jsonl:1: messages: no message of the assistant"):
        suggest(path)


def test_lists_that_are_no_talks_are_none(tmp_path: Path) -> None:
    rows = "".join(f'{{"messages": [{k}], "said": "a long text {k}", "reply": "text {k}"}}\n' for k in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    assert suggest(tmp_path / "rows.jsonl", "reply", task="text-to-text").data["text"] == {"column": "said"}
    (tmp_path / "rows.jsonl").write_text(rows.replace("[", "").replace("]", ""))
    assert suggest(tmp_path / "rows.jsonl", task="text-to-text").data["text"] == {"column": "said"}


def test_talks_in_the_cells_of_a_csv_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "talks.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "messages"])
        rows.writerows([number, json.dumps(talk)] for number, talk in enumerate(talks()))
    found = suggest(path)
    assert (found.task, found.data["text"]) == ("text-to-text", {"messages": "messages"})
    assert found.facts["rows"] == 160
