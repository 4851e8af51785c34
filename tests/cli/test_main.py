"""What goes wrong is said to machines as well: one JSON document on standard output, the exit code, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bedplate.cli.main import _parsed
from bedplate.core.errors import InputError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "box", "--port", "abc", "--json"), "argument --port: invalid int value: 'abc'"),
        (("--json", "serve"), "unrecognized arguments: --json"),
        (("predict", "--json"), "the following arguments are required: bundle"),
        (("predict", "nowhere", "--json"), "no such bundle"),
        (("serv", "--json"), "unknown command 'serv'; did you mean 'serve'?"),
        (("serve", "--jso", "--name", "x"), "not a NAME=BUNDLE"),
    ],
)
def test_a_failure_is_one_json_document(words: tuple[str, ...], said: str, bedplate: Any) -> None:
    done = bedplate(*words)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert said in found["error"]
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_json_standard_output_stays_empty(bedplate: Any) -> None:
    for words in (("serve", "box", "--port", "abc"), ("predict",), ("predict", "nowhere", "--", "--json")):
        done = bedplate(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: " in done.stderr


def test_what_the_system_refuses_is_said_as_json_too(tmp_path: Path, bedplate: Any) -> None:
    place = tmp_path / ("x" * 300)  # no system takes a name so long
    done = bedplate("predict", str(place), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {"error": "File name too long", "where": str(place)}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "name", "files"),
    [
        ("predict box a.csv --json b.csv -", "inputs", ["a.csv", "b.csv", "-"]),
        ("predict box --variant f32 a.csv", "inputs", ["a.csv"]),
        ("serve a --name x=b c --port 0 d", "bundles", ["a", "c", "d"]),
        ("compare a --json vs --quiet b", "runs", ["a", "vs", "b"]),
    ],
)
def test_files_may_stand_behind_options(line: str, name: str, files: list[str]) -> None:
    assert getattr(_parsed(line.split()), name) == files


@pytest.mark.parametrize("line", ["predict box a --nothing b", "monitor box --input a --json b", "run a --fresh b"])
def test_what_nobody_asked_for_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="unrecognized arguments"):
        _parsed(line.split())
