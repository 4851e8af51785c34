"""What KServe's own Python client asks of a server; run by that client's environment, not by pytest.

    python kserve_checks.py http://127.0.0.1:8000 127.0.0.1:9000

It prints one line of JSON a check: its name, and "" or what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from script import IMAGES, run_all

HTTP, GRPC = sys.argv[1], sys.argv[2]


def request(*, binary: bool | None = None, outputs: bool | None = None, identity: str | None = "abc") -> InferRequest:
    one = InferInput("image", list(IMAGES.shape), "UINT8")
    if binary is None:
        one.set_data_from_numpy(IMAGES)
    else:
        one.set_data_from_numpy(IMAGES, binary_data=binary)
    wanted = None if outputs is None else [RequestedOutput("probabilities", {"binary_data": outputs})]
    return InferRequest("small", [one], request_id=identity, request_outputs=wanted)


def rest(ask: Callable[[InferenceRESTClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


def expected() -> list[Any]:
    """The answer by plain JSON, asked without any client."""
    import urllib.request

    body = {"inputs": [{"name": "image", "shape": [3, 8, 8, 1], "datatype": "UINT8", "data": IMAGES.tolist()}]}
    asked = urllib.request.Request(f"{HTTP}/v2/models/small/infer", json.dumps(body).encode())
    with urllib.request.urlopen(asked) as reply:
        data: list[Any] = json.load(reply)["outputs"][0]["data"]
    return data


def same(reply: Any) -> None:
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("probabilities", "FP32", [3, 3])
    given = output.as_numpy().reshape(-1)
    np.testing.assert_array_equal(given.astype(np.float32), np.array(expected(), np.float32))
    # The REST client leaves the version out of what it read.
    assert reply.model_name == "small" and reply.model_version in ("1", None)


def check_rest_health() -> None:
    assert rest(lambda client: client.is_server_live(HTTP))
    assert rest(lambda client: client.is_server_ready(HTTP))
    assert rest(lambda client: client.is_model_ready(HTTP, "small"))
    assert not rest(lambda client: client.is_model_ready(HTTP, "absent"))


def check_rest_json() -> None:
    for outputs in (None, False):
        reply = rest(lambda client, o=outputs: client.infer(HTTP, request(binary=False, outputs=o), model_name="small"))
        same(reply)
        assert reply.id == "abc"


def check_rest_binary() -> None:
    for outputs in (None, True):
        same(rest(lambda client, o=outputs: client.infer(HTTP, request(binary=True, outputs=o), model_name="small")))


def check_rest_mixed() -> None:
    same(rest(lambda client: client.infer(HTTP, request(binary=True, outputs=False), model_name="small")))
    same(rest(lambda client: client.infer(HTTP, request(binary=False, outputs=True), model_name="small")))


def check_rest_errors() -> None:
    for change, status in (({"model_name": "absent"}, "404"), ({"model_name": "prices"}, "400")):
        try:
            rest(lambda client, c=change: client.infer(HTTP, request(), **c))
        except Exception as error:
            assert status in repr(error), repr(error)
        else:
            raise AssertionError(f"{change} was answered")


def grpc(ask: Callable[[InferenceGRPCClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with InferenceGRPCClient(GRPC, retries=0) as client:
            return await ask(client)

    return asyncio.run(run())


def check_grpc_health() -> None:
    assert grpc(lambda client: client.is_server_live())
    assert grpc(lambda client: client.is_server_ready())
    assert grpc(lambda client: client.is_model_ready("small"))
    assert not grpc(lambda client: client.is_model_ready("absent"))


def check_grpc_raw() -> None:
    same(grpc(lambda client: client.infer(request(binary=True))))


def check_grpc_typed() -> None:
    reply = grpc(lambda client: client.infer(request(binary=False)))
    same(reply)
    assert reply.id == "abc"


if __name__ == "__main__":
    run_all(globals())
