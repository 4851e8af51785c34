"""Clients over gRPC: tensors by the Open Inference Protocol, blocking and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, ServerError
from bedplate.serving.client_calls import AsyncClosing, Closing, Tries
from bedplate.serving.messages import message, service
from bedplate.serving.oip_binary import DATATYPES, bytes_of, datatype_of, tensor_from_bytes

SERVICE = "inference.GRPCInferenceService"
_KINDS = {name: kind for kind, name in DATATYPES.items()}
_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.RESOURCE_EXHAUSTED: 429, grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503, grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}  # fmt: skip
_AGAIN = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class _Grpc:
    """What both clients share."""

    def __init__(
        self, address: str, *, token: str | None = None, timeout: float = 30.0, retries: int = 3,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:  # fmt: skip
        if "://" in address:
            scheme, _, address = address.partition("://")
            if scheme == "grpcs" and credentials is None:
                credentials = grpc.ssl_channel_credentials()
            if scheme not in ("grpc", "grpcs"):
                raise InputError("not an address for gRPC", expected="HOST:PORT", received=f"{scheme}://{address}")
        self.address, self.timeout, self.retries = address, timeout, retries
        self.credentials = credentials
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.methods = service(SERVICE)
        self._connect()

    def _connect(self) -> None:
        raise NotImplementedError

    def failure(self, error: grpc.RpcError) -> ServerError:
        code = error.code()
        return ServerError(
            error.details() or code.name, status=_STATUSES.get(code, 500),
            where=self.address if code is grpc.StatusCode.UNAVAILABLE else None,
        )  # fmt: skip


def infer_request(name: str, inputs: Arrays, version: int | str | None) -> Any:
    """Return a ModelInferRequest."""
    request = message("inference.ModelInferRequest")(model_name=name, model_version=str(version or ""))
    for key, given in inputs.items():
        array = np.ascontiguousarray(given)
        entry = request.inputs.add()
        entry.name, entry.datatype = key, datatype_of(array)
        entry.shape.extend(array.shape)
        request.raw_input_contents.append(bytes(bytes_of(array)))
    return request


def infer_reply(reply: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a ModelInferResponse."""
    found: dict[str, np.ndarray] = {}
    for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True):
        shape = list(output.shape)
        spec = TensorSpec(output.name, _KINDS[output.datatype], tuple(shape[1:]))
        found[output.name] = tensor_from_bytes(raw, output.datatype, shape, spec, f"output '{output.name}'")
    return found


class GrpcClient(_Grpc, Closing):
    """A blocking client. Threads may share it.

    Args:
        address: HOST:PORT.
        token, timeout, retries: as `Client` has them.
        credentials: of `grpc.ssl_channel_credentials` for TLS; None speaks plain text.
    """

    def _connect(self) -> None:
        self._channel = (
            grpc.secure_channel(self.address, self.credentials, _OPTIONS)
            if self.credentials
            else grpc.insecure_channel(self.address, _OPTIONS)
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def infer(self, name: str, inputs: Arrays, *, version: int | str | None = None) -> dict[str, np.ndarray]:
        """Return the output tensors by name for input tensors by name. Raises ServerError."""
        return infer_reply(self._ask("ModelInfer", infer_request(name, inputs, version)))

    def predictor(self, name: str, *, version: int | str | None = None) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return a model as a `Predict`."""
        return lambda inputs: self.infer(name, inputs, version=version)

    def ready(self) -> bool:
        """Return whether the server answers and is ready."""
        try:
            return bool(self._call("ServerReady", message("inference.ServerReadyRequest")(), 5.0).ready)
        except grpc.RpcError:
            return False

    def _call(self, method: str, request: Any, timeout: float) -> Any:
        shape = self.methods[method]
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}", request_serializer=shape.request.SerializeToString,
            response_deserializer=shape.reply.FromString,
        )  # fmt: skip
        return call(request, timeout=timeout, metadata=self.metadata)

    def _ask(self, method: str, request: Any) -> Any:
        tries = Tries(self.timeout, self.retries)
        while True:
            try:
                return self._call(method, request, tries.seconds_left)
            except grpc.RpcError as error:
                pause = tries.pause() if error.code() in _AGAIN else None
                if pause is None:
                    raise self.failure(error) from error
            time.sleep(pause)


class AsyncGrpcClient(_Grpc, AsyncClosing):
    """The same for asyncio. Make it where the loop runs."""

    def _connect(self) -> None:
        self._channel = (
            grpc.aio.secure_channel(self.address, self.credentials, _OPTIONS)
            if self.credentials
            else grpc.aio.insecure_channel(self.address, _OPTIONS)
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def infer(self, name: str, inputs: Arrays, *, version: int | str | None = None) -> dict[str, np.ndarray]:
        """Return the output tensors by name for input tensors by name. Raises ServerError."""
        shape = self.methods["ModelInfer"]
        call = self._channel.unary_unary(
            f"/{SERVICE}/ModelInfer", request_serializer=shape.request.SerializeToString,
            response_deserializer=shape.reply.FromString,
        )  # fmt: skip
        tries = Tries(self.timeout, self.retries)
        request = infer_request(name, inputs, version)
        while True:
            try:
                return infer_reply(await call(request, timeout=tries.seconds_left, metadata=self.metadata))
            except grpc.RpcError as error:
                pause = tries.pause() if error.code() in _AGAIN else None
                if pause is None:
                    raise self.failure(error) from error
            await asyncio.sleep(pause)
