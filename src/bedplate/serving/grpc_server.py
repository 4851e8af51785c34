"""The gRPC server: on the same event loop as HTTP, over the same data plane, with the same limits and problems.

A protocol gives its services by `service_handler`. A method is a coroutine function (message, Context) → message;
one with a stream of replies is an asynchronous generator (messages, Context) → messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from bedplate.core.errors import BedplateError, BundleError, InputError
from bedplate.serving import messages
from bedplate.serving.dataplane import DataPlane
from bedplate.serving.exchange import Call, Protocol, after
from bedplate.serving.messages import Method
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem

log = logging.getLogger("bedplate.serving")

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED, 404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED, 409: grpc.StatusCode.ALREADY_EXISTS,
    412: grpc.StatusCode.FAILED_PRECONDITION, 413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT, 429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED, 501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE, 504: grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
_MOST_CALLS = 1000
_MOST_WORDS = 2000  # of an error's text; it travels as a header, and those are limited to 8 KiB
_HEALTH = "grpc.health.v1.Health"


class Context:
    """What a method may know of its call.

    Attributes:
        metadata: the request's metadata by lower-case key; where one stands twice, the last counts.
        deadline: when the caller's time is up (monotonic seconds), at most the server's own timeout from now.
        size: the bytes of the request message.
        trailing: metadata for the end of the reply.
        draining: is set when the server stops taking requests.
    """

    __slots__ = ("deadline", "draining", "metadata", "peer", "size", "trailing")

    def __init__(self, given: Any, timeout: float, draining: asyncio.Event) -> None:
        self.metadata: dict[str, str | bytes] = dict(given.invocation_metadata() or ())
        left = given.time_remaining()
        self.deadline = after(timeout if left is None else min(left, timeout))
        self.peer: str = given.peer()
        self.size = 0
        self.trailing: list[tuple[str, str]] = []
        self.draining = draining


Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]


def status_code(problem: Problem) -> grpc.StatusCode:
    """Return the gRPC status of a Problem."""
    return _CODES.get(problem.status, grpc.StatusCode.INTERNAL)


async def ask_model(plane: DataPlane, protocol: Protocol, model: Model, request: Any, context: Context) -> Any:
    """Return a protocol's reply to one request message, by the way of all protocols."""
    return await plane.answer(protocol, Call(model, request, context.size, context.deadline))


def service_handler(plane: DataPlane, name: str, methods: Mapping[str, Unary | Streaming]) -> grpc.GenericRpcHandler:
    """Return the handler of a service.

    Args:
        plane: the data plane, for its timeout and for its end: streams of requests end when it drains.
        name: the service's full name, as "inference.GRPCInferenceService".
        methods: what answers, by method name; methods of the service that aren't named are UNIMPLEMENTED.

    Raises:
        KeyError: the service, or a method, isn't in `protos.binpb`.
    """
    known = messages.service(name)
    found = {}
    for method, answer in methods.items():
        shape = known[method]
        if shape.request_stream or shape.reply_stream:
            make = (
                grpc.stream_stream_rpc_method_handler if shape.request_stream else grpc.unary_stream_rpc_method_handler
            )
            found[method] = make(_streaming(plane, shape, answer))
        else:
            found[method] = grpc.unary_unary_rpc_method_handler(_unary(plane, shape, answer))
    return grpc.method_handlers_generic_handler(name, found)


def _parse(shape: Method, raw: bytes) -> Any:
    try:
        return shape.request.FromString(raw)
    except DecodeError as error:
        raise Problem(400, f"{shape.name}: the message isn't a {shape.request.DESCRIPTOR.full_name}") from error


def _as_problem(error: BedplateError) -> Problem:
    """Return what a caller may know of an error: not where, since that may be a folder of the server."""
    if isinstance(error, BundleError):
        return Problem(412, error.what)
    facts = [f"{word} {text}" for word, text in (("expected", error.expected), ("received", error.received)) if text]
    return Problem(400, error.what + (f" ({'; '.join(facts)})" if facts else ""))


async def fail(given: Any, method: str, error: Exception, trailing: Sequence[tuple[str, str]] = ()) -> None:
    """End a call with the status and words of an error."""
    if isinstance(error, BedplateError):
        error = _as_problem(error)
    elif not isinstance(error, Problem):
        log.error("gRPC %s failed", method, exc_info=error)
        error = Problem(500, "the server failed on this request; its log says why")
    extra = list(trailing)
    if error.retry_after is not None:
        extra.append(("grpc-retry-pushback-ms", str(max(1, round(1000 * error.retry_after)))))
    # grpc keeps what `abort` raises, and raises it once more when the handler is through. Left to fly, its traceback
    # would hold this call's frames, which hold it: a circle for each refusal.
    try:
        await given.abort(status_code(error), error.message[:_MOST_WORDS], tuple(extra))
    except grpc.aio.AbortError as aborted:
        aborted.__traceback__ = aborted.__context__ = None


def _unary(plane: DataPlane, shape: Method, answer: Any) -> Any:
    async def handle(raw: bytes, given: Any) -> bytes | None:
        context = Context(given, plane.timeout, plane.draining)
        context.size = len(raw)
        try:
            reply = await answer(_parse(shape, raw), context)
            if context.trailing:
                given.set_trailing_metadata(tuple(context.trailing))
            out: bytes = reply.SerializeToString()
            return out
        except Exception as error:  # noqa: BLE001 - fail() tells a caller's fault from the server's
            await fail(given, shape.name, error, context.trailing)
            return None

    return handle


def _streaming(plane: DataPlane, shape: Method, answer: Any) -> Any:
    async def handle(raw: Any, given: Any) -> AsyncIterator[bytes]:
        context = Context(given, plane.timeout, plane.draining)
        try:
            asked = _requests(shape, raw, context) if shape.request_stream else _parse(shape, raw)
            async for reply in answer(asked, context):
                yield reply.SerializeToString()
        except Exception as error:  # noqa: BLE001 - as above
            await fail(given, shape.name, error, context.trailing)

    return handle


async def _requests(shape: Method, raw: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
    """Give the messages of a stream until its caller, or the server, ends it."""
    stop = asyncio.ensure_future(context.draining.wait())
    incoming = aiter(raw)
    try:
        while True:
            coming = asyncio.ensure_future(anext(incoming))
            await asyncio.wait({coming, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                return
            try:
                part = coming.result()
            except StopAsyncIteration:
                return
            context.size = len(part)
            yield _parse(shape, part)
    finally:
        stop.cancel()


def health(plane: DataPlane, services: Iterable[str]) -> grpc.GenericRpcHandler:
    """Return gRPC's health service: "" and every served service, as ready as the data plane."""
    known = {"", _HEALTH, *services}
    reply = messages.message("grpc.health.v1.HealthCheckResponse")

    def status() -> Any:
        serving = plane.ready and not plane.draining.is_set()
        return reply(status=reply.ServingStatus.Value("SERVING" if serving else "NOT_SERVING"))

    async def check(request: Any, _: Context) -> Any:
        if request.service not in known:
            raise Problem(404, f"no service '{request.service[:100]}' is served here")
        return status()

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        if request.service not in known:
            yield reply(status=reply.ServingStatus.Value("SERVICE_UNKNOWN"))
        else:
            yield status()
        await context.draining.wait()
        if request.service in known:
            yield status()

    return service_handler(plane, _HEALTH, {"Check": check, "Watch": watch})


class GrpcServer:
    """A gRPC server that is made, started and stopped on a running event loop.

    Args:
        plane: what answers.
        handlers: the protocols' services.
        host: the address to listen on.
        port: 0 takes a free one.
        most_bytes: the largest message, either way.
        tls: (certificate chain, private key), both PEM; None speaks plain text.
        interceptors: are asked before every call, as for tokens: `grpc.aio.ServerInterceptor`s.
        reuse_port: whether other processes may share the port.

    Attributes:
        address: "host:port" as it listens.
    """

    def __init__(
        self,
        plane: DataPlane,
        handlers: Sequence[grpc.GenericRpcHandler],
        *,
        host: str,
        port: int,
        most_bytes: int,
        tls: tuple[Path, Path] | None = None,
        interceptors: Sequence[Any] = (),
        reuse_port: bool = False,
    ) -> None:
        self._plane = plane
        options = [
            ("grpc.max_receive_message_length", most_bytes), ("grpc.max_send_message_length", most_bytes),
            ("grpc.so_reuseport", int(reuse_port)), ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]  # fmt: skip
        self._server = grpc.aio.server(
            interceptors=tuple(interceptors), options=options, maximum_concurrent_rpcs=_MOST_CALLS
        )
        named = [handler.service_name() for handler in handlers]
        self._server.add_generic_rpc_handlers((*handlers, health(plane, named)))
        asked = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                taken = self._server.add_insecure_port(asked)
            else:
                chain, key = (path.read_bytes() for path in tls)
                taken = self._server.add_secure_port(asked, grpc.ssl_server_credentials([(key, chain)]))
        except RuntimeError as error:
            raise InputError(
                "can't listen here for gRPC", where=asked, received=str(error).splitlines()[0][:200],
                hint="choose another with --grpc-port; 0 takes a free one",
            ) from error  # fmt: skip
        self.address = asked.removesuffix(f":{port}") + f":{taken}"

    async def start(self) -> None:
        """Answer requests."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more requests, and wait up to `grace` seconds for those in hand."""
        self._plane.draining.set()
        await self._server.stop(grace)
