"""Texts under way, on a real event loop and thread: who joins, who leaves, who waits too long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from tests.bundle.texts import text_bundle

from bedplate.bundle import Bundle
from bedplate.core.arrays import Arrays
from bedplate.generation import Generator, Sampling, Stream
from bedplate.serving.problems import Problem
from bedplate.serving.streams import Streams, Writing


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return text_bundle(tmp_path_factory.mktemp("boxes") / "writer")


def stream(generator: Generator, prompt: str = "so it", most: int = 20, seed: int = 0) -> Stream:
    return Stream(generator.codec.encode(prompt), Sampling(max_tokens=most, seed=seed), generator.codec.pieces)


async def text_of(writing: Writing) -> str:
    return "".join([piece.text async for _, piece in writing])


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 30))


class Slow:
    """A step that waits until it is let go on, or a little each time; what it computes is the graph's."""

    def __init__(self, step: Callable[[Arrays], Arrays], pause: float = 0.0) -> None:
        self.step, self.pause, self.rows = step, pause, list[int]()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, inputs: Arrays) -> Arrays:
        assert self.open.wait(20)
        time.sleep(self.pause)
        self.rows.append(len(inputs["tokens"]))
        return self.step(inputs)


def slowed(box: Bundle, pause: float = 0.0) -> tuple[Generator, Slow]:
    made = box.generator()
    slow = Slow(made.step, pause)
    return Generator(made.codec, slow, made.past), slow


def test_many_texts_side_by_side_are_what_each_is_alone(box: Bundle) -> None:
    generator, slow = slowed(box)
    streams = Streams(generator)

    async def body() -> None:
        slow.open.clear()
        asked = [(f"so it{' ' * k}goes", 5 + 3 * k, k) for k in range(5)]
        writing = [streams.submit([stream(generator, *one)]) for one in asked]
        slow.open.set()
        found = await asyncio.gather(*map(text_of, writing))
        for (prompt, most, seed), text in zip(asked, found, strict=True):
            assert text == box.generator().answer(prompt, Sampling(max_tokens=most, seed=seed))["answer"]

    run(body)
    assert max(slow.rows) == 5  # they went together
    assert streams.counts.written == sum(5 + 3 * k for k in range(5))
    assert streams.counts.first.count == 5
    assert streams.counts.under_way == 0
    assert streams.close()


def test_a_request_joins_those_under_way_and_the_first_to_end_leaves_them(box: Bundle) -> None:
    generator, slow = slowed(box, 0.002)
    streams = Streams(generator)

    async def body() -> None:
        long = streams.submit([stream(generator, most=60)])
        await anext(long)
        short = streams.submit([stream(generator, "and on", most=4, seed=1)])
        assert await text_of(short) == box.generator().answer("and on", Sampling(max_tokens=4, seed=1))["answer"]
        rest = await text_of(long)
        assert len(rest) >= 30  # it was still being written

    run(body)
    assert 2 in slow.rows
    assert streams.close()


def test_one_that_is_given_up_is_written_no_further(box: Bundle) -> None:
    generator, slow = slowed(box, 0.005)
    streams = Streams(generator)

    async def body() -> None:
        writing = streams.submit([stream(generator, most=5000)])
        await anext(writing)
        writing.cancel()
        while streams.counts.under_way or streams._running.streams:
            await asyncio.sleep(0.01)

    run(body)
    assert len(slow.rows) < 100
    assert streams.close()


def test_what_cannot_be_held_is_refused_and_what_waits_too_long_is_told(box: Bundle) -> None:
    generator, slow = slowed(box)
    streams = Streams(generator, most=1, waiting=2)

    async def body() -> None:
        slow.open.clear()
        first = streams.submit([stream(generator, most=3)])
        while streams.counts.waiting:
            await asyncio.sleep(0.005)
        late = streams.submit([stream(generator)], time.monotonic() + 0.01)
        waits = streams.submit([stream(generator, most=2)])
        with pytest.raises(Problem) as caught:
            streams.submit([stream(generator)])
        assert (caught.value.status, caught.value.retry_after) == (429, 1)
        await asyncio.sleep(0.05)
        slow.open.set()
        assert len(await text_of(first)) == 3
        with pytest.raises(Problem) as caught:
            await text_of(late)
        assert caught.value.status == 504
        assert len(await text_of(waits)) == 2

    run(body)
    assert streams.close()


def test_a_deadline_for_the_whole_ends_a_text_under_way(box: Bundle) -> None:
    generator, _ = slowed(box, 0.01)
    streams = Streams(generator)

    async def body() -> None:
        writing = streams.submit([stream(generator, most=5000)], time.monotonic() + 0.2, whole=True)
        with pytest.raises(Problem) as caught:
            await text_of(writing)
        assert caught.value.status == 504

    run(body)
    assert streams.close()


def test_a_failing_step_is_told_to_all_and_the_next_request_is_answered(box: Bundle) -> None:
    made, broken = box.generator(), threading.Event()

    def step(inputs: Arrays) -> Arrays:
        if broken.is_set():
            raise RuntimeError("out of memory")
        return made.step(inputs)

    generator = Generator(made.codec, step, made.past)
    streams = Streams(generator)

    async def body() -> None:
        broken.set()
        with pytest.raises(RuntimeError, match="out of memory"):
            await text_of(streams.submit([stream(generator)]))
        broken.clear()
        assert len(await text_of(streams.submit([stream(generator, most=6)]))) == 6

    run(body)
    assert streams.close()


def test_at_the_end_everyone_is_told(box: Bundle) -> None:
    generator, _ = slowed(box, 0.01)
    streams = Streams(generator)

    async def body() -> None:
        writing = streams.submit([stream(generator, most=5000)])
        await anext(writing)
        assert await asyncio.get_running_loop().run_in_executor(None, streams.close)
        with pytest.raises(Problem) as caught:
            await text_of(writing)
        assert caught.value.status == 503
        with pytest.raises(Problem):
            streams.submit([stream(generator)])

    run(body)


def test_choices_of_one_request_differ(box: Bundle) -> None:
    generator = box.generator()
    streams = Streams(generator)

    async def body() -> None:
        sampling = Sampling(max_tokens=12, temperature=1.0, seed=4)
        texts = [Stream(generator.codec.encode("so it"), sampling, generator.codec.pieces, k) for k in range(3)]
        found = ["", "", ""]
        async for number, piece in streams.submit(texts):
            found[number] += piece.text
        assert len(set(found)) == 3
        assert np.all([len(text) == 12 for text in found])

    run(body)
    assert streams.close()


def test_what_waits_is_let_go_in_time_though_no_place_is_free(box: Bundle) -> None:
    generator, _ = slowed(box, pause=0.02)
    streams = Streams(generator, most=1)

    async def body() -> None:
        long = streams.submit([stream(generator, most=500)])
        await anext(long)
        late = streams.submit([stream(generator)], time.monotonic() + 0.2)
        gone = streams.submit([stream(generator)])
        give, counted = late.give, list[int]()
        late.give = lambda found: (counted.append(streams.counts.waiting), give(found))[1]  # type: ignore[method-assign]
        gone.cancel()
        begun = time.monotonic()
        with pytest.raises(Problem) as caught:
            await text_of(late)
        assert caught.value.status == 504
        assert time.monotonic() - begun < 2
        assert counted == [0]  # who is told finds it counted already
        assert streams.counts.under_way == 1  # the place was taken all the while
        long.cancel()

    try:
        run(body)
    finally:
        streams.close()
