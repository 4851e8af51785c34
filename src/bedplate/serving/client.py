"""Clients: a server's models as Python functions, with connections kept, deadlines, and tries again where that is safe.

client = bedplate.Client("http://127.0.0.1:8000")
client.predict("digits", Path("7.png"))            # [{"answer": "7", "probabilities": {…}}]
client.infer("digits", {"image": pixels})          # {"probabilities": array}
evaluate(client.predictor("digits"), …)            # a remote server is a `Predict`
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, ServerError
from bedplate.serving import client_calls as calls
from bedplate.serving.client_calls import AGAIN, AsyncClosing, Closing, Payload, Request, Tries, refusal, unreachable

# A request whose connection broke before a reply came may be sent again: a prediction changes nothing.
_BROKEN = (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.PoolTimeout)


class _Settings:
    """What the clients share: where, who, how long, how often."""

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, retries: int = 3, verify: Any = True
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(
                "not an address of a server", expected="http://HOST:PORT or https://HOST:PORT", received=url[:200],
                hint="for gRPC use GrpcClient('HOST:PORT')",
            )  # fmt: skip
        if timeout <= 0 or retries < 0:
            raise InputError("a timeout is more than 0, retries at least 0", received=f"{timeout:g} and {retries}")
        self.url, self.timeout, self.retries = url.rstrip("/"), timeout, retries
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.options: dict[str, Any] = {
            "base_url": self.url, "headers": headers, "verify": verify,
            "limits": httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=30),
        }  # fmt: skip
        self._connect()

    def _connect(self) -> None:
        raise NotImplementedError

    def after(self, tries: Tries, reply: httpx.Response | Exception) -> float | None:
        """Return the seconds to wait before the next try, or None where the reply is for good. Raises ServerError."""
        if isinstance(reply, httpx.Response):
            return tries.pause(reply.headers.get("retry-after")) if reply.status_code in AGAIN else None
        pause = tries.pause() if isinstance(reply, _BROKEN) else None
        if pause is not None:
            return pause
        if isinstance(reply, httpx.TimeoutException):
            raise ServerError(f"no answer within {self.timeout:g} seconds", status=504, where=self.url) from reply
        raise unreachable(self.url, reply) from reply


def _read(request: Request, reply: httpx.Response | Exception) -> Any:
    assert isinstance(reply, httpx.Response)
    if reply.is_success:
        return request.read(reply.content, reply.headers)
    raise refusal(reply.status_code, reply.content)


def _sent(request: Request, left: float) -> dict[str, Any]:
    """Return what httpx is told of one try."""
    headers = {**request.headers, "x-request-timeout": f"{left:.3f}"}
    return {
        "method": request.method, "url": request.path, "content": request.body or None, "headers": headers,
        # The server says itself that the time is up; this is for one that is mute.
        "timeout": httpx.Timeout(left + 0.25),
    }  # fmt: skip


class Client(_Settings, Closing):
    """A client over HTTP. Threads may share it. Close it, or use it as a context.

    Args:
        url: where the server is.
        token: a bearer token.
        timeout: seconds for one call, all its tries together; the server is told, and drops what comes too late.
        retries: how often more a request is sent that was refused for now (429, 503) or whose connection broke.
        verify: how TLS certificates are checked: True, or an `ssl.SSLContext`.
    """

    def _connect(self) -> None:
        self._http = httpx.Client(**self.options)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self, name: str, payload: Payload, *, version: int | str | None = None, label: str | None = None
    ) -> list[dict[str, Any]]:
        """Return one answer a payload: `{answer, probabilities}` or `{answer, value}`.

        Args:
            name: the model.
            payload: an image (bytes, a file, uint8 pixels), a row (column to value), a text, or a list of them. A list
                of strings is several texts; one sentence as words is `{"words": [...]}`, or a list in a list.
            version: a version; None takes the newest.
            label: a label in its place.

        Raises:
            ServerError: the server refused it, or can't be reached in time; `status` says which.
            InputError: the file can't be read.
        """
        answers: list[dict[str, Any]] = self.ask(calls.predict(name, payload, version, label))
        return answers

    def infer(self, name: str, inputs: Arrays, *, version: int | str | None = None) -> dict[str, np.ndarray]:
        """Return the output tensors by name for input tensors by name, rows first. Raises ServerError."""
        outputs: dict[str, np.ndarray] = self.ask(calls.infer(name, inputs, version))
        return outputs

    def predictor(self, name: str, *, version: int | str | None = None) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return a model as a `Predict`, for `evaluate` and whatever else takes one."""
        return lambda inputs: self.infer(name, inputs, version=version)

    def models(self) -> list[dict[str, Any]]:
        """Return what is served, with examples."""
        found: list[dict[str, Any]] = self.ask(calls.get("/models"))["models"]
        return found

    def versions(self, name: str) -> dict[str, Any]:
        """Return a name's versions with their states, and its labels."""
        found: dict[str, Any] = self.ask(calls.get(f"/models/{calls.model_path(name, None, None)}/versions"))
        return found

    def load(self, name: str) -> None:
        """Load a name, or load it again."""
        self.ask(calls.change("POST", f"/v2/repository/models/{calls.model_path(name, None, None)}/load"))

    def unload(self, name: str) -> None:
        """Stop serving a name."""
        self.ask(calls.change("POST", f"/v2/repository/models/{calls.model_path(name, None, None)}/unload"))

    def set_label(self, name: str, label: str, version: int | None) -> dict[str, int]:
        """Point a label at a version, or remove it (None); return the name's labels."""
        path = f"/models/{calls.model_path(name, None, label)}"
        request = calls.change("DELETE", path) if version is None else calls.change("PUT", path, {"version": version})
        labels: dict[str, int] = self.ask(request)["labels"]
        return labels

    def metrics(self) -> str:
        """Return the metrics as Prometheus reads them."""
        found: str = self.ask(calls.text("/metrics"))
        return found

    def ready(self) -> bool:
        """Return whether the server answers and is ready; False also where nobody listens."""
        try:
            return self._http.get("/v2/health/ready", timeout=min(self.timeout, 5.0)).status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        """Wait for the server. Raises ServerError where it isn't ready in time."""
        end = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > end:
                raise ServerError(f"not ready within {seconds:g} seconds", status=503, where=self.url)
            time.sleep(0.05)

    def ask(self, request: Request) -> Any:
        """Send a request until it is answered for good, and return what its reply says."""
        tries = Tries(self.timeout, self.retries)
        while True:
            reply: httpx.Response | Exception
            try:
                reply = self._http.request(**_sent(request, tries.seconds_left))
            except httpx.TransportError as error:
                reply = error
            pause = self.after(tries, reply)
            if pause is None:
                return _read(request, reply)
            time.sleep(pause)


class AsyncClient(_Settings, AsyncClosing):
    """The same for asyncio; see `Client` for arguments, answers and errors."""

    def _connect(self) -> None:
        self._http = httpx.AsyncClient(**self.options)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self, name: str, payload: Payload, *, version: int | str | None = None, label: str | None = None
    ) -> list[dict[str, Any]]:
        """Return one answer a payload."""
        answers: list[dict[str, Any]] = await self.ask(calls.predict(name, payload, version, label))
        return answers

    async def infer(self, name: str, inputs: Arrays, *, version: int | str | None = None) -> dict[str, np.ndarray]:
        """Return the output tensors by name for input tensors by name."""
        outputs: dict[str, np.ndarray] = await self.ask(calls.infer(name, inputs, version))
        return outputs

    async def models(self) -> list[dict[str, Any]]:
        """Return what is served, with examples."""
        found: list[dict[str, Any]] = (await self.ask(calls.get("/models")))["models"]
        return found

    async def versions(self, name: str) -> dict[str, Any]:
        """Return a name's versions with their states, and its labels."""
        found: dict[str, Any] = await self.ask(calls.get(f"/models/{calls.model_path(name, None, None)}/versions"))
        return found

    async def ready(self) -> bool:
        """Return whether the server answers and is ready."""
        try:
            return (await self._http.get("/v2/health/ready", timeout=min(self.timeout, 5.0))).status_code == 200
        except httpx.TransportError:
            return False

    async def wait_until_ready(self, seconds: float = 30.0) -> None:
        """Wait for the server. Raises ServerError where it isn't ready in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not await self.ready():
                    await asyncio.sleep(0.05)
                return
        raise ServerError(f"not ready within {seconds:g} seconds", status=503, where=self.url)

    async def ask(self, request: Request) -> Any:
        """Send a request until it is answered for good, and return what its reply says."""
        tries = Tries(self.timeout, self.retries)
        while True:
            reply: httpx.Response | Exception
            try:
                reply = await self._http.request(**_sent(request, tries.seconds_left))
            except httpx.TransportError as error:
                reply = error
            pause = self.after(tries, reply)
            if pause is None:
                return _read(request, reply)
            await asyncio.sleep(pause)
