"""Which handler answers which method and path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.problems import Problem

Handler = Callable[[Ask], Awaitable[Reply]]

_MOST_REMEMBERED = 1024


@dataclass(frozen=True)
class Route:
    """One path with the methods that it answers, and the role that may ask.

    In `path`, `{name}` stands for one part without a slash or colon, `{name:*}` for anything. The letters' case counts
    unless `ignore_case` is set. The method `*` takes any that no route before has taken.
    """

    methods: str
    path: str
    handler: Handler
    role: str = "predict"
    ignore_case: bool = False


class Routes:
    """All routes of a server; the first that fits a path and method answers."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = list(routes)
        self._patterns = [
            (_pattern(route.path, route.ignore_case), frozenset(route.methods.split()), route) for route in self.all
        ]
        self._remembered: dict[tuple[str, str], tuple[Route, dict[str, str]]] = {}

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and its path's parameters; raises Problem 404 or 405."""
        found = self._remembered.get((method, path))
        if found is not None:
            return found
        asked = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for pattern, methods, route in self._patterns:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if asked in methods or "*" in methods:
                found = route, {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                if len(self._remembered) >= _MOST_REMEMBERED:  # the oldest goes: many odd paths keep no good one out
                    del self._remembered[next(iter(self._remembered))]
                self._remembered[method, path] = found
                return found
            allowed |= methods
        shown = path[:200]
        if allowed:
            listed = ", ".join(sorted(allowed))
            raise Problem(405, f"{method[:20]} isn't answered at {shown}; allowed: {listed}", allow=listed)
        raise Problem(404, f"nothing is served at {shown}; / is a page for people, /docs lists all paths")


def _pattern(path: str, ignore_case: bool) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?::\*)?\})", path)
    return re.compile(
        "".join(
            f"(?P<{part[1:-3]}>.*)" if part.endswith(":*}") else f"(?P<{part[1:-1]}>[^/:]+)" if part[:1] == "{"
            else re.escape(part)
            for part in parts
        ),
        re.IGNORECASE if ignore_case else 0,
    )  # fmt: skip
