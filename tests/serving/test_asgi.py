"""The server's paths embedded into another application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.bundle.boxes import images

from bedplate.bundle import Bundle
from bedplate.serving import create_app
from bedplate.serving.asgi import AsgiApp
from bedplate.serving.describe import to_png


def during(app: AsgiApp, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        said: asyncio.Queue[Any] = asyncio.Queue()
        life = asyncio.create_task(app({"type": "lifespan"}, heard.get, said.put))
        heard.put_nowait({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            found = await work(client)
        heard.put_nowait({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await life
        return found

    return asyncio.run(run())


@pytest.fixture
def app(image_box: Bundle) -> AsgiApp:
    return create_app([("", image_box)])


def test_it_answers_as_the_server_does(app: AsgiApp, image_box: Bundle) -> None:
    pixels = images(1, seed=5)

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        png = to_png(pixels[0])
        return [
            await client.post("/predict/small", content=png, headers={"x-request-id": "mine"}),
            await client.post("/predict/small", content=b"no image"),
            await client.get("/nowhere"),
            await client.head("/healthz"),
        ]

    good, bad, lost, head = during(app, work)
    assert good.json()["answers"] == image_box.predict(list(pixels))
    assert good.headers["x-request-id"] == "mine"
    assert (bad.status_code, lost.status_code, head.status_code, head.content) == (400, 404, 200, b"")
    assert app.plane.ready is False


def test_it_streams(app: AsgiApp) -> None:
    rows = images(300, seed=6).tolist()

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/predict/small?stream=true", json=rows)

    lines = during(app, work).text.splitlines()
    assert len(lines) == 300
    assert all("answer" in json.loads(line) for line in lines)


def test_a_body_in_parts_has_the_limits_of_any_other(app: AsgiApp) -> None:
    async def endless(parts: int) -> Any:
        for _ in range(parts):
            yield b" " * (1 << 20)

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/predict/small", content=endless(parts)) for parts in (2, 65)]

    small, large = during(app, work)
    assert (small.status_code, large.status_code) == (400, 413)
    assert "too large" in large.json()["error"]
