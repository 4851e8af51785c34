"""Schemathesis asks everything that the OpenAPI document offers, well and badly: replies must be as it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.serving.conformance.clients import client_environment
from tests.serving.echo import echo_bundle
from tests.serving.running import running

from bedplate.bundle import Bundle

pytestmark = pytest.mark.slow

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)
# Loading and unloading would take the models away from the other checks; the last three are answered 501, as written.
LEFT_OUT = "/(load|unload)$|:(explain|classify|regress)$"


def test_every_reply_is_as_the_document_says(tmp_path: Path, image_box: Bundle, table_box: Bundle) -> None:
    python = client_environment("schemathesis", ("schemathesis>=4.0",))
    echo = echo_bundle(tmp_path / "echo")
    with running([("", one.path) for one in (echo, image_box, table_box)]) as server:
        done = subprocess.run(
            [str(python.with_name("schemathesis")), "run", f"{server.url}/openapi.json", "--phases", "examples,coverage,fuzzing",
             "--checks", CHECKS, "--max-examples", "25", "--exclude-path-regex", LEFT_OUT, "--continue-on-failure",
             "--generation-deterministic", "--no-color"],
            cwd=tmp_path, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
