from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bedplate.core.arrays import Arrays
from bedplate.serving.batcher import Batcher, BatchPlan, Finished
from bedplate.serving.costs import CostModel
from bedplate.serving.problems import Problem


class Twice:
    """A model that doubles, and remembers the sizes of its batches."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.seconds = seconds
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.sizes.append(len(inputs["x"]))
        time.sleep(self.seconds)
        with self._lock:
            self.running -= 1
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32)[:, None]}


async def answers(batcher: Batcher, *requests: Arrays, deadline: float | None = None) -> list[list[float] | Exception]:
    done = await asyncio.gather(
        *(batcher.submit(one, len(one["x"]), deadline) for one in requests), return_exceptions=True
    )
    return [one.outputs["y"].ravel().tolist() if isinstance(one, Finished) else one for one in done]


@pytest.mark.parametrize("inline", [True, False])
def test_each_gets_its_own_answer_whatever_it_was_run_with(inline: bool, pool: ThreadPoolExecutor) -> None:
    model = Twice()
    batcher = Batcher(model, BatchPlan(most_rows=8, inline=inline), pool)
    requests = [rows(*range(k, k + 1 + k % 3)) for k in range(40)]
    found = asyncio.run(answers(batcher, *requests))
    assert found == [(one["x"] * 2).ravel().tolist() for one in requests]
    assert max(model.sizes) <= 8
    assert len(model.sizes) < len(requests)
    assert batcher.idle
    assert batcher.rows_waiting == 0


def test_without_batching_a_quick_model_is_run_before_anything_else_happens() -> None:
    batcher = Batcher(Twice(), BatchPlan(most_rows=1, inline=True))
    steps = batcher.submit(rows(3), 1)
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    assert done.value.value.outputs["y"].tolist() == [[6.0]]
    with pytest.raises(ValueError, match="negative"):
        batcher.submit(rows(-1), 1).send(None)
    assert batcher.idle


def test_without_batching_each_runs_alone(pool: ThreadPoolExecutor) -> None:
    model = Twice()
    asyncio.run(answers(Batcher(model, BatchPlan(most_rows=1), pool), *(rows(k) for k in range(10))))
    assert model.sizes == [1] * 10


def test_a_request_with_many_rows_is_run_in_parts_and_lets_others_through(pool: ThreadPoolExecutor) -> None:
    model = Twice(0.002)
    batcher = Batcher(model, BatchPlan(most_rows=4), pool)

    async def work() -> tuple[float, float]:
        async def timed(one: Arrays) -> float:
            await batcher.submit(one, len(one["x"]))
            return time.monotonic()

        many = asyncio.create_task(timed(rows(*range(400))))
        await asyncio.sleep(0.01)
        batcher_before = batcher.rows_waiting
        assert batcher_before > 100
        few = asyncio.create_task(timed(rows(1)))
        return await many, await few

    asyncio.run(work())
    assert max(model.sizes) == 4
    (whole,) = asyncio.run(answers(Batcher(model, BatchPlan(most_rows=4), pool), rows(*range(10))))
    assert whole == [2.0 * k for k in range(10)]


def test_the_one_at_fault_fails_alone(pool: ThreadPoolExecutor) -> None:
    found = asyncio.run(answers(Batcher(Twice(), BatchPlan(most_rows=8), pool), rows(1), rows(-1), rows(3)))
    assert found[0] == [2.0]
    assert isinstance(found[1], ValueError)
    assert found[2] == [6.0]


def test_a_full_queue_refuses_with_the_time_to_come_back(pool: ThreadPoolExecutor) -> None:
    plan = BatchPlan(most_rows=2, most_waiting=6)
    batcher = Batcher(Twice(0.05), plan, pool, CostModel([(1, 1.0), (2, 2.0)]))
    found = asyncio.run(answers(batcher, *(rows(k) for k in range(12))))
    refused = [one for one in found if isinstance(one, Problem)]
    assert len(refused) == 6
    assert all(one.status == 429 and one.retry_after and one.retry_after > 1 for one in refused)
    assert [one for one in found if not isinstance(one, Problem)] == [[2.0 * k] for k in range(6)]


def test_who_has_expired_is_never_run(pool: ThreadPoolExecutor) -> None:
    model = Twice(0.1)
    batcher = Batcher(model, BatchPlan(most_rows=1), pool)

    async def work() -> list[list[float] | Exception]:
        first = asyncio.create_task(answers(batcher, rows(1)))
        await asyncio.sleep(0.02)
        late = await answers(batcher, rows(2), rows(3), deadline=time.monotonic() + 0.03)
        return [*await first, *late, *await answers(batcher, rows(4), deadline=time.monotonic() - 1)]

    found = asyncio.run(work())
    assert found[0] == [2.0]
    assert all(isinstance(one, Problem) and one.status == 504 for one in found[1:])
    assert model.sizes == [1]


def test_whose_caller_has_gone_is_never_run(pool: ThreadPoolExecutor) -> None:
    model = Twice(0.1)
    batcher = Batcher(model, BatchPlan(most_rows=1), pool)

    async def work() -> None:
        first = asyncio.create_task(answers(batcher, rows(1)))
        await asyncio.sleep(0.02)
        gone = [asyncio.create_task(answers(batcher, rows(k), rows(k))) for k in (2, 3)]
        await asyncio.sleep(0.02)
        for task in gone:
            task.cancel()
        await first
        await asyncio.gather(*gone, return_exceptions=True)
        assert await answers(batcher, rows(5)) == [[10.0]]

    asyncio.run(work())
    assert model.sizes == [1, 1]
    assert batcher.rows_waiting == 0


def test_no_more_run_at_once_than_there_are_runners(pool: ThreadPoolExecutor) -> None:
    model = Twice(0.02)
    asyncio.run(answers(Batcher(model, BatchPlan(most_rows=1, runners=2), pool), *(rows(k) for k in range(8))))
    assert model.most_running == 2


def test_different_shapes_are_not_run_together(pool: ThreadPoolExecutor) -> None:
    model = Twice()
    wide = {"x": np.ones((2, 3), np.float32)}
    found = asyncio.run(answers(Batcher(model, BatchPlan(most_rows=8), pool), rows(1), wide, rows(2)))
    assert found == [[2.0], [2.0] * 6, [4.0]]
    assert len(model.sizes) == 3


def test_waiting_brings_requests_together_where_a_batch_costs_much_and_a_row_little(pool: ThreadPoolExecutor) -> None:
    class Believed(CostModel):
        """What it was told first is what it goes on believing."""

        def add(self, rows: int, seconds: float) -> None:
            if self._weight < 3:
                super().add(rows, seconds)

    def sizes(most_wait: float) -> list[int]:
        model = Twice(0.001)
        costs = Believed([(1, 0.5), (2, 0.5001), (8, 0.5007)])
        batcher = Batcher(model, BatchPlan(most_rows=4, most_wait=most_wait), pool, costs)

        async def work() -> None:
            tasks = []
            for k in range(40):
                tasks.append(asyncio.create_task(answers(batcher, rows(k))))
                await asyncio.sleep(0.004)
            await asyncio.gather(*tasks)

        asyncio.run(work())
        return model.sizes

    assert len(sizes(0.2)) < len(sizes(0.0))


def test_who_runs_out_of_time_while_it_is_run_is_told_then(pool: ThreadPoolExecutor) -> None:
    batcher = Batcher(Twice(0.4), BatchPlan(most_rows=2), pool)

    async def work() -> None:
        begun = time.monotonic()
        patient = asyncio.create_task(answers(batcher, rows(1)))
        (late,) = await answers(batcher, rows(2), deadline=begun + 0.05)
        assert isinstance(late, Problem)
        assert (late.status, late.message) == (504, "the request's deadline passed while it was run")
        assert time.monotonic() - begun < 0.3
        oldest = batcher.oldest()
        assert oldest is not None
        assert oldest < time.monotonic()
        assert await patient == [[2.0]]
        assert batcher.oldest() is None
        assert await answers(batcher, rows(3)) == [[6.0]]

    asyncio.run(work())


def test_who_waits_behind_one_that_never_comes_back_is_told_in_time(pool: ThreadPoolExecutor) -> None:
    go = threading.Event()

    def hang(inputs: Arrays) -> dict[str, np.ndarray]:
        go.wait(10)
        return {"y": inputs["x"]}

    batcher = Batcher(hang, BatchPlan(most_rows=1), pool)

    async def work() -> None:
        begun = time.monotonic()
        moments = [begun + 0.05 * k for k in (6, 1, 4, 2)]  # each earlier one moves the alarm
        tasks = [asyncio.create_task(answers(batcher, rows(k), deadline=at)) for k, at in enumerate(moments)]
        for task, at in zip(tasks, moments, strict=True):
            (late,) = await task
            assert isinstance(late, Problem)
            assert late.status == 504
            assert time.monotonic() < max(moments) + 0.2, at
        assert batcher.rows_waiting == 0
        go.set()
        assert await answers(batcher, rows(9)) == [[9.0]]

    asyncio.run(work())
