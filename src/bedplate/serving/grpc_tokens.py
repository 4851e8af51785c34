"""Bearer tokens over gRPC: the same tokens and roles as over HTTP, in the metadata key `authorization`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from bedplate.serving.grpc_server import fail
from bedplate.serving.problems import Problem

Allow = Callable[[str, str], object]
"""(the authorization value, a role) → anything; raises a Problem where the call may not go on."""

_MANAGING = frozenset({"HandleReloadConfigRequest", "RepositoryModelLoad", "RepositoryModelUnload"})
_OPEN = ("/grpc.health.v1.Health/", "/inference.GRPCInferenceService/Server")


def role_of(method: str) -> str:
    """Return the role that a method's path asks for: "predict", "manage", or "" for health and the server's name."""
    if method.startswith(_OPEN):
        return ""
    return "manage" if method.rpartition("/")[2] in _MANAGING else "predict"


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Let a call through where its bearer token has the role that its method asks for."""

    def __init__(self, allow: Allow) -> None:
        self._allow = allow

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Return the method's handler, or one that ends the call with what is wrong with its token."""
        role = role_of(details.method)
        if role:
            given = dict(details.invocation_metadata or ()).get("authorization", "")
            try:
                self._allow(given if isinstance(given, str) else given.decode("latin-1"), role)
            except Problem as problem:
                return _refusing(details.method, problem)
        return await continuation(details)


def _refusing(method: str, problem: Problem) -> Any:
    async def refuse(_: Any, context: Any) -> AsyncIterator[bytes]:
        await fail(context, method, problem)
        yield b""

    # Whatever the method's shape: a stream's handler begins before any message is read.
    return grpc.stream_stream_rpc_method_handler(refuse)
