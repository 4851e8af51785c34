"""`bedplate serve`: flags → a `ServerSpec`."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

from bedplate.cli.main import console_for
from bedplate.core.errors import InputError
from bedplate.serving.body import Limits
from bedplate.serving.spec import PEERS, ServerSpec


def spec_of(arguments: argparse.Namespace) -> ServerSpec:
    """Return what the flags say. Raises InputError."""
    named: list[tuple[str, Path]] = [("", Path(text)) for text in arguments.bundles]
    for text in arguments.name:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise InputError("not a NAME=BUNDLE", where="--name", received=repr(text))
        named.append((name, Path(path)))
    if not named and not arguments.repository:
        raise InputError("nothing to serve", expected="one bundle or more", hint="bedplate serve runs/NAME/bundle")
    peer = PEERS.get(arguments.compat or "")
    port = arguments.port if arguments.port is not None else peer.port if peer else 8000
    grpc_port = arguments.grpc_port if arguments.grpc_port is not None else peer.grpc_port if peer else None
    for flag, value in (("--port", port), ("--grpc-port", grpc_port)):
        if value is not None and not 0 <= value <= 65535:
            raise InputError("not a port", where=flag, expected="0 to 65535", received=str(value))
    for flag, number in (("--processes", arguments.processes), ("--threads", arguments.threads)):
        if number is not None and not 1 <= number <= 1024:
            raise InputError("not a number of them", where=flag, expected="1 to 1024", received=str(number))
    for flag, size in (("--timeout", arguments.timeout), ("--max-body-mb", arguments.max_body_mb)):
        if not 0 < size < 1e6:
            raise InputError("out of range", where=flag, expected="more than 0", received=f"{size:g}")
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise InputError("TLS needs both", expected="--tls-cert and --tls-key", hint="give the other one, too")
    for origin in arguments.cors:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
            raise InputError(
                "not an origin", where="--cors", expected="https://HOST[:PORT] or '*'", received=origin[:100]
            )
    tls = (Path(arguments.tls_cert), Path(arguments.tls_key)) if arguments.tls_cert else None
    for file in [*(tls or ()), *([Path(arguments.token_file)] if arguments.token_file else [])]:
        if not file.is_file():
            raise InputError("no such file", where=str(file))
    return ServerSpec(
        bundles=tuple(named),
        host=arguments.host,
        port=port,
        grpc_port=grpc_port,
        also=peer.also if peer and arguments.port is None else (),
        compat=arguments.compat or "",
        repository=Path(arguments.repository) if arguments.repository else None,
        state=Path(arguments.state) if arguments.state else None,
        engine=arguments.engine,
        batching=not arguments.no_batching,
        threads=arguments.threads,
        processes=arguments.processes,
        timeout=arguments.timeout,
        limits=replace(Limits(), body_bytes=int(arguments.max_body_mb * (1 << 20))),
        token_file=Path(arguments.token_file) if arguments.token_file else None,
        tls=tls,
        cors=tuple(arguments.cors),
        access_log=arguments.access_log,
    )


def serve(arguments: argparse.Namespace) -> int:
    """`bedplate serve`."""
    from bedplate.serving.launch import serve as serve_bundles

    spec = spec_of(arguments)
    console = console_for(arguments)

    said: dict[str, str] = {}

    def announce(line: str) -> None:
        if line.startswith(("grpc://", "grpcs://")):
            said["grpc"] = line
        console.say(line)

    def ready(url: str) -> None:
        if arguments.json:
            print(json.dumps({"url": url, **({"grpc": said["grpc"]} if "grpc" in said else {})}), flush=True)

    return serve_bundles(spec=spec, announce=announce, ready=ready)
