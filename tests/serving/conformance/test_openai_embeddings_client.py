"""OpenAI's own Python client, and curl, ask a real server for vectors."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bundle.boxes import vector_bundle
from tests.serving.conformance import checks
from tests.serving.conformance.clients import client_environment
from tests.serving.running import running

SCRIPT = Path(__file__).with_name("openai_embeddings_checks.py")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    box = vector_bundle(tmp_path_factory.mktemp("boxes") / "vectors")
    with running([("", box.path)], engine="onnxruntime") as server:
        yield server.url


@pytest.fixture(scope="module")
def results(url: str) -> dict[str, str]:
    python = client_environment("openai", ("openai>=2,<4", "numpy>=2"))
    return checks.run(python, SCRIPT, url, "meaning", "6")


@pytest.mark.slow
@pytest.mark.parametrize("name", checks.names(SCRIPT))
def test_openai_client(results: dict[str, str], name: str) -> None:
    assert results[name] == ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl on the PATH")
def test_curl(url: str) -> None:
    body = '{"model": "meaning", "input": ["a superb film", "a dull one"]}'
    words = [
        "curl",
        "--silent",
        "--fail",
        f"{url}/v1/embeddings",
        "--header",
        "content-type: application/json",
        "-d",
        body,
    ]
    done = subprocess.run(words, capture_output=True, check=True)
    assert [len(one["embedding"]) for one in json.loads(done.stdout)["data"]] == [6, 6]
