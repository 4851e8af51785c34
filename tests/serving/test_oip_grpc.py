"""The Open Inference Protocol over gRPC: every type both ways, streams in order, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import images
from tests.serving.echo import DTYPES, asking, echo_bundle, values
from tests.serving.running import running
from tests.serving.test_oip_binary import encode

from bedplate.bundle import Bundle
from bedplate.serving import messages, oip_grpc
from bedplate.serving.exchange import Call
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import DATATYPES
from bedplate.serving.oip_grpc import _FIELDS, SERVICE
from bedplate.serving.problems import Problem

PIXELS = images(3, seed=21)
TYPED = [dtype for dtype in DTYPES if dtype != "float16"]  # which has no typed field


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory, image_box: Bundle, table_box: Bundle) -> Iterator[grpc.Channel]:
    folder = tmp_path_factory.mktemp("boxes")
    echo = echo_bundle(folder / "echo")
    typed = echo_bundle(folder / "typed", name="typed", dtypes=TYPED)
    with (
        running([("", one.path) for one in (echo, typed, image_box, table_box)], grpc_port=0) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        yield channel


def method(channel: grpc.Channel, name: str) -> Callable[..., Any]:
    shape = messages.service(SERVICE)[name]
    make = channel.stream_stream if shape.reply_stream else channel.unary_unary
    return make(f"/{SERVICE}/{name}", shape.request.SerializeToString, shape.reply.FromString)


def message(name: str, /, **fields: Any) -> Any:
    return messages.message(f"inference.{name}")(**fields)


def picture(rows: int = 3, **more: Any) -> Any:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [rows, 8, 8, 1]}
    fields = {"model_name": "small", "inputs": [tensor], "raw_input_contents": [PIXELS[:rows].tobytes()]}
    return message("ModelInferRequest", **(fields | more))


def tensors(arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": DATATYPES["string" if array.dtype == object else str(array.dtype)],
         "shape": list(array.shape)}
        for name, array in arrays.items()
    ]  # fmt: skip


def test_every_type_as_bytes(channel: grpc.Channel) -> None:
    arrays = values(3, seed=4)
    reply = method(channel, "ModelInfer")(
        message("ModelInferRequest", model_name="echo", model_version="1", id="é", inputs=tensors(arrays),
                raw_input_contents=[encode(array) for array in arrays.values()])
    )  # fmt: skip
    assert (reply.model_name, reply.model_version, reply.id) == ("echo", "1", "é")
    assert [one.name for one in reply.outputs] == [name.replace("in_", "out_") for name in arrays]
    assert [(one.datatype, list(one.shape)) for one in reply.outputs] == [
        (one["datatype"], one["shape"]) for one in tensors(arrays)
    ]
    assert list(reply.raw_output_contents) == [encode(array) for array in arrays.values()]


def test_typed_values_are_read_as_bytes_are(channel: grpc.Channel) -> None:
    typed = picture(raw_input_contents=[])
    typed.inputs[0].contents.uint_contents.extend(PIXELS.ravel().tolist())
    ask = method(channel, "ModelInfer")
    assert ask(typed).raw_output_contents == ask(picture()).raw_output_contents


@pytest.mark.parametrize("short", [None, *TYPED])
def test_every_typed_field(channel: grpc.Channel, short: str | None) -> None:
    """All are read as they were written, and a value too few is told by name."""
    arrays = {f"in_{dtype}": values(3, seed=9)[f"in_{dtype}"] for dtype in TYPED}
    request = message("ModelInferRequest", model_name="typed", inputs=tensors(arrays))
    for tensor, (name, array) in zip(request.inputs, arrays.items(), strict=True):
        items = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
        getattr(tensor.contents, _FIELDS[tensor.datatype]).extend(items[1:] if name == f"in_{short}" else items)
    if short is None:
        reply = method(channel, "ModelInfer")(request)
        assert list(reply.raw_output_contents) == [encode(array) for array in arrays.values()]
        return
    with pytest.raises(grpc.RpcError) as caught:
        method(channel, "ModelInfer")(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"input 'in_{short}': the shape" in caught.value.details()


def test_fp16_has_no_typed_values(channel: grpc.Channel) -> None:
    arrays = {"in_float16": values(1)["in_float16"]}
    whole = values(1)
    request = message(
        "ModelInferRequest",
        model_name="echo",
        inputs=tensors(arrays | {k: v for k, v in whole.items() if k not in arrays}),
    )
    with pytest.raises(grpc.RpcError, match="FP16 is sent in raw_input_contents only"):
        method(channel, "ModelInfer")(request)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"model_name": "none"}, "NOT_FOUND", "no model 'none'"),
        ({"model_version": "7"}, "NOT_FOUND", "small"),
        ({"inputs": []}, "INVALID_ARGUMENT", "missing"),
        ({"raw_input_contents": [b"x"]}, "INVALID_ARGUMENT", "takes 192 bytes, received 1"),
        ({"raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "1 inputs, but 2"),
        ({"raw_input_contents": []}, "INVALID_ARGUMENT", "needs 192 values in uint_contents, received 0"),
        ({"outputs": [{"name": "logits"}]}, "INVALID_ARGUMENT", "expected one of"),
        ({"parameters": {"timeout": {"int64_param": 1}}}, "DEADLINE_EXCEEDED", "deadline"),
        ({"parameters": {"timeout": {"string_param": "1"}}}, "INVALID_ARGUMENT", "whole microseconds"),
    ],
)
def test_requests_that_do_not_fit(channel: grpc.Channel, change: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        method(channel, "ModelInfer")(picture(**change))
    assert caught.value.code().name == code
    assert words in caught.value.details()


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"shape": [-1, 8, 8, 1]}, "whole numbers"),
        ({"shape": [3, 64]}, "expected the shape"),
        ({"datatype": "FP32"}, "expected the datatype UINT8"),
        ({"datatype": ""}, "expected the datatype UINT8"),
        ({"contents": {"uint_contents": [1]}}, "either contents or raw_input_contents"),
        ({"parameters": {"shared_memory_region": {"string_param": "x"}}}, "shared memory"),
    ],
)
def test_tensors_that_do_not_fit(channel: grpc.Channel, tensor: dict[str, Any], words: str) -> None:
    whole = {"name": "image", "datatype": "UINT8", "shape": [3, 8, 8, 1]}
    with pytest.raises(grpc.RpcError) as caught:
        method(channel, "ModelInfer")(picture(inputs=[whole | tensor]))
    assert (caught.value.code().name, words in caught.value.details()) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"uint_contents": [256] * 192}, "expected 0 to 255, received 256 to 256"),
        ({"int_contents": [1] * 192}, "UINT8 is given in uint_contents, received ['int_contents']"),
        ({"uint_contents": [1] * 191}, "received 191"),
    ],
)
def test_typed_values_that_do_not_fit(channel: grpc.Channel, contents: dict[str, Any], words: str) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [3, 8, 8, 1], "contents": contents}
    with pytest.raises(grpc.RpcError) as caught:
        method(channel, "ModelInfer")(picture(inputs=[tensor], raw_input_contents=[]))
    assert (caught.value.code().name, words in caught.value.details()) == ("INVALID_ARGUMENT", True)


def test_a_stream_answers_in_order_and_survives_a_fault(channel: grpc.Channel) -> None:
    requests = [picture(1 + k % 3, id=str(k), model_name="none" if k == 70 else "small") for k in range(150)]
    replies = list(method(channel, "ModelStreamInfer")(iter(requests)))
    assert [reply.infer_response.id for reply in replies] == [str(k) for k in range(150)]
    for k, reply in enumerate(replies):
        assert reply.infer_response.parameters["triton_final_response"].bool_param
        if k == 70:
            assert "no model 'none'" in reply.error_message
        else:
            assert not reply.error_message
            assert list(reply.infer_response.outputs[0].shape) == [1 + k % 3, 3]


def test_a_stream_may_be_left(channel: grpc.Channel) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield picture()

    call = method(channel, "ModelStreamInfer")(endless())
    assert next(iter(call)).infer_response.model_name == "small"
    call.cancel()
    assert method(channel, "ModelInfer")(picture()).model_name == "small"


def test_what_describes_the_server_and_its_models(channel: grpc.Channel) -> None:
    def ask(what: str, /, **fields: Any) -> Any:
        return method(channel, what)(message(f"{what}Request", **fields))

    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ModelReady", name="small", version="1").ready
    assert not ask("ModelReady", name="small", version="2").ready
    assert "binary_tensor_data" in ask("ServerMetadata").extensions
    (tensor,) = ask("ModelMetadata", name="small").inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "UINT8", [-1, 8, 8, 1])
    config = ask("ModelConfig", name="small").config
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("small", 10_000, [8, 8, 1])
    assert len(ask("ModelStatistics").model_stats) == 4
    method(channel, "ModelInfer")(picture())
    (stats,) = ask("ModelStatistics", name="small", version="1").model_stats
    assert stats.inference_stats.success.count > 0
    assert stats.inference_count >= 3
    for name, fields in (("ModelMetadata", {"name": "none"}), ("ModelConfig", {"name": "none"})):
        with pytest.raises(grpc.RpcError) as caught:
            ask(name, **fields)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_models_can_be_unloaded_and_loaded(channel: grpc.Channel) -> None:
    def ask(what: str, /, **fields: Any) -> Any:
        return method(channel, what)(message(f"{what}Request", **fields))

    def states() -> dict[str, str]:
        return {one.name: one.state for one in ask("RepositoryIndex").models}

    assert set(states().values()) == {"READY"}
    ask("RepositoryModelUnload", model_name="prices")
    assert states()["prices"] == "UNAVAILABLE"
    assert [one.name for one in ask("RepositoryIndex", ready=True).models] == ["echo", "small", "typed"]
    ask("RepositoryModelLoad", model_name="prices")
    assert states()["prices"] == "READY"
    with pytest.raises(grpc.RpcError) as caught:
        ask("RepositoryModelLoad", model_name="prices",
            parameters={"config": {"string_param": "{}"}})  # fmt: skip
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_message_breaks_the_reader(model: Model, data: st.DataObject) -> None:
    """Good messages with some fields changed give a Question or a Problem, and nothing else."""
    request = picture()
    tensor = request.inputs[0]
    for change in data.draw(st.lists(st.integers(0, 8), max_size=4)):
        if change == 0:
            tensor.shape[:] = data.draw(st.lists(st.integers(-2, 300) | st.integers(-(2**63), 2**63 - 1), max_size=9))
        elif change == 1:
            tensor.datatype = data.draw(st.sampled_from([*DATATYPES.values(), "BF16", "", "UINT9"]))
        elif change == 2:
            request.raw_input_contents[:] = data.draw(st.lists(st.binary(max_size=200), max_size=3))
        elif change == 3:
            tensor.contents.uint_contents.extend(data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=70)))
        elif change == 4:
            tensor.contents.bytes_contents.append(data.draw(st.binary(max_size=5)))
        elif change == 5:
            request.inputs.add(name=data.draw(st.sampled_from(["image", "other", ""])))
        elif change == 6:
            request.outputs.add(name=data.draw(st.sampled_from(["probabilities", "other", ""])))
        elif change == 7:
            request.parameters["timeout"].int64_param = data.draw(st.integers(-1, 2**63 - 1))
        else:
            del request.raw_input_contents[:]
    try:
        question = oip_grpc.read(Call(model, request, 0))
    except Problem as problem:
        assert problem.status in (400, 413)  # noqa: PT017
    else:
        assert question.inputs["image"].shape[1:] == (8, 8, 1)


@pytest.fixture(scope="module")
def model(image_box: Bundle) -> Iterator[Model]:
    with asking(image_box) as ask:
        found = ask.app.plane.repository.newest("small")
        assert found is not None
        yield found
