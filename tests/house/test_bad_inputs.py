"""Every bad input gets a clear message and the right exit code or status, and leaves nothing half-written.

The list is `tools/bad_input_cases`; `docs/bad-inputs.md` shows what comes back. Each case runs in a process of its own.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tools import bad_inputs
from tools.bad_input_cases import CASES, REQUESTS, Case, Place, Request
from tools.bad_input_cases.folders import stages
from tools.bad_input_cases.images import folder as pictures


@pytest.fixture(scope="module")
def nursery() -> Iterator[bad_inputs.Nursery]:
    made = bad_inputs.Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory, nursery: bad_inputs.Nursery) -> Place:
    return bad_inputs.make_things(tmp_path_factory.mktemp("things"), nursery)


@pytest.fixture(scope="module")
def url(things: Place) -> Iterator[str]:
    with bad_inputs.server(things.digits, things.table) as address:
        yield address


@pytest.fixture
def place(things: Place, tmp_path: Path) -> Place:
    return replace(things, folder=tmp_path)


def command(place: Place, *words: str) -> tuple[int, str]:
    """Run the real command, from its very start; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", *words], cwd=place.folder, capture_output=True, timeout=120, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert "Traceback" not in said
    return done.returncode, said


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.sent}")
def test_the_command_explains(case: Case, place: Place, nursery: bad_inputs.Nursery) -> None:
    answer, touched = bad_inputs.send(case, place, nursery)
    said = answer.err + answer.out
    assert "Traceback" not in said
    assert answer.code == case.code, said
    for word in case.says:
        assert word in (answer.err if case.code else said)
    if case.code:
        assert not touched


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.sent)
def test_the_server_explains(request_: Request, url: str) -> None:
    answer = bad_inputs.ask(request_, url)
    assert answer.code == request_.status, answer.out
    for word in request_.says:
        assert word in answer.out
    assert not re.search(r'"/|Traceback|File "', answer.out), "a reply names no path of the server"


def test_the_page_shows_these_cases() -> None:
    page = bad_inputs.PAGE.read_text(encoding="utf-8")
    shown = {(row[0], int(row[1])) for row in re.findall(r"^\| ([^|]+?) \| `[^`]+` \| (\d+) \|", page, re.MULTILINE)}
    assert shown == {(case.sent, case.code) for case in CASES} | {(one.sent, one.status) for one in REQUESTS}, (
        "run: python tools/bad_inputs.py"
    )
    assert len({(case.group, case.sent) for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "sent",
    ["a misspelt key", "a JPEG cut short", "a flipped bit, to predict", "the disk full in train", "a tar cut short"],
)
def test_from_the_very_start_of_a_process(sent: str, place: Place) -> None:
    case = next((case for case in CASES if case.sent == sent), CASES[0])
    if case.build:
        case.build(place)
    before = bad_inputs.listing_of(place.folder)
    limit = f"ulimit -f {case.most_bytes // 1024 + 1}; " if case.most_bytes else ""
    done = subprocess.run(
        ["bash", "-c", f'{limit}exec "$0" -m bedplate "$@"', sys.executable, *case.argv(place)],
        cwd=place.folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == case.code, done.stderr
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in case.says)
    assert bad_inputs.listing_of(place.folder) == before


def interrupt(place: Place, words: list[str], line: str) -> tuple[int, str]:
    """Start the command, send it Ctrl-C when it says `line`, and return its exit code and all that it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bedplate", *words],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for said_line in process.stdout:
        said += said_line
        if line in said_line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=120)
    return process.returncode, said + rest


def test_ctrl_c_while_data_is_read_leaves_nothing(place: Place) -> None:
    for name, data in pictures(600).items():
        place.bytes(f"p/{name}", data)
    place.text("a.yaml", "name: a\ntask: image-classification\ndata: {source: p}\n")
    code, said = interrupt(place, ["run", "a.yaml", "--out", "r"], "reading images")
    assert code == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said or "stopped by the user" in said
    assert not (place.folder / "r").exists()


@pytest.mark.parametrize(
    ("stage", "done"),
    [("evaluate", ["train"]), ("compress", ["train", "evaluate"]), ("pack", ["train", "evaluate", "compress"])],
)
def test_ctrl_c_in_a_stage_keeps_what_is_finished(stage: str, done: list[str], place: Place) -> None:
    stages(*done)(place)
    # So many resamples that evaluation and packing are still at work when the signal comes.
    slow = {"evaluate": ["evaluation.resamples=100000"], "compress": [], "pack": []}[stage]
    words = ["run", "digits", "--out", "r", "--resume", "--set", *place.overrides, *slow]
    code, said = interrupt(place, words, f"▸ {stage}")
    assert code == 130, said
    assert "Traceback" not in said
    assert "continue with --resume" in said
    left = {path.name for path in (place.folder / "r").iterdir()}
    assert left == {*done, "run.json", ".lock"}
    assert all((place.folder / "r" / name / "stage.json").is_file() for name in done)


def test_an_interrupted_run_continues_to_its_end(place: Place) -> None:
    stages("train")(place)
    words = ["run", "digits", "--out", "r", "--resume", "--set", *place.overrides]
    interrupt(place, words, "▸ compress")
    code, said = command(place, *words)
    assert code == 0, said
    assert (place.folder / "r" / "bundle" / "manifest.json").is_file()


def test_two_processes_on_one_run(place: Place) -> None:
    stages("train")(place)
    (place.folder / "r" / ".lock").touch()
    with (place.folder / "r" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = command(place, "evaluate", "digits", "--out", "r", "--set", *place.overrides)
    assert code == 2
    assert "another process is working on this run" in said
    assert (place.folder / "r" / "train" / "stage.json").is_file()


def test_a_port_in_use(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = command(place, "serve", str(place.digits), "--port", str(port))
    assert code == 2
    assert "the port is in use" in said
    assert "--port 0" in said


def test_a_disk_that_is_really_full(place: Place) -> None:
    disk = place.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        code, said = command(place, "train", "digits", "--out", "disk/r", "--set", *place.overrides)
        assert code == 2
        assert "no room left to write" in said
        assert "No space left on device" in said
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such file names")
def test_names_that_are_no_text(place: Place, nursery: bad_inputs.Nursery) -> None:
    for name, data in pictures().items():
        place.bytes(f"p/{name}", data)
    shutil.copy(place.folder / "p" / "cats" / "0.png", os.fsencode(place.folder) + b"/p/cats/\xff.png")
    Path(os.fsdecode(os.fsencode(place.folder) + b"/p/dogs/\xfe.png")).write_bytes(b"hello")
    place.text("a.yaml", "name: a\ntask: image-classification\ndata: {source: p}\n")
    answer = nursery.run(["plan", "a.yaml"], place.folder)
    assert answer.code == 2
    assert "dogs/\\xfe.png: not an image" in answer.err
