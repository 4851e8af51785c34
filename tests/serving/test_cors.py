from __future__ import annotations

import httpx
from tests.serving.running import command

from bedplate.bundle import Bundle

PAGE = "https://page.example"


def test_only_named_origins_may_read(image_box: Bundle, png: bytes) -> None:
    with command(image_box.path, "--cors", PAGE) as server:
        asked = {
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        early = httpx.options(f"{server.url}/predict/small", headers=asked)
        assert early.status_code == 204
        assert early.headers["access-control-allow-origin"] == PAGE
        assert "POST" in early.headers["access-control-allow-methods"]
        assert "authorization" in early.headers["access-control-allow-headers"]
        for origin, allowed in ((PAGE, PAGE), ("https://other.example", None), (None, None)):
            headers = {"origin": origin} if origin else {}
            reply = httpx.post(f"{server.url}/predict/small", content=png, headers=headers)
            assert reply.status_code == 200
            assert reply.headers.get("access-control-allow-origin") == allowed
        wrong = httpx.post(f"{server.url}/predict/absent", content=png, headers={"origin": PAGE})
        assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (404, PAGE)


def test_without_the_flag_nobody_is_told(server: str, png: bytes) -> None:
    reply = httpx.post(f"{server}/predict/small", content=png, headers={"origin": PAGE})
    assert "access-control-allow-origin" not in reply.headers
    assert httpx.options(f"{server}/predict/small").status_code == 405
