"""Talks become a row for each answer; what is at fault in them is named with its line and its message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.talks import Talk, said, write

from bedplate.codecs.chat import ChatTemplate
from bedplate.core.errors import DataError
from bedplate.data.pair_pool import PairPool
from bedplate.data.talk_pool import read_talk_pool
from bedplate.recipe.schema import DataSpec

TALKS = [said("hi", "ho", "why", "because", "oh"), said("so", "it goes", system="Be brief.")]


def silent(text: str) -> None:
    """Hear nothing."""


def read(folder: Path, source: str = "talks.jsonl", **more: Any) -> PairPool:
    text = {"messages": "messages", **more.pop("text", {})}
    return read_talk_pool(DataSpec.model_validate({"source": source, "text": text, **more}), folder, silent)


def test_each_answer_is_a_row_of_all_that_was_said_before(tmp_path: Path) -> None:
    write(tmp_path / "talks.jsonl", TALKS)
    pool = read(tmp_path)
    assert pool.texts.tolist() == [
        "User: hi\nAssistant:", "User: hi\nAssistant: ho\nUser: why\nAssistant:", "Be brief.\nUser: so\nAssistant:"
    ]  # fmt: skip
    assert pool.answers.tolist() == ["ho", "because", "it goes"]
    assert pool.ids == ["talks.jsonl:1 messages[1]", "talks.jsonl:1 messages[3]", "talks.jsonl:2 messages[2]"]
    assert (pool.name, pool.column, pool.target, pool.splits) == ("talks", "text", "answer", None)
    assert pool.talks is not None
    one, two, three = pool.talks.keys
    assert one == two != three
    assert [len(turns) for turns in pool.talks.turns] == [1, 3, 2]
    assert pool.talks.template == ChatTemplate()


def test_a_recipes_template_renders_them(tmp_path: Path) -> None:
    write(tmp_path / "talks.jsonl", TALKS)
    template = {"user": "<u>{content}", "assistant": "<a>{content}"}
    pool = read(tmp_path, text={"template": template})
    assert pool.texts.tolist() == ["<u>hi<a>", "<u>hi<a>ho<u>why<a>", "Be brief.\n<u>so<a>"]
    with pytest.raises(DataError, match=r"data\.text\.template\.user.*once"):
        read(tmp_path, text={"template": {"user": "User: "}})


def test_an_answer_of_weight_0_is_read_and_not_learnt(tmp_path: Path) -> None:
    talk: Talk = said("hi", "ho", "why", "because")
    talk[1]["weight"], talk[3]["weight"] = 0, 1
    write(tmp_path / "talks.jsonl", [talk])
    pool = read(tmp_path)
    assert pool.texts.tolist() == ["User: hi\nAssistant: ho\nUser: why\nAssistant:"]


def test_the_same_comes_from_parquet_and_from_a_cell_of_json(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    write(tmp_path / "talks.jsonl", TALKS)
    wanted = read(tmp_path)
    table = pyarrow.table({"said": TALKS, "other": ["x", "y"]})
    pyarrow.parquet.write_table(table, tmp_path / "talks.parquet")
    cells = [json.dumps(talk).replace('"', '""') for talk in TALKS]
    (tmp_path / "talks.csv").write_text("said,other\n" + "".join(f'"{cell}",x\n' for cell in cells))
    for source in ("talks.parquet", "talks.csv"):
        pool = read(tmp_path, source, text={"messages": "said"})
        assert pool.texts.tolist() == wanted.texts.tolist()
        assert pool.talks is not None
        assert wanted.talks is not None
        assert pool.talks.keys.tolist() == wanted.talks.keys.tolist()
    (tmp_path / "whole.json").write_text(json.dumps([{"messages": talk} for talk in TALKS]))
    assert read(tmp_path, "whole.json").texts.tolist() == wanted.texts.tolist()


def test_files_are_official_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", TALKS[:1])
    write(tmp_path / "test.jsonl", TALKS[1:])
    spec = DataSpec.model_validate(
        {"files": {"train": "train.jsonl", "test": "test.jsonl"}, "text": {"messages": "messages"}}
    )
    pool = read_talk_pool(spec, tmp_path, silent)
    assert pool.splits is not None
    assert pool.splits.tolist() == ["train", "train", "test"]


def talk_of(*changes: dict[str, Any]) -> str:
    """Return a line with a talk whose messages are changed, one after the other."""
    rows = said(*(["so"] * len(changes)))
    return json.dumps({"messages": [row | change for row, change in zip(rows, changes, strict=True)]})


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (talk_of({}), "messages: no message of the assistant.*received 1 of user"),
        (talk_of({}, {"weight": 0}), "messages: no message of the assistant"),
        (talk_of({}, {"role": "asistant"}), r"messages\[1\].role: no such role.*did you mean 'assistant'"),
        (talk_of({"content": ""}, {}), r"messages\[0\].content: the text is empty"),
        (talk_of({"content": None}, {}), r"messages\[0\]: not a message.*no 'content'"),
        (talk_of({}, {"content": {"a": 1}}), r"messages\[1\].content: not a text.*received an object"),
        (talk_of({"role": "assistant"}, {}), r"messages\[0\].role: the assistant speaks first"),
        (talk_of({}, {}, {"role": "tool"}), r"messages\[2\].role: messages of tools aren't read"),
        (talk_of({}, {"tool_calls": [{}]}), r"messages\[1\].tool_calls: calls of tools aren't read"),
        (talk_of({"weight": 1}, {}), r"messages\[0\].weight: not a weight"),
        (talk_of({}, {"weight": 2}), r"messages\[1\].weight: not a weight.*received 2"),
        (talk_of({"name": "me"}, {}), r"messages\[0\].name: names of speakers aren't read"),
        ('{"messages": "so"}', "messages: not a list of messages.*received a string"),
        ('{"messages": []}', "messages: not a list of messages.*received an empty list"),
        ('{"messages": [3]}', r"messages\[0\]: not a message"), ('{"said": 1}', "messages: .*received nothing"),
        ('{"messages": [{"role": "user", "content": "a"}], "tools": [{}]}', "tools: talks with tools aren't learnt"),
        ("[1]", "a row must be a JSON object"), ('{"messages": [', "not readable as JSON"),
    ],
)  # fmt: skip
def test_a_talk_at_fault_is_named_with_its_line(tmp_path: Path, line: str, match: str) -> None:
    write(tmp_path / "talks.jsonl", TALKS)
    with (tmp_path / "talks.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=match) as caught:
        read(tmp_path)
    assert caught.value.message.startswith(("talks.jsonl:3: ", "talks.jsonl, line 3: "))


def test_bad_talks_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path / "talks.jsonl", [said("so"), *TALKS])
    pool = read(tmp_path, on_bad_row="skip")
    assert pool.ids[0] == "talks.jsonl:2 messages[1]"
    assert list(pool.bad) == ["talks.jsonl:1"]
    assert any("left out: 1 talk" in note for note in pool.notes)
    write(tmp_path / "talks.jsonl", [said("so")])
    with pytest.raises(DataError, match="no talks"):
        read(tmp_path, on_bad_row="skip")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"target": "b"}, "data.target: talks hold their answers"), ({"text": {"column": "b"}}, "data.text.column"),
        ({"text": {"messages": "message"}}, "no such column.*did you mean 'messages'"),
        ({"source": "a.{de,en}"}, "parallel lines hold no talks"), ({"source": "none.jsonl"}, "no such file"),
        ({"source": "."}, "a folder is no table"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_talks_is_told(tmp_path: Path, more: dict[str, Any], match: str) -> None:
    write(tmp_path / "talks.jsonl", TALKS)
    with pytest.raises(DataError, match=match):
        read(tmp_path, **more)
