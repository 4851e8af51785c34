"""What a client asks and how it reads the answer, without any network: shared by the four clients."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
import orjson

from bedplate.codecs.codec import TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import InputError, ServerError
from bedplate.serving.oip_binary import DATATYPES, bytes_of, datatype_of, tensor_from_bytes

AGAIN = frozenset({429, 503})
"""Statuses after which the same request may be sent again: the server did nothing for it."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds before the second try, doubled for each further one."""

_KINDS = {name: kind for kind, name in DATATYPES.items()}

Payload = bytes | Path | Mapping[str, Any] | np.ndarray | Sequence[Any]
"""One image (bytes, a file, or uint8 [H,W] or [H,W,C]), one row (column to value), or a list of either."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, and how its reply's body is read."""

    method: str
    path: str
    read: Callable[[bytes, Mapping[str, str]], Any]
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Tries:
    """How often and when a request is sent again, within its deadline.

    Args:
        timeout: seconds for all tries together.
        retries: how many more times at most.
    """

    def __init__(self, timeout: float, retries: int) -> None:
        self._end = time.monotonic() + timeout
        self._timeout, self._left, self._pause = timeout, retries, FIRST_PAUSE

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; raises ServerError where it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise ServerError(f"no answer within {self._timeout:g} seconds", status=504)
        return left

    def pause(self, retry_after: str | None = None) -> float | None:
        """Return the seconds to wait before the next try, or None where there is none.

        The pause is random between a half and the whole, so that many clients don't come back together.
        """
        if self._left <= 0:
            return None
        self._left -= 1
        seconds = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if retry_after is not None and retry_after.replace(".", "", 1).isdigit():
            seconds = max(seconds, min(float(retry_after), LONGEST_PAUSE))
        return seconds if time.monotonic() + seconds < self._end else None


class Closing:
    """A client that can be used as a context."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError


class AsyncClosing:
    """The same for asyncio."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError


def refusal(status: int, body: bytes) -> ServerError:
    """Return a server's refusal as an error with its words."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("error"), str):
        text = body[:200].decode(errors="replace").strip()
        return ServerError(text or f"the server answered {status}", status=status)
    said = value["error"]
    facts = {key: value[key] for key in ("where", "expected", "received", "hint") if isinstance(value.get(key), str)}
    # The sentence may hold them already.
    return ServerError(said, status=status, **{key: fact for key, fact in facts.items() if fact not in said})


def unreachable(url: str, error: Exception) -> ServerError:
    """Return the error of a server that can't be reached."""
    return ServerError(
        "the server can't be reached", status=503, where=url, received=str(error) or type(error).__name__,
        hint="is it running? bedplate serve BUNDLE",
    )  # fmt: skip


def model_path(name: str, version: int | str | None, label: str | None) -> str:
    """Return `NAME`, with a version or a label where one is asked for."""
    if version is not None and label is not None:
        raise InputError("give a version or a label, not both")
    path = quote(name, safe="")
    if version is not None:
        return f"{path}/versions/{quote(str(version), safe='')}"
    return f"{path}/labels/{quote(label, safe='')}" if label is not None else path


def _json(body: bytes, _: Mapping[str, str]) -> Any:
    return orjson.loads(body)


def predict(name: str, payload: Payload, version: int | str | None, label: str | None) -> Request:
    """Ask for answers with labels; the reply is a list, one answer a payload."""
    path = f"/predict/{model_path(name, version, label)}"
    if isinstance(payload, Path):
        try:
            payload = payload.read_bytes()
        except OSError as error:
            raise InputError("can't be read", where=str(payload), received=error.strerror or str(error)) from error
    if isinstance(payload, bytes | bytearray):
        body, kind = bytes(payload), "application/octet-stream"
    else:
        body, kind = orjson.dumps(_plain(payload), option=orjson.OPT_SERIALIZE_NUMPY), "application/json"
    return Request("POST", path, lambda data, _: orjson.loads(data)["answers"], body, {"content-type": kind})


def _plain(value: Any) -> Any:
    """Return a payload as JSON: images in lists become base64, and so do files."""
    if isinstance(value, Path):
        value = value.read_bytes()
    if isinstance(value, bytes | bytearray):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def infer(name: str, inputs: Arrays, version: int | str | None, timeout: float | None = None) -> Request:
    """Ask for tensors with the Open Inference Protocol's binary extension; the reply is arrays by name."""
    parts = {key: np.ascontiguousarray(array) for key, array in inputs.items()}
    blobs = {key: bytes_of(array) for key, array in parts.items()}
    head: dict[str, Any] = {
        "inputs": [
            {
                "name": key, "shape": list(array.shape), "datatype": datatype_of(array),
                "parameters": {"binary_data_size": len(blobs[key])},
            }
            for key, array in parts.items()
        ],
        "parameters": {"binary_data_output": True},
    }  # fmt: skip
    if timeout is not None:
        head["parameters"]["timeout"] = int(timeout * 1e6)
    text = orjson.dumps(head)
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    path = f"/v2/models/{model_path(name, version, None)}/infer"
    return Request("POST", path, read_tensors, b"".join([text, *blobs.values()]), headers)


def read_tensors(body: bytes, headers: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the tensors of a reply, binary or JSON."""
    size = int(headers.get("inference-header-content-length", len(body)))
    head, rest = orjson.loads(body[:size]), memoryview(body)[size:]
    found: dict[str, np.ndarray] = {}
    for entry in head["outputs"]:
        name, shape, datatype = entry["name"], entry["shape"], entry["datatype"]
        length = entry.get("parameters", {}).get("binary_data_size")
        kind = _KINDS[datatype]
        if length is None:
            found[name] = np.array(entry["data"], object if kind == "string" else kind).reshape(shape)
            continue
        spec = TensorSpec(name, kind, tuple(shape[1:]))
        found[name] = tensor_from_bytes(rest[:length], datatype, shape, spec, f"output '{name}'")
        rest = rest[length:]
    return found


def get(path: str) -> Request:
    """Ask for JSON."""
    return Request("GET", path, _json)


def text(path: str) -> Request:
    """Ask for text."""
    return Request("GET", path, lambda body, _: body.decode())


def change(method: str, path: str, value: Any = None) -> Request:
    """Ask for a change, with a JSON body."""
    body = b"" if value is None else orjson.dumps(value)
    return Request(method, path, lambda data, _: orjson.loads(data) if data else None, body)
