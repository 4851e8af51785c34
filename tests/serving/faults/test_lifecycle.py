"""A server whose models hang, whose disk is full, whose processes die, whose clock jumps, while it is asked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.serving.faults.boxes import FOR_EVER, asked, hungry_bundle, turning_bundle
from tests.serving.faults.starting import limited, rss
from tests.serving.running import SOURCE, Running, command, running
from tests.serving.test_follow import publish, states, until
from tests.serving.test_processes import Load, workers

from bedplate.bundle import Bundle

TURN = "/v2/models/turning/infer"


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return turning_bundle(tmp_path_factory.mktemp("boxes") / "turning")


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said.txt"


@pytest.fixture
def hanging(image_box: Bundle, turning: Bundle) -> Iterator[Running]:
    boxes = [("", image_box.path), ("", turning.path)]
    with running(boxes, timeout=1.0, threads=2, engine="onnxruntime") as server:
        yield server


def test_a_model_that_hangs_costs_its_callers_their_deadline_and_nobody_else(hanging: Running, png: bytes) -> None:
    with httpx.Client(base_url=hanging.url, timeout=20) as client:
        assert client.post(TURN, json=asked(3)).json()["outputs"][0]["data"] == [3.0]
        begun = time.monotonic()
        late = client.post(TURN, json=asked(FOR_EVER))
        assert (late.status_code, late.json()["error"]) == (504, "the request's deadline passed while it was run")
        assert 0.9 < time.monotonic() - begun < 2.5
        assert client.post("/predict/small", content=png).status_code == 200
        assert client.get("/healthz").status_code == 200
        until(lambda: client.get("/healthz").status_code == 503)
        assert client.get("/healthz").json() == {
            "status": "hanging",
            "models": ["small", "turning"],
            "hanging": ["turning"],
        }
        assert (client.get("/v2/health/live").status_code, client.get("/v2/health/live").json()) == (
            503,
            {"live": False},
        )
        # Others are answered all the same, and the one that hangs can be taken away.
        assert client.post("/predict/small", content=png).status_code == 200
        assert client.post("/v2/repository/models/turning/unload").status_code == 200
        assert client.get("/healthz").json()["models"] == ["small"]
    begun = time.monotonic()
    code, _ = hanging.stop()
    assert code == 0
    assert time.monotonic() - begun < 15


def test_callers_who_wait_behind_a_model_that_hangs_are_told_in_time(hanging: Running) -> None:
    found: list[tuple[int, str, float]] = []

    def ask() -> None:
        begun = time.monotonic()
        reply = httpx.post(f"{hanging.url}{TURN}", json=asked(FOR_EVER), timeout=20)
        found.append((reply.status_code, reply.json()["error"], time.monotonic() - begun))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in found} == {504}
    assert {words.rpartition("deadline passed ")[2] for _, words, _ in found} <= {
        "before it was run",
        "while it was run",
    }
    assert max(seconds for _, _, seconds in found) < 3


@pytest.mark.parametrize(
    ("header", "value"), [("x-request-timeout", "0.2"), ("grpc-timeout", "200m")], ids=["seconds", "as in gRPC"]
)
def test_a_deadline_shorter_than_the_work_is_kept(header: str, value: str, turning: Bundle) -> None:
    with running([("", turning.path)], engine="onnxruntime") as server:
        begun = time.monotonic()
        reply = httpx.post(f"{server.url}{TURN}", json=asked(20_000), headers={header: value}, timeout=30)
        assert (reply.status_code, "deadline passed" in reply.text) == (504, True)
        assert time.monotonic() - begun < 1.5
        body = asked(20_000) | {"parameters": {"timeout": 200_000}}
        assert httpx.post(f"{server.url}{TURN}", json=body, timeout=30).status_code == 504
        assert httpx.post(f"{server.url}{TURN}", json=asked(1), timeout=30).status_code == 200


def test_a_full_queue_says_when_to_come_back(turning: Bundle) -> None:
    with running([("", turning.path)], threads=1, engine="onnxruntime") as server:
        found: list[httpx.Response] = []
        soon = {"x-request-timeout": "4"}

        def ask() -> None:
            found.append(httpx.post(f"{server.url}{TURN}", json=asked(5000, rows=9999), headers=soon, timeout=60))

        threads = [threading.Thread(target=ask) for _ in range(26)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [reply for reply in found if reply.status_code == 429]
        assert {reply.status_code for reply in found} == {504, 429}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert all("the queue is full" in reply.json()["error"] for reply in refused)
        assert httpx.post(f"{server.url}{TURN}", json=asked(1), timeout=60).status_code == 200
        assert (
            'bedplate_requests_total{model="turning",protocol="oip",status="429"'
            in httpx.get(f"{server.url}/metrics").text
        )


def test_told_to_stop_while_it_works_it_answers_first(turning: Bundle) -> None:
    with running([("", turning.path)], threads=1, engine="onnxruntime") as server:
        found: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: found.append(httpx.post(f"{server.url}{TURN}", json=asked(10_000), timeout=60))
        )
        thread.start()
        time.sleep(0.4)
        code, _ = server.stop()
        thread.join()
        assert (code, found[0].status_code) == (0, 200)


def test_told_to_stop_after_measuring_engines_it_drains(image_box: Bundle, tmp_path: Path, said: Path) -> None:
    """An engine that was measured and let go must not leave its stack for signals behind."""
    with limited({}, image_box.path, said=said, environment={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as server:
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert server.stop()[0] == 0
    assert said.read_text().splitlines()[-1] == "stopped"


def test_told_to_stop_while_it_starts_it_stops(image_box: Bundle, said: Path) -> None:
    for processes in (1, 2):
        with said.open("w") as lines:
            process = subprocess.Popen(
                [sys.executable, "-m", "bedplate", "serve", str(image_box.path), "--port", "0", "--processes", str(processes)],
                stdout=lines, stderr=lines, env={**os.environ, "PYTHONPATH": str(SOURCE)},
            )  # fmt: skip
        time.sleep(0.6 if processes == 1 else 1.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
        assert "Traceback" not in said.read_text()


def test_loading_and_unloading_one_name_at_once_ends_well(image_box: Bundle, png: bytes, said: Path) -> None:
    with command(image_box.path, lines=said) as server:
        base, found = f"{server.url}/v2/repository/models/small", set()

        def change(what: str) -> None:
            for _ in range(8):
                found.add((what, httpx.post(f"{base}/{what}", timeout=60).status_code))

        with Load(server.url, png) as load:
            threads = [threading.Thread(target=change, args=(what,)) for what in ("load", "unload", "load", "unload")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found == {("load", 200), ("unload", 200)}
        assert set(load.statuses) <= {200, 404}
        assert load.failures == []
        assert httpx.post(f"{base}/load", timeout=60).status_code == 200
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
    assert "Traceback" not in said.read_text()


def test_processes_that_die_at_once_are_started_ever_less_often(image_box: Bundle, tmp_path: Path, said: Path) -> None:
    box = Path(shutil.copytree(image_box.path, tmp_path / "box"))
    with command(box, "--processes", 2, lines=said) as server:
        report = (box / "report.json").read_bytes()
        (box / "report.json").write_bytes(b"{}")  # none that starts from now on can
        os.kill(workers(server)[0], signal.SIGKILL)
        until(lambda: said.read_text().count("starting it again") >= 3, 40)
        count = said.read_text().count("starting it again")
        time.sleep(4)
        assert said.read_text().count("starting it again") - count <= 3
        # The other one answers: connections that wait at the dead one's door are let in by its successor.
        answered = 0
        for _ in range(20):
            with contextlib.suppress(httpx.TimeoutException):
                answered += httpx.get(f"{server.url}/healthz", timeout=0.5).status_code == 200
        assert answered > 0
        (box / "report.json").write_bytes(report)
        until(lambda: len(workers(server)) == 2 and all_answer(server), 40)
        assert server.stop()[0] == 0
    assert "exit code 2" in said.read_text()
    assert "Traceback" not in said.read_text()


def all_answer(server: Running) -> bool:
    try:
        return all(httpx.get(f"{server.url}/healthz", timeout=0.5).status_code == 200 for _ in range(12))
    except httpx.TransportError:
        return False


def test_a_crash_within_a_model_takes_one_process_only(image_box: Bundle, png: bytes, said: Path) -> None:
    with command(image_box.path, "--processes", 2, lines=said) as server, Load(server.url, png) as load:
        time.sleep(0.3)
        first = workers(server)[0]
        os.kill(first, signal.SIGSEGV)
        until(lambda: first not in workers(server) and len(workers(server)) == 2)
        time.sleep(1.5)
    assert set(load.statuses) == {200}
    assert len(load.failures) <= len(load.threads)
    assert "SIGSEGV" in said.read_text()


def test_a_full_disk_for_the_state_stops_no_request(image_box: Bundle, tmp_path: Path, png: bytes, said: Path) -> None:
    state = tmp_path / "state"
    with limited({"RLIMIT_FSIZE": 3000}, image_box.path, "--state", state, said=said) as server:
        for _ in range(3):
            assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
        until(lambda: "no room left to write" in said.read_text())
        assert "choose another folder with --state" in said.read_text()
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
        assert server.stop()[0] == 0
    assert "Traceback" not in said.read_text()
    assert not [path for path in state.iterdir() if path.name != ".lock"], "nothing half written is left"


@pytest.mark.parametrize("place", ["/proc/bedplate", "/sys/bedplate", "/dev/null/state", "/dev/null"])
def test_a_state_folder_that_cannot_be_written_is_said_at_the_start(place: str, image_box: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bedplate", "serve", str(image_box.path), "--port", "0", "--state", place],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 2
    assert place in done.stderr
    if place != "/proc/bedplate":  # of which the system says only that there is no such place
        assert "choose another folder, one that you may write to, with --state" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_folder_that_vanishes_stops_no_request(
    image_box: Bundle, tmp_path: Path, png: bytes, said: Path
) -> None:
    state = tmp_path / "state"
    with command(image_box.path, "--state", state, lines=said) as server:
        shutil.rmtree(state)
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
        until(lambda: (state / "small.json").exists(), 20)
        assert server.stop()[0] == 0
    assert json.loads((state / "small.json").read_text())["rows"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_for_the_log_stops_no_request(image_box: Bundle, png: bytes) -> None:
    with open("/dev/full", "w") as full, limited({}, image_box.path, "--access-log", said=full) as server:
        assert server.url.startswith("http")
        for _ in range(50):
            assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
        assert server.stop()[0] == 0


def test_memory_that_runs_out_fails_one_request(tmp_path: Path, image_box: Bundle, png: bytes, said: Path) -> None:
    box = hungry_bundle(tmp_path / "hungry")
    path = "/v2/models/hungry/infer"
    with limited({"RLIMIT_AS": 6 << 30}, box.path, image_box.path, said=said) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert client.post(path, json=asked(1000, "sizes")).json()["outputs"][0]["data"] == [1000.0]
            for size in (1 << 33, 1 << 40, 1 << 62, -1):
                reply = client.post(path, json=asked(size, "sizes"))
                assert (reply.status_code, "fails on these inputs" in reply.text) == (400, True), size
            assert client.post(path, json=asked(1000, "sizes")).status_code == 200
            assert client.post("/predict/small", content=png).status_code == 200
        assert rss(server.process.pid) < 1000
        assert server.stop()[0] == 0


JUMPS = """
import random, time
_real, _rng = time.time, random.Random(0)
time.time = lambda: _real() + _rng.choice((-86_400.0, -1.0, 0.0, 1.0, 86_400.0, 1e9))
"""


def test_a_clock_that_jumps_changes_no_deadline_and_no_rate(
    image_box: Bundle, tmp_path: Path, png: bytes, said: Path
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(JUMPS)
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"name": "one", "token": "t" * 32, "roles": ["predict"], "rate": 5}]}))
    tokens.chmod(0o600)
    with limited(
        {}, image_box.path, "--state", tmp_path / "state", said=said,
        environment={"PYTHONPATH": f"{tmp_path / 'path'}:{SOURCE}"},
    ) as server:  # fmt: skip
        for _ in range(60):
            reply = httpx.post(f"{server.url}/predict/small", content=png, headers={"x-request-timeout": "5"})
            assert reply.status_code == 200
        assert httpx.get(f"{server.url}/metrics").status_code == 200
        until(lambda: (tmp_path / "state" / "small.json").exists())
        assert server.stop()[0] == 0
    assert "Traceback" not in said.read_text()
    # What is waited for is counted by the monotonic clock; these only say when something was, or name a file.
    shown = {"dataplane.py", "state.py", "counts.py", "engine_cache.py", "live.py", "openai_write.py"}
    assert {
        file.name for file in (SOURCE / "bedplate" / "serving").glob("*.py") if "time.time()" in file.read_text()
    } <= shown


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(image_box: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "bedplate", "serve", str(image_box.path), "--port", str(taken.getsockname()[1]), "--processes", "2"],
            capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
    assert done.returncode == 2
    assert "the port is in use" in done.stderr
    assert time.monotonic() - begun < 10


def test_a_deleted_repository_keeps_what_is_served(image_box: Bundle, tmp_path: Path, png: bytes, said: Path) -> None:
    root = tmp_path / "models"
    publish(image_box, root / "small" / "1")
    with command("--repository", root, lines=said) as server:
        shutil.rmtree(root)
        until(lambda: "what is served goes on" in said.read_text())
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
        publish(image_box, root / "small" / "2")
        until(lambda: states(server) == {1: "END", 2: "AVAILABLE"})
        assert httpx.post(f"{server.url}/predict/small", content=png).status_code == 200
