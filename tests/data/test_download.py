"""The downloader against a real HTTP server on this machine."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bedplate.core.errors import DataError, InputError
from bedplate.core.hashing import sha256_bytes
from bedplate.data.download import cache_folder, download

BODY = os.urandom(3_000_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve a good file, and every way in which a server can fail."""

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        body = {"/other": b"another file"}.get(self.path, BODY)
        self.send_response(200)
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/truncated" else body)

    def log_message(
        self,
        format: str,  # noqa: A002
        *args: object,
    ) -> None:
        """Keep the test's output quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.mark.parametrize("page", ["good", "moved", "no-length"])
def test_a_good_file_arrives_whole_and_is_announced(server: str, tmp_path: Path, page: str) -> None:
    told: list[str] = []
    target = tmp_path / "deep/er/file.gz"
    assert download(f"{server}/{page}", target, sha256=sha256_bytes(BODY), announce=told.append) == target
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["file.gz"]
    assert target.stat().st_mode & 0o777 == 0o644
    assert "downloading file.gz" in told[0]
    if page == "good":
        assert "3.0 MB" in told[0]
        assert len(told) > 2


@pytest.mark.parametrize(
    ("page", "what"),
    [
        ("missing", "HTTP 404"),
        ("truncated", "connection closed after 1,500,000 of 3,000,000 bytes|closed after"),
        ("other", "not the published one.*expected SHA-256.*12 bytes"),
    ],
)
def test_a_bad_answer_leaves_nothing_and_says_what_to_do(server: str, tmp_path: Path, page: str, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        download(
            f"{server}/{page}", tmp_path / "file", sha256=sha256_bytes(BODY), announce=print, hint="fetch it by hand"
        )
    assert "fetch it by hand" in str(caught.value)
    assert server in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_answer_keeps_the_file_that_was_there(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older")
    with pytest.raises(DataError):
        download(f"{server}/truncated", tmp_path / "file", sha256=sha256_bytes(BODY), announce=print)
    assert (tmp_path / "file").read_bytes() == b"older"


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"download failed.*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "x", sha256="", announce=print)
    with pytest.raises(DataError, match=r"http:// or https://"):
        download("file:///etc/passwd", tmp_path / "x", sha256="", announce=print)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises((InputError, OSError)):
        download(f"{server}/good", tmp_path / "file/x", sha256=sha256_bytes(BODY), announce=print)


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bedplate"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/bedplate"
