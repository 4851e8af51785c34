"""Threads that end with the process, whatever they are at."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest

from bedplate.serving.threads import Threads


def test_calls_are_done_in_order_and_side_by_side() -> None:
    pool = Threads(2, "test")
    meet = threading.Barrier(2, timeout=5)
    assert [one.result(5) for one in [pool.submit(meet.wait), pool.submit(meet.wait)]] in ([0, 1], [1, 0])
    assert [pool.submit(pow, 2, k).result(5) for k in range(5)] == [1, 2, 4, 8, 16]
    assert list(pool.map(str, range(3))) == ["0", "1", "2"]
    pool.shutdown()
    with pytest.raises(RuntimeError, match="have ended"):
        pool.submit(print)


def test_a_fault_belongs_to_its_caller_and_a_cancelled_call_is_not_made() -> None:
    pool = Threads(1, "test")
    go = threading.Event()
    first, second = pool.submit(go.wait, 5), pool.submit(pytest.fail, "it was cancelled")
    assert second.cancel()
    go.set()
    assert first.result(5)
    with pytest.raises(CancelledError):
        second.result(5)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(5)
    assert pool.submit(int, "7").result(5) == 7
    assert pool.end(5)


def test_what_hangs_is_left_behind_in_time() -> None:
    pool = Threads(2, "test")
    go = threading.Event()
    pool.submit(go.wait, 30)
    begun = time.monotonic()
    assert not pool.end(0.2)
    assert time.monotonic() - begun < 2
    go.set()
    assert pool.end(5)


def test_a_process_ends_although_a_call_never_does() -> None:
    text = (
        "import threading\nfrom bedplate.serving.threads import Threads\nThreads(1, 'x').submit(threading.Event().wait)"
    )
    assert subprocess.run([sys.executable, "-c", text], timeout=30, check=False).returncode == 0


def test_threads_that_were_never_used_end_at_once() -> None:
    assert Threads(4, "test").end(0.0)
