"""The official tensorflow-serving-api drives a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving.conformance import checks
from tests.serving.conformance.clients import client_environment
from tests.serving.echo import echo_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle

CHECKS = Path(__file__).with_name("tfserving_checks.py")


@pytest.fixture(scope="module")
def faults(image_box: Bundle, table_box: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    python = client_environment("tfs", ["tensorflow-serving-api>=2.19", "grpcio"])
    echo = echo_bundle(tmp_path_factory.mktemp("boxes") / "echo")
    with running([("", image_box.path), ("", table_box.path), ("", echo.path)], grpc_port=0) as server:
        yield checks.run(python, CHECKS, server.grpc)
        assert server.stop()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", checks.names(CHECKS))
def test_the_official_client_gets_its_answer(faults: dict[str, str], name: str) -> None:
    assert faults[name] == ""
