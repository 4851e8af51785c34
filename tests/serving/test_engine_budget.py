"""Calls of several models at once never use more threads than are granted, and each gets its turn."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bedplate.core.arrays import Arrays
from bedplate.serving.engine_budget import ThreadBudget

ROW = {"x": np.zeros(1)}


def test_the_sum_never_exceeds_what_is_granted() -> None:
    budget = ThreadBudget(2)
    lock, used, most = threading.Lock(), 0, 0

    def model(threads: int):
        def run(inputs: Arrays) -> dict[str, np.ndarray]:
            nonlocal used, most
            with lock:
                used += threads
                most = max(most, used)
            time.sleep(0.002)
            with lock:
                used -= threads
            return dict(inputs)

        return budget.gate(run, threads)

    wide, narrow = model(2), model(1)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(wide if k % 3 == 0 else narrow, ROW) for k in range(60)]
        assert all(one.result(30) == ROW for one in done)
    assert (most, used) == (2, 0)


def test_a_wide_call_is_not_overtaken_for_ever() -> None:
    budget = ThreadBudget(2)
    stop = threading.Event()
    narrow = budget.gate(lambda inputs: time.sleep(0.003) or dict(inputs), 1)
    wide = budget.gate(dict, 2)

    def busy() -> None:
        while not stop.is_set():
            narrow(ROW)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(wide, ROW).result(5) == ROW
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_failing_call_gives_its_threads_back_and_a_greedy_one_takes_all() -> None:
    budget = ThreadBudget(1)

    def broken(_: Arrays) -> dict[str, np.ndarray]:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            budget.gate(broken, 8)(ROW)
    assert budget.gate(dict, 8)(ROW) == ROW
