"""The parts of the serving benchmark that could lie: the open loop, the proof of answers, the arithmetic of ratios."""

from __future__ import annotations

import http.client
import http.server
import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.serving import __main__ as serving
from benchmarks.serving import summary
from benchmarks.serving.measure import wrong
from benchmarks.serving.models import Model
from benchmarks.serving.open_loop import open_loop, percentile
from benchmarks.serving.processes import Server, free_port
from benchmarks.serving.roster import SERVERS, TEXT_SERVERS, Ask, by_hand, predictions, v2_binary

Answer = Callable[[bytes], tuple[int, bytes]]


class _Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512


@contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """Serve what a function of the body returns, a thread a connection; the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            status, reply = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *words: object) -> None:
            pass

    server = _Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def quick(body: bytes) -> tuple[int, bytes]:
    return 200, b"{}"


def test_a_quick_server_is_timed_in_milliseconds_and_keeps_up() -> None:
    with answering(quick) as port:
        seen = open_loop(port, "/", b"x" * 1000, {}, rate=100, seconds=1.0)
    assert (seen.sent, seen.bad, seen.unanswered) == (100, 0, 0)
    assert seen.kept_up
    assert 0 < seen.p50 < 50


def test_a_stall_is_counted_for_every_request_that_it_held_up() -> None:
    """A closed loop with one connection would see one slow answer; here about half of the schedule waited."""
    begun = time.perf_counter()
    lock = threading.Lock()

    def stalling(body: bytes) -> tuple[int, bytes]:
        with lock:  # one at a time, and nobody between 0.3 and 0.8 s
            now = time.perf_counter() - begun
            if 0.3 < now < 0.8:
                time.sleep(0.8 - now)
        return 200, b"{}"

    with answering(stalling) as port:
        begun = time.perf_counter()
        seen = open_loop(port, "/", b"x", {}, rate=200, seconds=1.0, connections=4)
    assert (seen.sent, seen.bad, seen.unanswered) == (200, 0, 0)
    # 100 of 200 requests fall into the stall, and wait for its end: 0 to 500 ms, evenly.
    assert seen.p99 > 400
    assert seen.worst > 450
    assert 0 < percentile([seen.p50], 0.5) < 150, "the other half is quick, and the median lies at the edge"


def test_few_connections_do_not_hide_a_slow_server() -> None:
    """The server answers 50 a second at best and is asked 200 a second: waiting grows, whatever the connections."""
    lock = threading.Lock()

    def slow(body: bytes) -> tuple[int, bytes]:
        with lock:
            time.sleep(0.02)
        return 200, b"{}"

    with answering(slow) as port:
        seen = open_loop(port, "/", b"x", {}, rate=200, seconds=1.0, connections=1)
    assert not seen.kept_up
    assert seen.late < 200, "the wait for a connection is the server's, not the generator's"
    assert seen.p50 > 500, "each answer takes 20 ms, but the requests waited for their turn"


def test_requests_without_an_answer_count_with_what_they_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.serving.open_loop.PATIENCE", 0.5)
    done = threading.Event()

    def mute(body: bytes) -> tuple[int, bytes]:
        done.wait(10)
        return 200, b"{}"

    with answering(mute) as port:
        seen = open_loop(port, "/", b"x", {}, rate=50, seconds=0.5)
        done.set()
    assert (seen.sent, seen.unanswered, seen.answered) == (25, 25, 0)
    assert not seen.kept_up
    assert seen.p50 > 500


def test_errors_are_no_answers() -> None:
    with answering(lambda body: (503, b"{}")) as port:
        seen = open_loop(port, "/", b"x", {}, rate=50, seconds=0.5)
    assert (seen.bad, seen.answered, seen.kept_up) == (25, 0, False)


def test_large_bodies_arrive_whole() -> None:
    body = bytes(range(256)) * 4096
    seen: set[bool] = set()

    def whole(received: bytes) -> tuple[int, bytes]:
        seen.add(received == body)
        return 200, received

    with answering(whole) as port:
        found = open_loop(port, "/", body, {"X-Some": "thing"}, rate=20, seconds=0.5)
    assert found.kept_up
    assert seen == {True}


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(k) for k in range(1, 1001)]
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999)] == [500.0, 990.0, 999.0]
    assert percentile([7.0], 0.999) == 7.0


@pytest.fixture
def model(tmp_path: Path) -> Model:
    golden = np.array([0.1, 0.7, 0.2], np.float32)
    return Model(
        "cnn", tmp_path, ("a", "b", "c"), [[[1], [2]]], np.array([[[1], [2]]], np.uint8), b"",
        {"json": golden, "binary": golden}, tmp_path / "f32.onnx", ({"name": "image", "dtype": "uint8", "shape": [1]},),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b'{"predictions": [[0.1, 0.7, 0.2]]}', ""),
        (b'{"predictions": [[0.1005, 0.6995, 0.2]]}', ""),
        (b'{"predictions": [[0.1, 0.69, 0.21]]}', "another answer"),
        (b'{"predictions": [[0.7, 0.1, 0.2]]}', "another answer"),
        (b'{"predictions": [[0.7, 0.3]]}', "instead of"),
        (b'{"other": 1}', "can't be read"),
    ],
)
def test_an_answer_that_is_not_the_golden_one_is_refused(model: Model, reply: bytes, said: str) -> None:
    ask = Ask("/json", b"{}", {}, predictions)
    with answering(lambda body: (200, reply)) as port:
        found = wrong(ask, model, "json", port)
    assert (said in found) if said else found == ""


def test_a_refusal_is_told_with_its_status(model: Model) -> None:
    with answering(lambda body: (503, b"busy")) as port:
        assert wrong(by_hand(model, "json"), model, "json", port) == "status 503: busy"


def test_a_binary_reply_is_read_behind_its_head() -> None:
    numbers = np.array([1.5, -2.0], np.float32)
    assert v2_binary(b'{"outputs": [{"name": "{}"}]}' + numbers.tobytes()).tolist() == numbers.tolist()


def rounds(*rates: float | None) -> list[dict[str, Any]]:
    return [
        {"forms": {"json": {"failed": "no"} if rate is None else {"rate": rate, "p50": 1.0, "p99": 2.0, "bad": 0}}}
        for rate in rates
    ]  # fmt: skip


def test_ratios_are_taken_within_a_round() -> None:
    assert summary.ratio(rounds(100, 400, 300), rounds(50, 100, 100), "json") == (3.0, 2.0, 4.0)
    assert summary.ratio(rounds(100, None), rounds(50, 100), "json") == (2.0, 2.0, 2.0)
    assert summary.ratio(rounds(None), rounds(50), "json") is None
    assert summary.fault(rounds(1, None), "json") == "no"


def test_the_shared_rate_is_one_that_three_quarters_of_the_peers_bear() -> None:
    peers = [peer for peer in SERVERS if peer.kind == "peer"][:4]
    found = {peer.name: rounds(rate) for peer, rate in zip(peers, (100, 1000, 2000, 4000), strict=True)}
    assert summary.shared_rates(peers, found, "json") == (500.0, 800.0)


def test_an_aim_that_is_missed_says_so() -> None:
    names = {"Bedplate": 100, "bare ASGI, 1 process": 200, "bare Granian, 1 process": 110}
    closed = {name: rounds(rate) for name, rate in names.items()}
    found = summary.aims(SERVERS, {"cnn": {"forms": ("json",), "closed": closed, "engine": {}}})
    assert found == [
        {"what": "cnn, json: Bedplate / the faster bare loop", "aim": 0.8, "found": 0.5, "met": False},
    ]  # fmt: skip


def test_all_processes_of_a_server_are_weighed_and_ended(tmp_path: Path) -> None:
    """Its child leaves the group and loses its parent, and is still known."""
    program = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "time.sleep(60)"
    )
    server = Server([sys.executable, "-c", program], {"PATH": ""}, tmp_path)
    until = time.perf_counter() + 20
    while len(server.processes()) < 2 and time.perf_counter() < until:
        time.sleep(0.05)
    ours = server.processes()
    resident, proportional = server.memory()
    server.stop()
    assert len(ours) == 2
    assert resident >= proportional > 0
    assert not [pid for pid in ours if Path(f"/proc/{pid}").exists() and "Z" not in _state(pid)]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = Server([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], {"PATH": ""}, tmp_path)
    with pytest.raises(RuntimeError, match="ended with 3: no such model"):
        server.wait(lambda: _refused(free_port()), limit=20)
    server.stop()


def _refused(port: int) -> bool:
    http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")
    return True


def test_the_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--help"], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert all(flag in done.stdout for flag in ("--peers", "--models", "--rounds", "--seconds", "--quick"))


def test_a_text_is_sent_raw_to_all_who_serve_texts() -> None:
    text = "so it goes, \u201cagain\u201d"
    model = Model(
        "sst2", Path("bundle"), ("0", "1"), text, np.empty(0, np.uint8), b"", {}, Path("graph"),
        ({"name": "text", "dtype": "string", "shape": []},), tokenizer={"tokenizer": {}, "length": 9},
    )  # fmt: skip
    assert (model.kind, model.forms, model.heavy) == ("text", ("json",), False)
    for peer in TEXT_SERVERS:
        ask = peer.ask(model, "json")
        assert ask is not None, peer.name
        body = json.loads(ask.body)
        value = body["inputs"][0]["data"] if "inputs" in body else next(iter(body.values()))
        assert value == [text], peer.name
    assert {peer.environment for peer in TEXT_SERVERS}.isdisjoint(peer.environment for peer in SERVERS)


def test_figures_of_texts_and_of_the_others_stay_beside_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "RESULTS", tmp_path / "serving.json")
    serving.keep("rows", {"date": "first"})
    serving.keep("texts", {"date": "second"})
    serving.keep("rows", {"date": "third"})
    found = json.loads((tmp_path / "serving.json").read_text())
    assert found == {"date": "third", "texts": {"date": "second"}}
