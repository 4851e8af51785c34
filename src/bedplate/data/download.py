"""Fetch a file once, and only keep it if it is the published one."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bedplate.core.errors import DataError
from bedplate.core.files import explain_write_errors

Announce = Callable[[str], None]

_PIECE = 1 << 18
_TIMEOUT_SECONDS = 30.0
_PROGRESS_STEP = 0.25


def cache_folder() -> Path:
    """Return the folder for downloaded data: `$XDG_CACHE_HOME/bedplate`, or `~/.cache/bedplate`."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".cache") / "bedplate"


def _failed(url: str, what: str, hint: str) -> DataError:
    return DataError("the download failed", where=url, received=what, hint=hint)


def _check(url: str, got: int, total: int, digest: str, sha256: str, hint: str) -> None:
    """Refuse a file that is cut short or is not the published one."""
    if total and got != total:
        raise _failed(url, f"the connection closed after {got:,} of {total:,} bytes", hint)
    if digest != sha256:
        raise DataError(
            "the downloaded file is not the published one, and was thrown away",
            where=url,
            expected=f"SHA-256 {sha256}",
            received=f"{digest} ({got:,} bytes)",
            hint=hint,
        )


def download(url: str, target: Path, *, sha256: str, announce: Announce, hint: str = "try again later") -> Path:
    """Fetch `url` to `target` and return it; `target` appears only when whole and with this SHA-256 (hex).

    `announce` is told the size and, for large files, each quarter. `hint` ends the message of every failure.

    Raises:
        DataError: no connection, an HTTP error, fewer bytes than announced, or other bytes than published.
        InputError: no room or no permission to write `target`.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError("not an address to download from", where=url, expected="http:// or https://")
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    part = Path(name)
    try:
        digest, got = hashlib.sha256(), 0
        with os.fdopen(handle, "wb") as file:
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 (checked above)
                    total = int(response.headers.get("Content-Length") or 0)
                    size = f", {total / 1e6:.1f} MB" if total else ""
                    announce(f"downloading {target.name} from {url}{size}")
                    told = _PROGRESS_STEP
                    while piece := response.read(_PIECE):
                        with explain_write_errors(target):
                            file.write(piece)
                        digest.update(piece)
                        got += len(piece)
                        if total > 8 * _PIECE and told <= got / total < 1:
                            announce(f"downloading {target.name}: {got / total:.0%}")
                            told = got / total + _PROGRESS_STEP
            except urllib.error.HTTPError as error:
                error.close()
                raise _failed(url, f"HTTP {error.code} {error.reason}", hint) from error
            except http.client.IncompleteRead as error:
                raise _failed(url, f"the connection closed after {got + len(error.partial):,} bytes", hint) from error
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                raise _failed(url, str(getattr(error, "reason", error)) or type(error).__name__, hint) from error
            _check(url, got, total, digest.hexdigest(), sha256, hint)
            with explain_write_errors(target):
                file.flush()
                os.fsync(file.fileno())
        with explain_write_errors(target):
            part.chmod(0o644)
            part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target
