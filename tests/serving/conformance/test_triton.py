"""Triton's own Python client (HTTP and gRPC; binary and JSON; compressed, asynchronous, streamed) against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving.conformance import checks
from tests.serving.conformance.clients import client_environment
from tests.serving.echo import echo_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle

SCRIPT = Path(__file__).with_name("triton_checks.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, image_box: Bundle, table_box: Bundle) -> dict[str, str]:
    python = client_environment("triton", ("tritonclient[all]>=2.50", "ml_dtypes"))
    echo = echo_bundle(tmp_path_factory.mktemp("boxes") / "echo")
    with running([("", echo.path), ("", image_box.path), ("", table_box.path)], grpc_port=0) as server:
        return checks.run(python, SCRIPT, server.url, server.grpc)


@pytest.mark.parametrize("name", checks.names(SCRIPT))
def test_triton_client(results: dict[str, str], name: str) -> None:
    assert results[name] == ""
