"""Bearer tokens: who may predict, who may manage, who may read the metrics.

The token file is JSON: `{"tokens": [{"name": "team-a", "sha256": "…", "roles": ["predict"]}, …]}`. A token is stored as
its SHA-256 (`sha256`), or, where the file itself is secret, as `token`. The file is read again when it changes.
"""

from __future__ import annotations

import hmac
import json
import logging
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from bedplate.core.errors import InputError, did_you_mean
from bedplate.core.hashing import sha256_bytes
from bedplate.serving.allowance import Allowance
from bedplate.serving.exchange import Ask
from bedplate.serving.problems import Problem
from bedplate.serving.routes import Route
from bedplate.serving.web import Guard

log = logging.getLogger("bedplate.serving")

ROLES = ("predict", "manage", "metrics")
SHORTEST = 16
"""Characters that a token given in plain must have."""

_LOOK_EVERY = 2.0


@dataclass(frozen=True)
class Token:
    """One token: its digest, whose it is, what it may, and how often (requests a second; 0 is without a limit)."""

    digest: bytes
    name: str
    roles: frozenset[str]
    rate: float = 0.0


def read_tokens(file: Path) -> list[Token]:
    """Return the tokens of a file.

    Raises:
        InputError: it can't be read, isn't what it should be, holds none, or is open to everybody on this machine.
    """
    where = str(file)
    try:
        mode = file.stat().st_mode
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("the token file can't be read", where=where, received=error.strerror or str(error)) from error
    except ValueError as error:
        raise InputError("the token file isn't JSON", where=where, received=str(error)[:100]) from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise InputError("everybody may read the token file", where=where, hint=f"chmod 600 {file.name}")
    entries = value.get("tokens") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError("no tokens", where=where, expected='{"tokens": [{"name", "sha256", "roles"}, …]}')
    return [_token(entry, f"{where}: tokens[{k}]") for k, entry in enumerate(entries)]


def _token(entry: object, where: str) -> Token:
    if not isinstance(entry, dict):
        raise InputError("not an object", where=where)
    known = ("name", "sha256", "token", "roles", "requests_per_second")
    for key in entry:
        if key not in known:
            raise InputError(f"unknown key '{key}'", where=where, hint=did_you_mean(str(key), known))
    roles = entry.get("roles", ["predict"])
    if not isinstance(roles, list) or not roles or not all(role in ROLES for role in roles):
        raise InputError("not roles", where=where, expected=f"some of {', '.join(ROLES)}", received=str(roles)[:100])
    rate = entry.get("requests_per_second", 0)
    if not isinstance(rate, int | float) or isinstance(rate, bool) or rate < 0:
        raise InputError("not a rate", where=where, expected="requests a second", received=str(rate)[:40])
    digest, plain = entry.get("sha256"), entry.get("token")
    if isinstance(plain, str) and digest is None:
        if len(plain) < SHORTEST:
            raise InputError("the token is too short", where=where, expected=f"at least {SHORTEST} characters")
        digest = sha256_bytes(plain.encode())
    if not isinstance(digest, str) or len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
        raise InputError("no token", where=where, expected="sha256 (64 hexadecimal digits), or token")
    return Token(bytes.fromhex(digest), str(entry.get("name", "")), frozenset(roles), float(rate))


class TokenGuard(Guard):
    """Let a request through where its bearer token has the role that its route asks for.

    Health, the page and the description ask for none. Digests are compared in constant time, all of them, so that the
    time tells nothing of which came near.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tokens = read_tokens(file)
        self._stamp = file.stat().st_mtime_ns
        self._looked = time.monotonic()
        self._allowances: dict[bytes, Allowance] = {}

    def check(self, ask: Ask, route: Route | None) -> None:
        """Raise Problem 401, 403 or 429 where the request may not go on."""
        role = "predict" if route is None else route.role
        if role and ask.method != "OPTIONS":
            ask.user = self.allow(ask.headers.get("authorization"), role)

    def allow(self, header: str, role: str) -> str:
        """Return whose token it is; raise Problem 401, 403 or 429."""
        self._refresh()
        kind, _, text = header.partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise Problem(
                401, "a bearer token is needed: Authorization: Bearer …", headers={"www-authenticate": "Bearer"}
            )
        digest = bytes.fromhex(sha256_bytes(text.strip().encode("utf-8", "surrogateescape")))
        found: Token | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        if found is None:
            raise Problem(401, "the token isn't known", headers={"www-authenticate": 'Bearer error="invalid_token"'})
        if role not in found.roles:
            raise Problem(403, f"this token isn't for '{role}' but for {' and '.join(map(repr, sorted(found.roles)))}")
        if found.rate:
            # As many at once as two seconds give.
            allowance = self._allowances.setdefault(found.digest, Allowance(found.rate, max(1.0, 2 * found.rate)))
            if not allowance.take():
                pause = allowance.pause()
                raise Problem(429, f"this token may ask {found.rate:g} times a second", retry_after=pause)
        return found.name

    def _refresh(self) -> None:
        """Read the file again where it changed; one that can't be read leaves the tokens as they are."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp != self._stamp:
                self._stamp = stamp
                self._tokens = read_tokens(self._file)
                self._allowances.clear()
        except (OSError, InputError) as error:
            log.warning("the token file can't be used; the tokens stay as they were: %s", error)
