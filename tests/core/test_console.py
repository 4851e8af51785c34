"""What people see, and what they don't with --quiet."""

from __future__ import annotations

import io

from bedplate.core.console import Console, human_bytes, human_seconds


def test_a_table_is_aligned() -> None:
    stream = io.StringIO()
    Console(stream).table(["a", "long"], [["1", "x"], ["222", "yy"]])
    lines = stream.getvalue().splitlines()
    assert len({line.index(word) for line, word in zip([lines[0], *lines[2:]], ["long", "x", "yy"], strict=True)}) == 1


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    console = Console(stream, quiet=True)
    console.stage("train", "x")
    console.table(["a"], [["b"]])
    with console.progress("p", 3) as advance:
        advance(1, "x")
    assert stream.getvalue() == ""


def test_units_for_people() -> None:
    assert [human_bytes(size) for size in (9, 1500, 2_500_000, 3e12)] == ["9 B", "1.5 kB", "2.5 MB", "3000.0 GB"]
    assert [human_seconds(s) for s in (0.25, 3.21, 125.0)] == ["250 ms", "3.2 s", "2 min 5 s"]
