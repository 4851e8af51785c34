"""curl, as people type it, against a real server."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bundle.boxes import images

from bedplate.bundle import Bundle

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl on the PATH")


def curl(*words: str | Path, data: bytes | None = None) -> tuple[int, bytes, dict[str, str]]:
    """Return (status, body, headers) of one command."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", *map(str, words)], input=data, capture_output=True, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while body.startswith(b"HTTP/1.1") or head.startswith(b"HTTP/1.1 100"):  # 100 Continue stands before the reply
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), body, headers


def value(body: bytes) -> Any:
    return json.loads(body)


def test_an_image_as_body_form_and_base64(server: str, png: bytes, image_box: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "digit.png"
    file.write_bytes(png)
    expected = image_box.predict([png])
    for words in (
        ["--data-binary", f"@{file}"],
        ["--form", f"file=@{file}"],
        ["--form", f"image=@{file};type=image/png"],
    ):
        status, body, _ = curl(*words, f"{server}/predict/small")
        assert (status, value(body)["answers"]) == (200, expected)


def test_a_large_body_with_expect_100(server: str, image_box: Bundle, tmp_path: Path) -> None:
    rows = images(400)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"instances": rows.tolist()}))
    words = [
        "--header",
        "Expect: 100-continue",
        "--header",
        "Content-Type: application/json",
        "--data-binary",
        f"@{file}",
    ]
    status, body, _ = curl(*words, f"{server}/v1/models/small:predict")
    assert status == 200
    found = np.array(value(body)["predictions"], np.float32)
    np.testing.assert_allclose(found, image_box.predictor()({"image": rows})["probabilities"], rtol=1e-6)


def test_packed_requests_and_replies(server: str, tmp_path: Path) -> None:
    packed = tmp_path / "rows.json.gz"
    packed.write_bytes(gzip.compress(json.dumps({"instances": images(300).tolist()}).encode()))
    words = ["--compressed", "--header", "Content-Encoding: gzip", "--data-binary", f"@{packed}"]
    status, body, headers = curl(*words, f"{server}/v1/models/small:predict")
    assert (status, headers["content-encoding"], len(value(body)["predictions"])) == (200, "gzip", 300)


def test_binary_tensors(server: str, image_box: Bundle) -> None:
    pixels = images(2)
    head = json.dumps(
        {
            "inputs": [{"name": "image", "shape": [2, 8, 8, 1], "datatype": "UINT8", "parameters": {"binary_data_size": 128}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()  # fmt: skip
    words = ["--header", f"Inference-Header-Content-Length: {len(head)}", "--data-binary", "@-"]
    status, body, headers = curl(*words, f"{server}/v2/models/small/infer", data=head + pixels.tobytes())
    assert status == 200
    behind = body[int(headers["inference-header-content-length"]) :]
    expected = image_box.predictor()({"image": pixels})["probabilities"]
    np.testing.assert_array_equal(np.array(struct.unpack("<6f", behind), np.float32).reshape(2, 3), expected)


def test_rows_as_csv_and_as_a_stream(server: str, table_box: Bundle) -> None:
    _, body, _ = curl(f"{server}/models")
    (model,) = [one for one in value(body)["models"] if one["name"] == "prices"]
    rows = model["examples"][:3]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    words = ["--no-buffer", "--header", "Content-Type: application/x-ndjson", "--data-binary", "@-"]
    status, body, headers = curl(*words, f"{server}/predict/prices?stream=true", data=lines)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert [json.loads(line) for line in body.splitlines()] == table_box.predict(rows)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/health/live", b"true"), ("/v2/health/ready", b"true"), ("/v2", b"binary_tensor_data"), ("/healthz", b"ok"),
        ("/v1/models/small", b"AVAILABLE"), ("/v1/models/small/metadata", b"signature_def"), ("/v1/models", b"prices"),
        ("/v2/models/small", b"UINT8"), ("/v2/models/small/stats", b"model_stats"), ("/v2/models/small/config", b"max_batch_size"),
        ("/metrics", b"bedplate_requests_total"), ("/openapi.json", b"3.1.0"), ("/models/small/versions", b"AVAILABLE"),
    ],
)  # fmt: skip
def test_what_is_looked_at(path: str, words: bytes, server: str) -> None:
    status, body, headers = curl(server + path)
    assert status == 200
    assert words in body
    assert headers["x-request-id"]
    head_status, nothing, _ = curl("--head", server + path)
    assert (head_status, nothing) == (200, b"")


def test_mistakes_get_words(server: str) -> None:
    for method, path, status in (
        ("GET", "/v1/models/none", 404), ("POST", "/v2/models/none/infer", 404), ("DELETE", "/metrics", 405), ("GET", "/none", 404),
    ):  # fmt: skip
        found, body, _ = curl("--request", method, server + path)
        assert found == status
        assert value(body)["error"]
