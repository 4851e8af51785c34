"""The clients against a really started server."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.bundle.boxes import images
from tests.serving.running import Running, command, running

import bedplate
from bedplate.bundle import Bundle
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, ServerError
from bedplate.serving.client_grpc import AsyncGrpcClient, GrpcClient


@pytest.fixture(scope="module")
def both(image_box: Bundle, table_box: Bundle) -> Iterator[Running]:
    with running([("", image_box.path), ("", table_box.path)], grpc_port=0) as server:
        yield server


@pytest.fixture
def http(both: Running) -> Iterator[bedplate.Client]:
    with bedplate.Client(both.url) as client:
        yield client


@pytest.fixture
def rpc(both: Running) -> Iterator[GrpcClient]:
    with GrpcClient(both.grpc) as client:
        yield client


def test_payloads_of_every_kind_get_the_bundles_answers(
    http: bedplate.Client, image_box: Bundle, png: bytes, tmp_path: Path
) -> None:
    expected = image_box.predict([png])
    file = tmp_path / "a.png"
    file.write_bytes(png)
    pixels = image_box.codec.decode([png])["image"][0]
    for payload in (png, file, pixels, [png], [file]):
        assert http.predict("small", payload) == expected
    assert http.predict("small", [png, png]) == expected * 2
    assert http.predict("small", png, version=1) == expected


def test_rows_get_the_bundles_answers(http: bedplate.Client, table_box: Bundle) -> None:
    (model,) = [one for one in http.models() if one["name"] == "prices"]
    rows = model["examples"][:3]
    assert http.predict("prices", rows) == table_box.predict(rows)
    assert http.predict("prices", rows[0]) == table_box.predict(rows[:1])


def test_tensors_come_back_exactly_over_both_wires(
    http: bedplate.Client, rpc: GrpcClient, image_box: Bundle, table_box: Bundle
) -> None:
    for bundle in (image_box, table_box):
        inputs = bundle.golden.inputs
        expected = bundle.predictor()(inputs)
        for client in (http, rpc):
            found = client.infer(bundle.name, inputs)
            assert set(found) == {bundle.output}
            np.testing.assert_array_equal(
                found[bundle.output], expected[bundle.output].reshape(found[bundle.output].shape)
            )


def test_a_remote_server_is_a_predict(http: bedplate.Client, rpc: GrpcClient, image_box: Bundle) -> None:
    rows: Arrays = {"image": images(40, seed=3)}
    expected = image_box.predictor()(rows)["probabilities"]
    for predict in (http.predictor("small"), rpc.predictor("small", version=1)):
        np.testing.assert_array_equal(predict(rows)["probabilities"], expected)


def test_refusals_carry_status_and_words(http: bedplate.Client, rpc: GrpcClient) -> None:
    with pytest.raises(ServerError, match="no model 'none' is served here") as refused:
        http.predict("none", b"x")
    assert refused.value.status == 404
    with pytest.raises(ServerError) as refused:
        http.predict("small", b"no image")
    assert refused.value.status == 400
    with pytest.raises(ServerError) as refused:
        rpc.infer("none", {"image": images(1)})
    assert refused.value.status == 404
    with pytest.raises(ServerError, match="datatype") as refused:
        rpc.infer("small", {"image": images(1).astype(np.float32)})
    assert refused.value.status == 400
    with pytest.raises(InputError, match="not both"):
        http.predict("small", b"x", version=1, label="a")
    with pytest.raises(InputError, match="can't be read"):
        http.predict("small", Path("/no/such/file"))
    for address in ("127.0.0.1:80", "ftp://x"):
        with pytest.raises(InputError, match="not an address"):
            bedplate.Client(address)


def test_the_asynchronous_clients_answer_the_same(both: Running, image_box: Bundle, png: bytes) -> None:
    async def work() -> None:
        async with bedplate.AsyncClient(both.url) as client, AsyncGrpcClient(both.grpc) as rpc:
            assert await client.ready()
            await client.wait_until_ready(5)
            found = await asyncio.gather(*(client.predict("small", png) for _ in range(50)))
            assert found == [image_box.predict([png])] * 50
            inputs = {"image": images(5)}
            expected = image_box.predictor()(inputs)["probabilities"]
            for one in (client, rpc):
                np.testing.assert_array_equal((await one.infer("small", inputs))["probabilities"], expected)
            assert {one["name"] for one in await client.models()} == {"small", "prices"}
            assert (await client.versions("small"))["versions"][0]["state"] == "AVAILABLE"
            with pytest.raises(ServerError):
                await client.predict("none", png)
            with pytest.raises(ServerError):
                await rpc.infer("none", inputs)

    asyncio.run(work())


def test_who_asks_too_early_or_after_the_end_is_told(tmp_path: Path) -> None:
    with bedplate.Client("http://127.0.0.1:9", timeout=0.5) as client:
        assert not client.ready()
        with pytest.raises(ServerError, match="can't be reached") as refused:
            client.predict("small", b"x")
        assert refused.value.status == 503
        with pytest.raises(ServerError, match=r"not ready within 0\.1"):
            client.wait_until_ready(0.1)
    with GrpcClient("127.0.0.1:9", timeout=0.5) as rpc:
        assert not rpc.ready()
        with pytest.raises(ServerError):
            rpc.infer("small", {"image": images(1)})


def test_a_server_that_comes_back_is_asked_again(image_box: Bundle, png: bytes) -> None:
    """One of two processes is killed while it holds connections; the client's retries hide it."""
    with command(image_box.path, "--processes", 2) as server, bedplate.Client(server.url, retries=5) as client:
        import os
        import subprocess

        found: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                found.append(len(client.predict("small", png)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        one = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(one.stdout.split()[0]), signal.SIGKILL)
        before = len(found)
        time.sleep(1.0)
        stop.set()
        for thread in threads:
            thread.join()
        assert all(thread.is_alive() is False for thread in threads)
        assert len(found) > before + 20


def test_changes_by_the_client(both: Running, http: bedplate.Client, png: bytes) -> None:
    assert http.set_label("small", "stable", 1) == {"stable": 1}
    assert http.predict("small", png, label="stable")
    assert http.set_label("small", "stable", None) == {}
    http.unload("small")
    with pytest.raises(ServerError):
        http.predict("small", png)
    http.load("small")
    assert http.predict("small", png)
    assert "bedplate_requests_total" in http.metrics()


def test_the_deadline_of_the_client_is_the_servers(both: Running) -> None:
    many = {"image": np.repeat(images(1), 9000, axis=0)}
    with bedplate.Client(both.url, timeout=0.001, retries=0) as client, pytest.raises(ServerError) as refused:
        client.infer("small", many)
    assert refused.value.status == 504
