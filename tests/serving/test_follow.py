"""A real server that follows a real folder, while it is asked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.bundle.boxes import image_bundle, image_graph
from tests.serving.running import SOURCE, Running, command

from bedplate.bundle import Bundle
from bedplate.bundle.archive import pack_archive


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Three bundles that answer otherwise than each other."""
    place = tmp_path_factory.mktemp("versions")
    return [image_bundle(place / str(k), graphs={"f32": image_graph(seed=k)}) for k in range(3)]


def publish(bundle: Bundle, target: Path) -> None:
    """Copy beside, then rename: as it should be done."""
    aside = target.parent / f".{target.name}.tmp"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(bundle.path, aside)
    aside.rename(target)


@pytest.fixture
def folder(tmp_path: Path, boxes: list[Bundle]) -> Path:
    publish(boxes[0], tmp_path / "models" / "small" / "1")
    return tmp_path / "models"


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said.txt"


@pytest.fixture
def server(folder: Path, said: Path) -> Iterator[Running]:
    with command("--repository", folder, lines=said) as running:
        yield running


def until(what: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.05)
    return found


def states(server: Running, name: str = "small") -> dict[int, str]:
    reply = httpx.get(f"{server.url}/models/{name}/versions")
    return {one["version"]: one["state"] for one in reply.json()["versions"]} if reply.status_code == 200 else {}


def answering(server: Running, png: bytes, path: str = "/predict/small") -> str:
    reply = httpx.post(f"{server.url}{path}", content=png)
    return reply.json()["bundle"] if reply.status_code == 200 else str(reply.status_code)


def test_a_new_version_takes_over_and_the_old_one_leaves(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes
) -> None:
    assert answering(server, png) == boxes[0].id
    publish(boxes[1], folder / "small" / "2")
    until(lambda: answering(server, png) == boxes[1].id)
    until(lambda: states(server) == {1: "END", 2: "AVAILABLE"})
    shutil.rmtree(folder / "small" / "2")
    until(lambda: answering(server, png) == boxes[0].id)


def test_no_request_fails_while_versions_change(server: Running, folder: Path, boxes: list[Bundle], png: bytes) -> None:
    stop = threading.Event()
    found: list[str] = []

    def ask() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not stop.is_set():
                reply = client.post("/predict/small", content=png)
                found.append(reply.json()["bundle"] if reply.status_code == 200 else reply.text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 5):
        publish(boxes[number % 3], folder / "small" / str(number))
        until(lambda number=number: states(server).get(number) == "AVAILABLE")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(found) == {box.id for box in boxes}
    assert len(found) > 50


def test_a_half_copied_version_is_never_served_and_is_when_it_is_whole(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes, said: Path
) -> None:
    whole = folder / "small" / "2"
    shutil.copytree(boxes[1].path, whole, ignore=shutil.ignore_patterns("graphs"))
    until(lambda: "not served" in said.read_text())
    assert answering(server, png) == boxes[0].id
    assert states(server) == {1: "AVAILABLE", 2: "END"}
    shutil.copytree(boxes[1].path / "graphs", whole / "graphs")
    (whole / "BUNDLE_ID").write_bytes((boxes[1].path / "BUNDLE_ID").read_bytes())
    until(lambda: answering(server, png) == boxes[1].id)
    assert said.read_text().count("not served") == 1


def test_a_version_with_other_golden_answers_leaves_the_old_one(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes, said: Path, tmp_path: Path
) -> None:
    """It is sealed well, but its graph answers otherwise than its golden rows say."""
    liar = Path(shutil.copytree(boxes[1].path, tmp_path / "liar"))
    manifest = json.loads((liar / "manifest.json").read_bytes())
    other = image_graph(seed=7)
    (liar / "graphs" / "f32.onnx").write_bytes(other)
    manifest["files"]["graphs/f32.onnx"] = {"sha256": hashlib.sha256(other).hexdigest(), "size": len(other)}
    text = (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    (liar / "manifest.json").write_bytes(text)
    (liar / "BUNDLE_ID").write_text(hashlib.sha256(text).hexdigest() + "\n")
    liar.rename(folder / "small" / "2")
    until(lambda: "not served" in said.read_text())
    assert answering(server, png) == boxes[0].id
    assert "golden" in said.read_text()


def test_policies_and_labels_follow_their_file(server: Running, folder: Path, boxes: list[Bundle], png: bytes) -> None:
    for number in (2, 3):
        publish(boxes[number - 1], folder / "small" / str(number))
    settings = {"versions": "all", "labels": {"stable": 1, "canary": 3}}
    (folder / "small" / "serving.json").write_text(json.dumps(settings))
    until(lambda: states(server) == {1: "AVAILABLE", 2: "AVAILABLE", 3: "AVAILABLE"})
    until(lambda: answering(server, png, "/predict/small/labels/canary") == boxes[2].id)
    assert answering(server, png, "/predict/small/labels/stable") == boxes[0].id
    assert answering(server, png, "/predict/small/versions/2") == boxes[1].id
    assert answering(server, png, "/predict/small/labels/none") == "404"
    reply = httpx.put(f"{server.url}/models/small/labels/stable", json={"version": 2})
    assert reply.json() == {"name": "small", "labels": {"canary": 3, "stable": 2}}
    assert answering(server, png, "/predict/small/labels/stable") == boxes[1].id
    assert httpx.put(f"{server.url}/models/small/labels/stable", json={"version": 9}).status_code == 409
    assert httpx.put(f"{server.url}/models/small/labels/stable", json={"version": "2"}).status_code == 400
    assert httpx.put(f"{server.url}/models/small/labels/a b", json={"version": 2}).status_code == 400
    assert httpx.delete(f"{server.url}/models/small/labels/stable").json()["labels"] == {"canary": 3}
    assert httpx.delete(f"{server.url}/models/small/labels/stable").status_code == 404


def test_a_label_for_a_version_that_is_not_there_is_said_once_and_comes_with_it(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes, said: Path
) -> None:
    (folder / "small" / "serving.json").write_text(json.dumps({"versions": "all", "labels": {"stable": 2}}))
    until(lambda: "waits for version 2" in said.read_text())
    assert answering(server, png, "/predict/small/labels/stable") == "404"
    time.sleep(2.2)  # the folder is looked at twice more
    lines = [line for line in said.read_text().splitlines() if "waits for" in line]
    assert lines == ["small: the label 'stable' waits for version 2, which isn't there; there are: [1]"]
    publish(boxes[1], folder / "small" / "2")
    until(lambda: answering(server, png, "/predict/small/labels/stable") == boxes[1].id)


def test_an_outage_of_the_storage_stops_nothing(
    server: Running, folder: Path, png: bytes, boxes: list[Bundle], said: Path
) -> None:
    folder.rename(folder.with_name("away"))
    until(lambda: "what is served goes on" in said.read_text())
    assert answering(server, png) == boxes[0].id
    folder.with_name("away").rename(folder)
    until(lambda: "can be read again" in said.read_text())
    assert answering(server, png) == boxes[0].id


def test_unloading_by_hand_lasts_until_loading_by_hand(server: Running, png: bytes, boxes: list[Bundle]) -> None:
    assert httpx.post(f"{server.url}/v2/repository/models/small/unload").status_code == 200
    assert answering(server, png) == "404"
    time.sleep(2.5)
    assert answering(server, png) == "404"
    assert httpx.post(f"{server.url}/v2/repository/models/small/load").status_code == 200
    assert answering(server, png) == boxes[0].id
    assert httpx.post(f"{server.url}/v2/repository/models/absent/load").status_code == 404


def test_a_label_switch_under_load_loses_nothing(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes
) -> None:
    (folder / "small" / "serving.json").write_text(json.dumps({"versions": "all", "labels": {"stable": 1}}))
    publish(boxes[1], folder / "small" / "2")
    until(lambda: states(server) == {1: "AVAILABLE", 2: "AVAILABLE"})
    stop, found = threading.Event(), []

    def ask() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not stop.is_set():
                found.append(client.post("/predict/small/labels/stable", content=png).status_code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for k in range(20):
        reply = httpx.put(f"{server.url}/models/small/labels/stable", json={"version": 1 + k % 2})
        assert reply.status_code == 200
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(found) == {200}


@pytest.mark.parametrize("name", ["old models", "prices (copy).bundle", "a#b"])
def test_one_bad_name_is_the_trouble_of_that_name_alone(
    name: str, folder: Path, boxes: list[Bundle], png: bytes, said: Path
) -> None:
    publish(boxes[1], folder / name / "1" if not name.endswith(".bundle") else folder / "copied" / "1")
    if name.endswith(".bundle"):
        pack_archive(boxes[1].path, folder / name)
    with command("--repository", folder, lines=said) as server:
        assert answering(server, png) == boxes[0].id
        publish(boxes[2], folder / "small" / "2")
        until(lambda: answering(server, png) == boxes[2].id)
        time.sleep(1.5)
    assert said.read_text().count("not a name to serve under") == 1


def test_labels_are_what_the_file_says_also_after_it_was_faulty(
    server: Running, folder: Path, boxes: list[Bundle], png: bytes, said: Path
) -> None:
    settings = folder / "small" / "serving.json"
    publish(boxes[1], folder / "small" / "2")
    settings.write_text(json.dumps({"versions": "all", "labels": {"stable": 1, "canary": 2}}))
    until(lambda: answering(server, png, "/predict/small/labels/stable") == boxes[0].id)
    settings.write_text("junk")
    until(lambda: "isn't JSON" in said.read_text())
    assert "what is served goes on" in said.read_text()
    assert answering(server, png, "/predict/small/labels/stable") == boxes[0].id
    settings.write_text(json.dumps({"versions": "all", "labels": {"canary": 2}}))
    until(lambda: answering(server, png, "/predict/small/labels/stable") == "404")
    assert answering(server, png, "/predict/small/labels/canary") == boxes[1].id
    settings.unlink()
    until(lambda: states(server)[1] == "END")
    assert httpx.get(f"{server.url}/models/small/versions").json()["labels"] == {}


def test_a_folder_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for place in (tmp_path / "none", file):
        done = subprocess.run(
            [sys.executable, "-m", "bedplate", "serve", "--repository", str(place), "--port", "0"],
            capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        assert done.returncode == 2
        assert "the repository can't be read" in done.stderr


def test_at_a_start_the_newest_that_can_be_served_is(folder: Path, boxes: list[Bundle], png: bytes, said: Path) -> None:
    broken = folder / "small" / "2"
    publish(boxes[1], broken)
    (broken / "report.json").write_text("{}")
    with command("--repository", folder, lines=said) as server:
        assert answering(server, png) == boxes[0].id
        assert states(server) == {1: "AVAILABLE", 2: "END"}
        time.sleep(2.2)
        assert answering(server, png) == boxes[0].id
        publish(boxes[2], folder / "small" / "3")
        until(lambda: answering(server, png) == boxes[2].id)
        until(lambda: states(server) == {1: "END", 2: "END", 3: "AVAILABLE"})
