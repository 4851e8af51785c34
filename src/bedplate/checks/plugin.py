"""Check a researcher's own file: what it registers must pass the battery."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedplate.checks.battery import CHECKS, Result
from bedplate.core.errors import InputError
from bedplate.stages.plugins import load_plugin


@dataclass(frozen=True)
class PluginReport:
    """All results of one file."""

    path: Path
    results: list[Result]

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(not result.ok for result in self.results)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return self.failed == 0

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON."""
        return {"file": str(self.path), "ok": self.ok, "results": [asdict(result) for result in self.results]}


def check_file(path: Path) -> PluginReport:
    """Import a file and check every part that it registered.

    Raises:
        InputError: the file can't be imported, or registers nothing.
    """
    module = load_plugin(path)
    made = [
        (check, name)
        for registry, check in CHECKS.values()
        for name, part in registry.parts()
        if part.__module__ == module.__name__
    ]
    if not made:
        raise InputError(
            "the file registers nothing",
            where=str(path),
            expected="a function under @bp.register_model(…), register_objective, _compression or _augment",
        )
    results = [result for check, name in made for result in check(name)]
    return PluginReport(path, results)
