"""What Triton's own Python client asks of a server; run by that client's environment, not by pytest.

    python triton_checks.py http://127.0.0.1:8000 127.0.0.1:9000

It prints one line of JSON a check: its name, and "" or what went wrong. The server serves 'echo' (a tensor of each type
and back), 'small' (images of 8×8×1) and 'prices' (a table).
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from script import IMAGES, KINDS, run_all, values
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

HTTP, GRPC = sys.argv[1].removeprefix("http://"), sys.argv[2]


def inputs_of(module: Any, arrays: dict[str, np.ndarray], binary: bool | None = None) -> list[Any]:
    found = []
    for name, array in arrays.items():
        one = module.InferInput(f"in_{name}", list(array.shape), np_to_triton_dtype(array.dtype))
        # FP16 has no JSON form.
        extra = {} if binary is None else {"binary_data": binary or name == "float16"}
        one.set_data_from_numpy(array, **extra)
        found.append(one)
    return found


def same(result: Any, arrays: dict[str, np.ndarray], texts: bool = False) -> None:
    for name, array in arrays.items():
        given = result.as_numpy(f"out_{name}")
        assert given is not None and given.shape == array.shape, (name, given)
        expected = np.array([item.decode() for item in array], np.object_) if texts and name == "string" else array
        assert given.tolist() == expected.tolist(), (name, given, expected)


def picture(module: Any, rows: int = 3) -> list[Any]:
    one = module.InferInput("image", [rows, 8, 8, 1], "UINT8")
    one.set_data_from_numpy(IMAGES[:rows])
    return [one]


def fails(call: Any, status: str, words: str) -> None:
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()), (error.status(), error.message())
        assert words in error.message(), error.message()
        return
    raise AssertionError("it was answered")


def looking(client: Any, as_json: bool) -> None:
    """Everything that only looks; the gRPC client gives messages unless told otherwise."""
    extra = {} if not as_json else {"as_json": True}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("absent")
    server = client.get_server_metadata(**extra)
    assert server["name"] == "bedplate"
    assert {"binary_tensor_data", "model_repository", "statistics", "model_configuration"} <= set(server["extensions"])
    model = client.get_model_metadata("small", **extra)
    assert model["inputs"][0]["datatype"] == "UINT8"
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 8, 8, 1]
    config = client.get_model_config("echo", **extra)
    config = config.get("config", config)
    assert config["name"] == "echo" and int(config["max_batch_size"]) > 0
    assert {one["name"] for one in config["input"]} == {f"in_{name}" for name in KINDS}
    index = client.get_model_repository_index(**extra)
    index = index["models"] if isinstance(index, dict) else index
    assert {"echo", "small", "prices"} == {one["name"] for one in index}
    assert all(one["state"] == "READY" for one in index)


def counting(client: Any, module: Any, as_json: bool) -> None:
    extra = {} if not as_json else {"as_json": True}

    def rows() -> tuple[int, int]:
        (found,) = client.get_inference_statistics("small", "1", **extra)["model_stats"]
        return int(found.get("inference_count", 0)), int(found["inference_stats"]["success"].get("count", 0))

    before = rows()
    client.infer("small", picture(module))
    after = rows()
    assert (after[0] - before[0], after[1] - before[1]) == (3, 1), (before, after)
    assert len(client.get_inference_statistics(**extra)["model_stats"]) == 3


def managing(client: Any, module: Any) -> None:
    client.unload_model("prices")
    assert not client.is_model_ready("prices")
    client.load_model("prices")
    assert client.is_model_ready("prices")
    fails(lambda: client.load_model("absent"), "", "no model 'absent'")


def asking_wrongly(client: Any, module: Any, missing: str, invalid: str) -> None:
    fails(lambda: client.infer("absent", picture(module)), missing, "no model 'absent'")
    fails(lambda: client.infer("small", picture(module), model_version="7"), missing, "")
    wrong = module.InferInput("image", [3, 64], "UINT8")
    wrong.set_data_from_numpy(IMAGES.reshape(3, 64))
    fails(lambda: client.infer("small", [wrong]), invalid, "expected the shape")
    floats = module.InferInput("image", [3, 8, 8, 1], "FP32")
    floats.set_data_from_numpy(IMAGES.astype(np.float32))
    fails(lambda: client.infer("small", [floats]), invalid, "expected the datatype UINT8")
    outputs = [module.InferRequestedOutput("nothing")]
    fails(lambda: client.infer("small", picture(module), outputs=outputs), invalid, "expected one of")
    classes = [module.InferRequestedOutput("probabilities", class_count=2)]
    fails(lambda: client.infer("small", picture(module), outputs=classes), invalid, "classification")
    shared = module.InferInput("image", [3, 8, 8, 1], "UINT8")
    shared.set_shared_memory("region", 192)
    fails(lambda: client.infer("small", [shared]), invalid, "shared memory")


def bfloat(client: Any, module: Any) -> None:
    arrays = values()
    whole = inputs_of(module, arrays)
    # BF16 for an FP32 input: a number that both hold exactly.
    number = np.full((3, 2), 1.5, ml_dtypes.bfloat16)
    one = module.InferInput("in_float32", [3, 2], "BF16")
    one.set_data_from_numpy(number)
    result = client.infer("echo", [item for item in whole if item.name() != "in_float32"] + [one])
    assert result.as_numpy("out_float32").tolist() == number.tolist()


def check_http_looks() -> None:
    looking(httpclient.InferenceServerClient(HTTP), as_json=False)


def check_http_binary_both_ways() -> None:
    arrays = values()
    result = httpclient.InferenceServerClient(HTTP).infer("echo", inputs_of(httpclient, arrays, True), request_id="7")
    same(result, arrays)
    assert result.get_response()["id"] == "7"
    assert all("binary_data_size" in one["parameters"] for one in result.get_response()["outputs"])


def check_http_json_both_ways() -> None:
    arrays = values()
    outputs = [
        httpclient.InferRequestedOutput(f"out_{name}", binary_data=name == "float16") for name in reversed(arrays)
    ]
    client = httpclient.InferenceServerClient(HTTP)
    result = client.infer("echo", inputs_of(httpclient, arrays, False), outputs=outputs)
    same(result, arrays, texts=True)
    assert [one["name"] for one in result.get_response()["outputs"]] == [f"out_{name}" for name in reversed(arrays)]


def check_http_bfloat16() -> None:
    bfloat(httpclient.InferenceServerClient(HTTP), httpclient)


def check_http_compression() -> None:
    arrays = values(rows=500)
    client = httpclient.InferenceServerClient(HTTP)
    for sent in (None, "gzip", "deflate"):
        for wanted in (None, "gzip", "deflate"):
            for binary in (True, False):
                outputs = [httpclient.InferRequestedOutput(f"out_{n}", binary or n == "float16") for n in arrays]
                result = client.infer(
                    "echo", inputs_of(httpclient, arrays, binary), outputs=outputs,
                    request_compression_algorithm=sent, response_compression_algorithm=wanted,
                )  # fmt: skip
                same(result, arrays, texts=not binary)


def check_http_async() -> None:
    client = httpclient.InferenceServerClient(HTTP, concurrency=8)
    waiting = [client.async_infer("small", picture(httpclient), request_id=str(k)) for k in range(40)]
    results = [one.get_result() for one in waiting]
    assert [one.get_response()["id"] for one in results] == [str(k) for k in range(40)]
    assert all(one.as_numpy("probabilities").shape == (3, 3) for one in results)


def check_http_asyncio() -> None:
    async def ask() -> None:
        async with httpaio.InferenceServerClient(HTTP) as client:
            arrays = values()
            results = await asyncio.gather(
                *(client.infer("echo", inputs_of(httpclient, arrays, True)) for _ in range(10))
            )
            for result in results:
                same(result, arrays)

    asyncio.run(ask())


def check_http_parameters_and_deadline() -> None:
    client = httpclient.InferenceServerClient(HTTP)
    result = client.infer(
        "small", picture(httpclient), model_version="1", priority=3, timeout=10_000_000, parameters={"mine": "yes"},
        sequence_id=5, sequence_start=True, sequence_end=True,
    )  # fmt: skip
    assert result.as_numpy("probabilities").shape == (3, 3)
    fails(lambda: client.infer("small", picture(httpclient), timeout=1), "504", "deadline")


def check_http_body_made_by_hand() -> None:
    body, size = httpclient.InferenceServerClient.generate_request_body(picture(httpclient))
    import urllib.request

    request = urllib.request.Request(f"http://{HTTP}/v2/models/small/infer", body)
    if size is not None:
        request.add_header("Inference-Header-Content-Length", str(size))
    with urllib.request.urlopen(request) as reply:
        length = reply.headers["Inference-Header-Content-Length"]
        result = httpclient.InferenceServerClient.parse_response_body(
            reply.read(), header_length=None if length is None else int(length)
        )
    assert result.as_numpy("probabilities").shape == (3, 3)


def check_http_statistics() -> None:
    counting(httpclient.InferenceServerClient(HTTP), httpclient, as_json=False)


def check_http_repository() -> None:
    managing(httpclient.InferenceServerClient(HTTP), httpclient)


def check_http_errors() -> None:
    asking_wrongly(httpclient.InferenceServerClient(HTTP), httpclient, "404", "400")


def check_grpc_looks() -> None:
    looking(grpcclient.InferenceServerClient(GRPC), as_json=True)


def check_grpc_every_type() -> None:
    arrays = values()
    result = grpcclient.InferenceServerClient(GRPC).infer("echo", inputs_of(grpcclient, arrays), request_id="7")
    same(result, arrays)
    assert result.get_response().id == "7"


def check_grpc_typed_contents() -> None:
    """Typed values, as clients without NumPy send them."""
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    fields = {
        "bool": "bool", "uint8": "uint", "uint16": "uint", "uint32": "uint", "uint64": "uint64", "int8": "int",
        "int16": "int", "int32": "int", "int64": "int64", "float32": "fp32", "float64": "fp64", "string": "bytes",
    }  # fmt: skip
    import grpc

    arrays = values() | {"float32": np.full((3, 2), 0.25, np.float32)}
    request = service_pb2.ModelInferRequest(model_name="echo")
    for name, array in arrays.items():
        tensor = request.inputs.add(name=f"in_{name}", shape=array.shape, datatype=np_to_triton_dtype(array.dtype))
        if name == "float16":
            # It has no typed form; sent as the narrower kind it can't be, so the whole request must be bytes.
            continue
        getattr(tensor.contents, f"{fields[name]}_contents").extend(array.ravel().tolist())
    with grpc.insecure_channel(GRPC) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            stub.ModelInfer(request)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "raw_input_contents only" in error.details(), error.details()
        else:
            raise AssertionError("FP16 as typed values was answered")
        small = service_pb2.ModelInferRequest(model_name="small")
        tensor = small.inputs.add(name="image", shape=IMAGES.shape, datatype="UINT8")
        tensor.contents.uint_contents.extend(IMAGES.ravel().tolist())
        reply = stub.ModelInfer(small)
    given = grpcclient.InferResult(reply).as_numpy("probabilities")
    whole = grpcclient.InferenceServerClient(GRPC).infer("small", picture(grpcclient)).as_numpy("probabilities")
    assert given.tolist() == whole.tolist()


def check_grpc_bfloat16() -> None:
    bfloat(grpcclient.InferenceServerClient(GRPC), grpcclient)


def check_grpc_compression() -> None:
    arrays = values(rows=500)
    for algorithm in ("gzip", "deflate"):
        client = grpcclient.InferenceServerClient(GRPC)
        same(client.infer("echo", inputs_of(grpcclient, arrays), compression_algorithm=algorithm), arrays)


def check_grpc_async() -> None:
    import threading

    client = grpcclient.InferenceServerClient(GRPC)
    found: dict[str, Any] = {}
    done = threading.Semaphore(0)

    def take(number: str, result: Any, error: Any) -> None:
        found[number] = error or result
        done.release()

    for k in range(40):
        client.async_infer("small", picture(grpcclient), partial(take, str(k)), request_id=str(k))
    for _ in range(40):
        assert done.acquire(timeout=20)
    assert all(found[str(k)].get_response().id == str(k) for k in range(40))


def check_grpc_asyncio() -> None:
    async def ask() -> None:
        async with grpcaio.InferenceServerClient(GRPC) as client:
            arrays = values()
            for result in await asyncio.gather(
                *(client.infer("echo", inputs_of(grpcclient, arrays)) for _ in range(9))
            ):
                same(result, arrays)

    asyncio.run(ask())


def check_grpc_stream() -> None:
    """Two hundred requests over one stream are answered in order; the one at fault is answered with its error."""
    import queue

    client = grpcclient.InferenceServerClient(GRPC)
    found: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)))
    for k in range(200):
        name = "absent" if k == 50 else "small"
        client.async_stream_infer(name, picture(grpcclient, 1 + k % 3), request_id=str(k))
    for k in range(200):
        result, error = found.get(timeout=20)
        if k == 50:
            assert "no model 'absent'" in str(error), error
            continue
        assert error is None, error
        assert result.get_response().id == str(k)
        assert result.as_numpy("probabilities").shape == (1 + k % 3, 3)
    client.stop_stream()


def check_grpc_parameters_and_deadline() -> None:
    client = grpcclient.InferenceServerClient(GRPC)
    client.infer(
        "small", picture(grpcclient), model_version="1", priority=3, timeout=10_000_000, client_timeout=10,
        parameters={"mine": "yes"}, sequence_id=5, sequence_start=True, sequence_end=True,
    )  # fmt: skip
    fails(lambda: client.infer("small", picture(grpcclient), timeout=1), "DEADLINE_EXCEEDED", "deadline")


def check_grpc_statistics() -> None:
    counting(grpcclient.InferenceServerClient(GRPC), grpcclient, as_json=True)


def check_grpc_repository() -> None:
    managing(grpcclient.InferenceServerClient(GRPC), grpcclient)


def check_grpc_errors() -> None:
    asking_wrongly(grpcclient.InferenceServerClient(GRPC), grpcclient, "NOT_FOUND", "INVALID_ARGUMENT")


if __name__ == "__main__":
    run_all(globals())
