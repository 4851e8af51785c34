"""All that a server can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bedplate.serving.body import Limits


@dataclass(frozen=True)
class Peer:
    """The ports of another server, for those who take its place."""

    port: int
    grpc_port: int
    also: tuple[int, ...] = ()


PEERS = {"tfserving": Peer(8501, 8500), "triton": Peer(8000, 8001, (8002,)), "kserve": Peer(8080, 8081)}


@dataclass(frozen=True)
class ServerSpec:
    """What to serve, where, and within which limits.

    Attributes:
        bundles: (name to serve under, folder or archive); an empty name takes the bundle's own.
        host: the address to listen on.
        port: for HTTP; 0 takes a free one.
        grpc_port: for gRPC; 0 takes a free one, None switches it off.
        repository: a folder with names and versions that is watched.
        state: the folder for what the server learns; None keeps it in memory only.
        engine: "auto", "onnxruntime" or "openvino".
        batching: whether requests are run together where that was measured to pay.
        threads: what all models of this process may use; None means all that this machine grants.
        processes: how many processes share the port.
        timeout: seconds after which a request that hasn't been run is dropped.
        limits: what one request may cost.
        token_file: who may ask what; None lets everybody.
        tls: (certificate chain, private key), both PEM; None speaks plain text.
        cors: origins whose pages may ask; "*" means all.
        access_log: whether each request is logged as a line of JSON.
        also: more HTTP ports with the same answers.
        compat: another server's name ("tfserving", "triton", "kserve") where protocols overlap and one must win.
    """

    bundles: tuple[tuple[str, Path], ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    repository: Path | None = None
    state: Path | None = None
    engine: str = "auto"
    batching: bool = True
    threads: int | None = None
    processes: int = 1
    timeout: float = 30.0
    limits: Limits = field(default_factory=Limits)
    token_file: Path | None = None
    tls: tuple[Path, Path] | None = None
    cors: tuple[str, ...] = ()
    access_log: bool = False
    also: tuple[int, ...] = ()
    compat: str = ""


def spec_to_json(spec: ServerSpec) -> dict[str, Any]:
    """Return a spec as JSON, for another process."""
    return asdict(spec, dict_factory=lambda pairs: {key: _plain(value) for key, value in pairs})


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def spec_from_json(value: dict[str, Any]) -> ServerSpec:
    """Return the spec that `spec_to_json` wrote."""
    given = dict(value)
    given["bundles"] = tuple((name, Path(path)) for name, path in given["bundles"])
    given["limits"] = Limits(**given["limits"])
    for name in ("repository", "state", "token_file"):
        given[name] = None if given[name] is None else Path(given[name])
    given["tls"] = None if given["tls"] is None else tuple(Path(path) for path in given["tls"])
    given["cors"], given["also"] = tuple(given["cors"]), tuple(given["also"])
    return ServerSpec(**given)
