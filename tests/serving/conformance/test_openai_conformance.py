"""OpenAI's own Python client against a real server that writes text, and curl reading events."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bundle.texts import text_bundle
from tests.serving.conformance import checks
from tests.serving.conformance.clients import client_environment
from tests.serving.running import Running, running

SCRIPT = Path(__file__).with_name("openai_checks.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    box = text_bundle(tmp_path_factory.mktemp("boxes") / "writer")
    with running([("", box.path)]) as server:
        yield server


@pytest.fixture(scope="module")
def results(writer: Running) -> dict[str, str]:
    return checks.run(client_environment("openai", ("openai>=2", "numpy")), SCRIPT, writer.url)


@pytest.mark.parametrize("name", checks.names(SCRIPT))
def test_openai_client(results: dict[str, str], name: str) -> None:
    assert results[name] == ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_reads_events(writer: Running) -> None:
    body = json.dumps({"model": "writer", "prompt": "so it", "max_tokens": 5, "stream": True})
    done = subprocess.run(
        ["curl", "-sN", f"{writer.url}/v1/completions", "-H", "Content-Type: application/json", "-d", body],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.split("\n\n") if line]
    assert len(lines) == 7  # five tokens, why it ended, and that nothing follows
    assert lines[-1] == "data: [DONE]"
