"""The Open Inference Protocol v2 over gRPC, with Triton's methods: streams, configuration, statistics, repository.

Tensors come as bytes (`raw_input_contents`) or as typed values (`contents`); they are always answered as bytes, since
that is all that Triton's client reads.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.serving import messages, oip, oip_management
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.exchange import Call, Protocol, Question, after
from bedplate.serving.grpc_server import Context, Streaming, Unary, ask_model, service_handler
from bedplate.serving.models import Model
from bedplate.serving.oip_binary import (
    ONLY_BINARY,
    bytes_of,
    check_datatype,
    check_shape,
    datatype_of,
    tensor_from_bytes,
    text,
)
from bedplate.serving.oip_read import Asked, deadline_of, named_inputs, parameters_of, question, wanted
from bedplate.serving.problems import Problem, bad_request

log = logging.getLogger("bedplate.serving")

SERVICE = "inference.GRPCInferenceService"

_AT_ONCE = 64  # requests of one stream that may be under way together

_FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def handlers(plane: DataPlane) -> list[grpc.GenericRpcHandler]:
    """Return the protocol's service."""
    methods: dict[str, Unary | Streaming] = {**_server_methods(), **_model_methods(plane), **_repository_methods(plane)}

    async def live(_: Any, __: Context) -> Any:
        return _message("ServerLiveResponse")(live=True)

    async def ready(_: Any, __: Context) -> Any:
        return _message("ServerReadyResponse")(ready=plane.ready)

    return [service_handler(plane, SERVICE, {"ServerLive": live, "ServerReady": ready, **methods})]


def _message(name: str) -> Any:
    return messages.message(f"inference.{name}")


def _server_methods() -> dict[str, Unary]:
    async def metadata(_: Any, __: Context) -> Any:
        return _message("ServerMetadataResponse")(**oip.server_metadata())

    return {"ServerMetadata": metadata}


def _model_methods(plane: DataPlane) -> dict[str, Unary | Streaming]:
    def find(name: str, version: str) -> Model:
        return plane.repository.find(name, version)

    async def ready(request: Any, _: Context) -> Any:
        try:
            find(request.name, request.version)
        except Problem:
            return _message("ModelReadyResponse")(ready=False)
        return _message("ModelReadyResponse")(ready=True)

    async def metadata(request: Any, _: Context) -> Any:
        described = oip.model_metadata(plane, find(request.name, request.version))
        return json_format.ParseDict(described, _message("ModelMetadataResponse")())

    async def config(request: Any, _: Context) -> Any:
        described = oip_management.model_config(find(request.name, request.version))
        return json_format.ParseDict({"config": described}, _message("ModelConfigResponse")())

    async def stats(request: Any, _: Context) -> Any:
        version = request.version
        if request.name:
            found = find(request.name, version)
            version = found.version if version else ""
        told = oip_management.statistics(plane, request.name, version)
        return json_format.ParseDict({"model_stats": told}, _message("ModelStatisticsResponse")())

    async def infer(request: Any, context: Context) -> Any:
        try:
            model = find(request.model_name, request.model_version)
        except Problem as problem:
            plane.metrics.refused(OIP_GRPC.name, str(problem.status))
            raise
        return await ask_model(plane, OIP_GRPC, model, request, context)

    def stream(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        return _stream(plane, infer, requests, context)

    return {
        "ModelReady": ready, "ModelMetadata": metadata, "ModelConfig": config, "ModelStatistics": stats,
        "ModelInfer": infer, "ModelStreamInfer": stream,
    }  # fmt: skip


def _repository_methods(plane: DataPlane) -> dict[str, Unary]:
    async def index(request: Any, _: Context) -> Any:
        told = oip_management.repository_index(plane, ready=request.ready)
        return json_format.ParseDict({"models": told}, _message("RepositoryIndexResponse")())

    async def load(request: Any, _: Context) -> Any:
        await oip_management.load_model(plane, request.model_name, list(request.parameters))
        return _message("RepositoryModelLoadResponse")()

    async def unload(request: Any, _: Context) -> Any:
        await plane.manage("unload_name", name=request.model_name)
        return _message("RepositoryModelUnloadResponse")()

    return {"RepositoryIndex": index, "RepositoryModelLoad": load, "RepositoryModelUnload": unload}


async def _stream(plane: DataPlane, infer: Unary, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    """Answer a stream's requests side by side, in their order; one that fails is answered with its error."""
    answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(_AT_ONCE)

    async def take() -> None:
        try:
            async for request in requests:
                own = copy.copy(context)  # its size is the request's, its time begins now
                own.deadline = after(plane.timeout)
                await answers.put(asyncio.create_task(_streamed(infer, request, own)))
        finally:
            await answers.put(None)

    taking = asyncio.create_task(take())
    try:
        while (answer := await answers.get()) is not None:
            yield await answer
        await taking
    finally:
        taking.cancel()
        while not answers.empty():
            left = answers.get_nowait()
            if left is not None:
                left.cancel()


async def _streamed(infer: Unary, request: Any, context: Context) -> Any:
    reply = _message("ModelStreamInferResponse")()
    try:
        reply.infer_response.CopyFrom(await infer(request, context))
    except Exception as error:  # the stream goes on; only this request is told
        if not isinstance(error, Problem):
            log.exception("gRPC ModelStreamInfer failed")
            error = Problem(500, "the server failed on this request; its log says why")
        reply.error_message = error.message
        reply.infer_response.model_name = request.model_name
        reply.infer_response.id = request.id
    reply.infer_response.parameters["triton_final_response"].bool_param = True
    return reply


def read(call: Call) -> Question:
    """Read one ModelInferRequest. Raises Problem 400 or 413."""
    request, model = call.payload, call.model
    parameters = _parameters(request)
    named = named_inputs([{"name": tensor.name, "tensor": tensor} for tensor in request.inputs], model)
    outputs = [{"name": output.name, "parameters": _parameters(output)} for output in request.outputs]
    asked = Asked(request.id or None, wanted(outputs, {"binary_data_output": True}, model))
    raw = request.raw_input_contents
    if raw and len(raw) != len(named):
        raise bad_request(f"raw_input_contents: {len(named)} inputs, but {len(raw)} values of bytes")
    arrays: dict[str, np.ndarray] = {}
    for k, (spec, entry) in enumerate(named):
        tensor, where = entry["tensor"], f"input '{spec.name}'"
        parameters_of({"parameters": _parameters(tensor)}, where)
        check_datatype(tensor.datatype, spec, where)
        shape = check_shape(list(tensor.shape), spec, where)
        if not raw:
            arrays[spec.name] = _from_contents(tensor, shape, spec, where)
        elif tensor.HasField("contents"):
            raise bad_request(f"{where}: give either contents or raw_input_contents")
        else:
            arrays[spec.name] = tensor_from_bytes(raw[k], tensor.datatype, shape, spec, where)
    return question(arrays, model, asked, deadline_of(parameters.get("timeout")))


def _parameters(holder: Any) -> dict[str, Any]:
    """Return InferParameters as plain values by name."""
    found = {}
    for name, parameter in holder.parameters.items():
        chosen = parameter.WhichOneof("parameter_choice")
        found[name] = None if chosen is None else getattr(parameter, chosen)
    return found


def _from_contents(tensor: Any, shape: list[int], spec: TensorSpec, where: str) -> np.ndarray:
    """Return a tensor of typed values."""
    datatype = tensor.datatype
    if datatype in ONLY_BINARY:
        raise bad_request(f"{where}: {datatype} is sent in raw_input_contents only")
    field = _FIELDS[datatype]
    strays = [descriptor.name for descriptor, _ in tensor.contents.ListFields() if descriptor.name != field]
    if strays:
        raise bad_request(f"{where}: {datatype} is given in {field}, received {strays[:4]}")
    values = getattr(tensor.contents, field)
    needed = int(np.prod(shape, dtype=object))
    if len(values) != needed:
        raise bad_request(f"{where}: the shape {shape} needs {needed} values in {field}, received {len(values)}")
    if datatype == "BYTES":
        found = np.empty(needed, object)
        found[:] = [text(value, f"{where}: value {k}") for k, value in enumerate(values)]
        return found.reshape(shape)
    wire = np.dtype({"BOOL": "bool", "FP32": "float32", "FP64": "float64"}.get(datatype, datatype.lower()))
    if wire.itemsize < 4 and wire.kind in "iu":  # these travel as 32 bits
        wide = np.fromiter(values, np.int64, needed)
        limits = np.iinfo(wire)
        if wide.min() < limits.min or wide.max() > limits.max:
            raise bad_request(f"{where}: expected {limits.min} to {limits.max}, received {wide.min()} to {wide.max()}")
        return wide.astype(wire).reshape(shape)
    return np.fromiter(values, wire, needed).reshape(shape).astype(spec.dtype, copy=False)


def write(call: Call, question: Question, outputs: Arrays) -> Any:
    """Return a ModelInferResponse with the outputs that were asked for, as bytes."""
    asked: Asked = question.notes
    reply = _message("ModelInferResponse")(
        model_name=call.model.name, model_version=call.model.version, id=asked.identity or ""
    )
    for name, _ in asked.outputs:
        array = outputs[name]
        reply.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        reply.raw_output_contents.append(bytes(bytes_of(array)))
    return reply


OIP_GRPC = Protocol("oip-grpc", read, write)
