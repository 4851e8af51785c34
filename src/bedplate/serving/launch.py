"""The front door: one process or several, on sockets that are bound before anything is loaded."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bedplate.core.errors import InputError
from bedplate.serving.listen import bind, url_of
from bedplate.serving.spec import ServerSpec


def serve(
    bundles: Sequence[tuple[str, str | Path]] = (),
    *,
    spec: ServerSpec | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    state: Path | None = None,
    announce: Callable[[str], None] | None = None,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve bundles until SIGTERM or SIGINT; return 0 when all requests in hand are answered and the state is saved.

    Args:
        bundles: (name to serve under, folder or archive); an empty name takes the bundle's own.
        spec: all that can be told, in place of the other arguments.
        host: the address to listen on.
        port: 0 takes a free one; `ready` is told which.
        state: the folder where the sketches for `bedplate monitor` are kept; None keeps them in memory only.
        announce: is told what a person wants to know, a line at a time; None writes to standard error.
        ready: is called once with the URL, when the models are warm and requests are answered.

    Raises:
        BundleError: a bundle is damaged, or answers otherwise on this machine.
        InputError: nothing to serve, a name or port is taken, or the state folder can't be used.
    """

    def say(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, a closed pipe: no reason to stop serving
            if announce is not None:
                announce(line)
            else:
                print(line, file=sys.stderr, flush=True)  # noqa: T201

    if spec is None:
        named = tuple((name, Path(path)) for name, path in bundles)
        spec = ServerSpec(named, host=host, port=port, state=state)
    if not spec.bundles and spec.repository is None:
        raise InputError("nothing to serve", expected="at least one bundle")
    check_folders(spec)
    if spec.tls is not None:
        check_certificate(*spec.tls)
    shared = spec.processes > 1
    listeners = [bind(spec.host, spec.port, shared=shared)]
    try:
        listeners += [bind(spec.host, port, shared=shared) for port in spec.also]
        address = spec.host, listeners[0].getsockname()[1]
        if spec.grpc_port is not None:
            # gRPC binds its port itself, when the models are warm; whether it can is better known now.
            with bind(spec.host, spec.grpc_port, flag="--grpc-port") as free:
                spec = replace(spec, grpc_port=free.getsockname()[1])
        url = url_of(*address, "https" if spec.tls else "http")

        def when_ready() -> None:
            say(f"{url}  (page: /, interface: /docs, metrics: /metrics; Ctrl-C stops)")
            for port in spec.also:
                say(f"{url_of(spec.host, port, 'https' if spec.tls else 'http')}  (the same)")
            if spec.grpc_port is not None:
                say(f"{url_of(spec.host, spec.grpc_port, 'grpcs' if spec.tls else 'grpc')}")
            if ready is not None:
                ready(url)

        if spec.processes > 1:
            from bedplate.serving.processes import supervise

            ports = (address[1], *spec.also)
            sets = [listeners[:]]
            for _ in range(spec.processes - 1):
                sets.append([])
                for port in ports:
                    sets[-1].append(bind(spec.host, port, shared=True))
                    listeners.append(sets[-1][-1])
            code = supervise(spec, sets, say, when_ready)
        else:
            from bedplate.serving.server import run

            code = run(spec, listeners, say=say, when_ready=when_ready)
    finally:
        for one in listeners:
            one.close()
    say("stopped")
    return code


def check_folders(spec: ServerSpec) -> None:
    """Raise InputError where a folder that was named can't be what it should."""
    if spec.repository is not None:
        try:
            next(iter(spec.repository.iterdir()), None)
        except OSError as error:
            raise InputError(
                "the repository can't be read", where=str(spec.repository), expected="a folder with names and versions",
                received=error.strerror or str(error),
            ) from error  # fmt: skip
        if (spec.repository / "BUNDLE_ID").exists():
            raise InputError(
                "a bundle, not a repository", where=str(spec.repository), expected="a folder with names and versions",
                hint="leave --repository out to serve this bundle",
            )  # fmt: skip
    if spec.state is not None and any((place / "BUNDLE_ID").exists() for place in (spec.state, *spec.state.parents)):
        raise InputError(
            "the state can't lie within a bundle", where=str(spec.state), hint="nothing is ever written into a bundle; "
            "give --state a folder of its own",
        )  # fmt: skip


def check_certificate(certificate: Path, key: Path) -> None:
    """Raise InputError where a certificate and its key can't be used together."""
    for file in (certificate, key):
        try:
            with file.open("rb") as opened:
                opened.read(1)
        except OSError as error:
            raise InputError("can't be read", where=str(file), received=error.strerror or str(error)) from error

    def locked() -> str:
        raise InputError(
            "the private key is locked with a pass phrase",
            where=str(key),
            hint="give one without: openssl pkey -in KEY",
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=locked)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise InputError(
            "the certificate and its key can't be used together", where=f"{certificate}, {key}",
            expected="a PEM certificate chain, and its own private key as PEM", received=str(error)[:120],
        ) from error  # fmt: skip
