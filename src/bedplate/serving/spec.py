"""All that a server can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bedplate.serving.body import Limits


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
