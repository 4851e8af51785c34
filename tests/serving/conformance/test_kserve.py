"""KServe's own Python client (REST and gRPC) against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serving.conformance import checks
from tests.serving.conformance.clients import client_environment
from tests.serving.running import running

from bedplate.bundle import Bundle

SCRIPT = Path(__file__).with_name("kserve_checks.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(image_box: Bundle, table_box: Bundle) -> dict[str, str]:
    python = client_environment("kserve", ("kserve>=0.15",))
    with running([("", image_box.path), ("", table_box.path)], grpc_port=0) as server:
        return checks.run(python, SCRIPT, server.url, server.grpc)


@pytest.mark.parametrize("name", checks.names(SCRIPT))
def test_kserve_client(results: dict[str, str], name: str) -> None:
    assert results[name] == ""
