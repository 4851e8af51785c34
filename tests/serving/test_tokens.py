from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.running import command

from bedplate.bundle import Bundle
from bedplate.core.errors import InputError
from bedplate.serving.problems import Problem
from bedplate.serving.tokens import TokenGuard, read_tokens

ASK, RULE = "a-token-that-may-predict", "a-token-that-may-manage"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def write(path: Path, value: Any, mode: int = 0o600) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tokens = [
        {"name": "asker", "sha256": digest(ASK), "roles": ["predict"]},
        {"name": "ruler", "token": RULE, "roles": ["predict", "manage", "metrics"]},
    ]
    return write(tmp_path / "tokens.json", {"tokens": tokens})


def test_each_role_opens_its_routes_only(file: Path, image_box: Bundle, png: bytes) -> None:
    with command(image_box.path, "--token-file", file) as server, httpx.Client(base_url=server.url) as client:

        def status(method: str, path: str, token: str = "", **more: Any) -> int:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return client.request(method, path, headers=headers, **more).status_code

        for path in ("/v2/health/live", "/v2/health/ready", "/healthz", "/"):
            assert status("GET", path) == 200
        assert [status("POST", "/predict/small", token, content=png) for token in ("", "x" * 20, ASK, RULE)] == [
            401, 401, 200, 200,
        ]  # fmt: skip
        assert [status("GET", "/metrics", token) for token in ("", ASK, RULE)] == [401, 403, 200]
        assert [status("POST", "/v2/repository/models/small/load", token) for token in ("", ASK, RULE)] == [
            401,
            403,
            200,
        ]
        assert [status("GET", "/no/such/path", token) for token in ("", ASK)] == [401, 404]
        refused = client.post("/predict/small", content=png)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert "Authorization: Bearer" in refused.json()["error"]
        assert client.post("/predict/small", content=png, headers={"authorization": "Basic eDp5"}).status_code == 401


def test_a_changed_file_counts_and_a_broken_one_does_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedplate.serving.tokens._LOOK_EVERY", 0.0)
    guard = TokenGuard(file)
    assert guard.allow(f"Bearer {ASK}", "predict") == "asker"
    write(file, "{")
    os.utime(file, ns=(1, 1))
    assert guard.allow(f"bearer {ASK}", "predict") == "asker"
    write(file, {"tokens": [{"name": "new", "token": "another-long-token", "roles": ["predict"]}]})
    os.utime(file, ns=(2, 2))
    with pytest.raises(Problem) as refused:
        guard.allow(f"Bearer {ASK}", "predict")
    assert refused.value.status == 401
    assert guard.allow("Bearer another-long-token", "predict") == "new"


def test_a_rate_is_kept_and_says_when_to_come_back(tmp_path: Path) -> None:
    entry = {"name": "slow", "token": ASK, "roles": ["predict"], "requests_per_second": 2}
    guard = TokenGuard(write(tmp_path / "t.json", {"tokens": [entry]}))
    for _ in range(4):
        guard.allow(f"Bearer {ASK}", "predict")
    with pytest.raises(Problem) as refused:
        guard.allow(f"Bearer {ASK}", "predict")
    assert refused.value.status == 429
    assert 0 < (refused.value.retry_after or 0) <= 0.5
    time.sleep(0.55)
    guard.allow(f"Bearer {ASK}", "predict")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "isn't JSON"), ([], "no tokens"), ({"tokens": []}, "no tokens"), ({"tokens": [3]}, "not an object"),
        ({"tokens": [{"token": "short"}]}, "too short"), ({"tokens": [{"sha256": "ab"}]}, "no token"),
        ({"tokens": [{"token": ASK, "roles": ["admin"]}]}, "not roles"), ({"tokens": [{"token": ASK, "roles": []}]}, "not roles"),
        ({"tokens": [{"token": ASK, "role": ["predict"]}]}, "did you mean"),
        ({"tokens": [{"token": ASK, "requests_per_second": -1}]}, "not a rate"),
        ({"tokens": [{"token": ASK, "sha256": digest(ASK)[:-1]}]}, "no token"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(value: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_tokens(write(tmp_path / "t.json", value))


def test_a_file_that_everybody_may_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_tokens(file)
