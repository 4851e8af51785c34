"""The server's life: it starts warm, says where it is, keeps its state, drains, and fails with a reason."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.bundle.boxes import images
from tests.serving.running import running, start

from bedplate.bundle import Bundle, pack_archive
from bedplate.serving.describe import to_png


def state_of(folder: Path) -> dict:
    return json.loads((folder / "small.json").read_text())


def test_state_is_kept_over_restarts_and_drift_shows_in_the_metrics(image_box: Bundle, tmp_path: Path) -> None:
    state = tmp_path / "state"
    bright = np.clip(images(60, seed=1).astype(int) + 120, 0, 255).tolist()
    for run in (1, 2):
        with running([("", image_box.path)], state=state) as server:
            reply = httpx.post(f"{server.url}/v1/models/small:predict", json={"instances": bright}, timeout=30)
            assert reply.status_code == 200
            if run == 2:
                deadline = time.monotonic() + 20
                while 'bedplate_drift{model="small"} 1.0' not in httpx.get(f"{server.url}/metrics").text:
                    assert time.monotonic() < deadline, "no drift was shown"
                    time.sleep(0.05)
            code, said = server.stop()
            assert (code, said.strip()) == (0, "HEAVY []")
        assert state_of(state)["rows"] == 60 * run
    saved = state_of(state)
    assert (saved["windows"], saved["bundle_id"]) == (1, image_box.id)
    assert saved["history"][0]["drift"]
    assert not list(tmp_path.rglob("*.aside"))
    Bundle.open(image_box.path)  # nothing was written into the bundle


def test_state_is_saved_while_it_runs(image_box: Bundle, tmp_path: Path, png: bytes) -> None:
    with running([("", image_box.path)], state=tmp_path) as server:
        httpx.post(f"{server.url}/predict/small", content=png)
        deadline = time.monotonic() + 20
        while not (tmp_path / "small.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.process.kill()
    assert state_of(tmp_path)["rows"] == 1


def test_requests_in_hand_are_answered_when_told_to_stop(image_box: Bundle) -> None:
    many = {"instances": np.repeat(images(1), 9000, axis=0).tolist()}
    body = json.dumps(many).encode()
    with running([("", image_box.path)]) as server:
        replies: list[int] = []

        def ask() -> None:
            replies.append(httpx.post(f"{server.url}/v1/models/small:predict", content=body, timeout=60).status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while 'bedplate_rows_total{model="small",version="1"} 0' in httpx.get(f"{server.url}/metrics", timeout=30).text:
            assert time.monotonic() < deadline
        code, _ = server.stop(signal.SIGINT)
        for thread in threads:
            thread.join()
        assert (code, replies) == (0, [200] * 4)


def test_a_request_whose_body_is_on_its_way_is_answered_when_told_to_stop(image_box: Bundle, png: bytes) -> None:
    with running([("", image_box.path)]) as server:
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port or 80), timeout=20) as line:
            line.sendall(b"POST /predict/small HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(png) + png[:9])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1.6)  # longer than idle connections are kept
            line.sendall(png[9:])
            reply = line.recv(65536)
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in reply
        assert server.stop()[0] == 0


def test_an_archive_is_served_under_a_name_of_choice(image_box: Bundle, tmp_path: Path, png: bytes) -> None:
    archive = pack_archive(image_box.path, tmp_path / "small.bundle")
    with running([("mine", archive), ("other", image_box.path)]) as server:
        for name in ("mine", "other"):
            reply = httpx.post(f"{server.url}/predict/{name}", content=png).json()
            assert (reply["model"], reply["answers"]) == (name, image_box.predict([png]))
        assert server.stop()[0] == 0


def test_what_keeps_a_server_from_starting(image_box: Bundle, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = start([("", image_box.path)], port=port)
        assert "the port is in use" in refused.url
        assert refused.process.wait(timeout=30) == 2
        refused.process.communicate()
    damaged = Path(shutil.copytree(image_box.path, tmp_path / "damaged"))
    (damaged / "report.json").write_text("{}")
    for bundles, message in (
        ([("", damaged)], "isn't the file that was sealed"),
        ([("", tmp_path / "nowhere")], "no such bundle"),
        ([("a", image_box.path), ("a", image_box.path)], "two bundles"),
        ([("../x", image_box.path)], "not a name"),
        ([], "nothing to serve"),
    ):
        server = start(bundles)
        assert message in server.url
        assert server.process.wait(timeout=30) == 2
        server.process.communicate()


def test_many_clients_at_once_each_get_their_own_answer(client: httpx.Client, image_box: Bundle) -> None:
    rows = images(40, seed=77)
    expected = image_box.predict(list(rows))
    url = str(client.base_url)
    wrong: list[int] = []

    def ask(first: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as mine:
            for k in range(first, 40, 8):
                answers = mine.post("/predict/small", content=to_png(rows[k])).json()["answers"]
                near = answers[0]["probabilities"] == pytest.approx(expected[k]["probabilities"], abs=1e-6)
                if len(answers) != 1 or answers[0]["answer"] != expected[k]["answer"] or not near:
                    wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\nHost", b"POST /predict/small HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nabc"],
)
def test_clients_that_go_away_do_no_harm(client: httpx.Client, request_: bytes) -> None:
    url = httpx.URL(str(client.base_url))
    for _ in range(20):
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(request_)
    assert client.get("/healthz").status_code == 200
