"""A process that takes another's place begins where the others are, whatever was changed before it began."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.bundle.boxes import image_bundle, image_graph
from tests.serving.running import Running, command
from tests.serving.test_follow import publish, until
from tests.serving.test_processes import workers

from bedplate.bundle import Bundle
from bedplate.serving.processes import changes_beside

LABEL = "/models/small/labels/stable"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    place = tmp_path_factory.mktemp("versions")
    return [image_bundle(place / str(k), graphs={"f32": image_graph(seed=k)}) for k in range(2)]


@pytest.fixture
def folder(tmp_path: Path, boxes: list[Bundle]) -> Path:
    for number, box in enumerate(boxes, 1):
        publish(box, tmp_path / "models" / "small" / str(number))
    settings(tmp_path / "models", versions="all")
    return tmp_path / "models"


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said.txt"


@pytest.fixture
def server(folder: Path, said: Path) -> Iterator[Running]:
    with command("--repository", folder, "--processes", 2, "--engine", "onnxruntime", lines=said) as running:
        yield running


def settings(folder: Path, **values: object) -> None:
    aside = folder / "small" / ".serving.tmp"
    aside.write_text(json.dumps(values))
    aside.rename(folder / "small" / "serving.json")


def everywhere(server: Running, path: str) -> list[httpx.Response]:
    """Ask on many new connections, so that every process answers some."""
    return [httpx.get(f"{server.url}{path}", timeout=20) for _ in range(16)]


def served(server: Running, *numbers: int) -> bool:
    return all(
        [one["version"] for one in reply.json()["versions"] if one["state"] == "AVAILABLE"] == [*reversed(numbers)]
        for reply in everywhere(server, "/models/small/versions")
    )


def labels(server: Running) -> list[dict[str, int]]:
    """What the processes say of the labels, each answer once."""
    found: list[dict[str, int]] = []
    for reply in everywhere(server, "/models/small/versions"):
        if reply.json()["labels"] not in found:
            found.append(reply.json()["labels"])
    return found


def replace_one(server: Running, said: Path) -> None:
    """Kill a process and wait until its successor answers; it must come up at the first try."""
    before = workers(server)
    restarts = said.read_text().count("starting it again")
    os.kill(before[0], signal.SIGKILL)
    until(lambda: before[0] not in workers(server) and len(workers(server)) == 2)
    assert all(reply.status_code == 200 for reply in everywhere(server, "/healthz"))
    assert said.read_text().count("starting it again") == restarts + 1, said.read_text()


def test_a_label_whose_version_has_left_keeps_no_process_from_serving(
    server: Running, folder: Path, said: Path, png: bytes
) -> None:
    assert httpx.put(f"{server.url}{LABEL}", json={"version": 2}).status_code == 200
    settings(folder, versions={"specific": [1]})
    until(lambda: served(server, 1))
    replace_one(server, said)
    assert all(httpx.post(f"{server.url}/predict/small", content=png).status_code == 200 for _ in range(16))
    assert labels(server) == [{}]
    settings(folder, versions="all")  # the label was never taken away: it comes back with its version
    until(lambda: served(server, 1, 2))
    until(lambda: labels(server) == [{"stable": 2}])


def test_a_label_that_was_removed_stays_removed(server: Running, folder: Path, said: Path) -> None:
    assert httpx.put(f"{server.url}{LABEL}", json={"version": 2}).status_code == 200
    assert httpx.delete(f"{server.url}{LABEL}").json()["labels"] == {}
    assert httpx.delete(f"{server.url}{LABEL}").status_code == 404  # as one process says it
    assert httpx.put(f"{server.url}{LABEL}", json={"version": 9}).status_code == 409
    (folder / "small" / "2").rename(folder.parent / "away")
    until(lambda: served(server, 1))
    replace_one(server, said)
    assert labels(server) == [{}]
    assert "left out" not in said.read_text()
    (folder.parent / "away").rename(folder / "small" / "2")
    until(lambda: served(server, 1, 2))
    assert labels(server) == [{}]


def test_a_change_that_cannot_be_made_any_more_is_left_out_and_said_once(
    server: Running, folder: Path, said: Path, boxes: list[Bundle]
) -> None:
    publish(boxes[0], folder / "other" / "1")
    until(lambda: all(reply.status_code == 200 for reply in everywhere(server, "/models/other/versions")))
    assert httpx.post(f"{server.url}/v2/repository/models/other/unload").status_code == 200
    (folder / "other").rename(folder.parent / "away")
    until(lambda: "other" not in json.dumps(httpx.get(f"{server.url}/models").json()))
    replace_one(server, said)
    lines = [line for line in said.read_text().splitlines() if "left out" in line]
    assert len(lines) == 1
    assert 'unload_name {"name": "other"}' in lines[0]
    assert "no model 'other' is served here" in lines[0]


def test_what_is_changed_while_a_process_begins_reaches_it(server: Running, said: Path) -> None:
    before = workers(server)
    os.kill(before[0], signal.SIGKILL)
    turn, end = 0, time.monotonic() + 30
    while time.monotonic() < end and (len(set(workers(server)) - {before[0]}) < 2 or turn % 20):
        turn += 1  # before, while and after its successor learns what was changed
        with contextlib.suppress(httpx.TransportError):  # what the killed one held
            httpx.put(f"{server.url}{LABEL}", json={"version": 1 + turn % 2}, timeout=20)
    assert httpx.put(f"{server.url}{LABEL}", json={"version": 2}).status_code == 200
    until(lambda: labels(server) == [{"stable": 2}])


def test_what_a_folder_says_later_counts_more_than_what_was_put_before(
    server: Running, folder: Path, said: Path
) -> None:
    settings(folder, versions="all", labels={"stable": 1, "canary": 2})
    until(lambda: labels(server) == [{"canary": 2, "stable": 1}])
    assert httpx.put(f"{server.url}{LABEL}", json={"version": 2}).status_code == 200
    assert httpx.put(f"{server.url}/models/small/labels/canary", json={"version": 1}).status_code == 200
    replace_one(server, said)
    assert labels(server) == [{"canary": 1, "stable": 2}]
    settings(folder, versions="all", labels={"canary": 2})
    until(lambda: labels(server) == [{"canary": 1}])
    replace_one(server, said)
    assert labels(server) == [{"canary": 1}]


def test_the_last_word_on_a_label_or_a_name_is_the_only_one_kept() -> None:
    made: list[tuple[str, dict[str, object]]] = [
        ("set_label", {"name": "a", "label": "x", "version": 1}), ("set_label", {"name": "a", "label": "y", "version": 1}),
        ("set_label", {"name": "b", "label": "x", "version": 1}), ("unload_name", {"name": "a"}),
        ("reconfigure", {"config": []}), ("unload_name", {"name": "b"}), ("reconfigure", {"config": []}),
        ("load_name", {"name": "a"}), ("set_label", {"name": "a", "label": "x", "version": None}),
    ]  # fmt: skip
    kept: list[tuple[str, dict[str, object]]] = []
    for what, arguments in made:
        kept = [*changes_beside(kept, what, arguments), (what, arguments)]
    assert kept == [made[k] for k in (1, 2, 4, 5, 6, 7, 8)]
