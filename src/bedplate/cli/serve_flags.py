"""The flags of `bedplate serve`; apart from the verb, so that `--help` loads nothing of the server."""

from __future__ import annotations

import argparse


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's flags."""
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="bundles' folders or archives")
    parser.add_argument(
        "--name", metavar="NAME=BUNDLE", action="append", default=[], help="serve a bundle under another name"
    )
    parser.add_argument(
        "--repository", metavar="DIR", help="serve NAME/VERSION below a folder, and follow what is put there"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="for HTTP (default 8000); 0 takes a free one and says which")
    parser.add_argument("--grpc-port", type=int, help="speak gRPC, too, on this port; 0 takes a free one")
    parser.add_argument(
        "--as",
        dest="compat",
        choices=["kserve", "tfserving", "triton"],
        help="take another server's ports, and answer as strictly as it does",
    )
    parser.add_argument("--state", metavar="DIR", help="where the sketches for `bedplate monitor` are kept")
    parser.add_argument(
        "--engine", default="auto", choices=["auto", "onnxruntime", "openvino"],
        help="what runs the models (default: the fastest here that agrees with the golden answers)",
    )  # fmt: skip
    parser.add_argument("--no-batching", action="store_true", help="never run requests together")
    parser.add_argument("--threads", type=int, help="processors that the models may use (default: all granted)")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share the port (default: 1)")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="drop a request that waited longer (default: 30)"
    )
    parser.add_argument(
        "--max-body-mb", type=float, default=64.0, metavar="MB", help="the largest request (default: 64)"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="who may predict, manage and read metrics, by bearer token"
    )
    parser.add_argument("--tls-cert", metavar="PEM", help="the certificate chain; with --tls-key, speak TLS only")
    parser.add_argument("--tls-key", metavar="PEM", help="the certificate's private key")
    parser.add_argument(
        "--cors", metavar="ORIGIN", action="append", default=[], help="let pages of this origin ask ('*' for all)"
    )
    parser.add_argument(
        "--access-log", action="store_true", help="log each request as a line of JSON on standard error"
    )
