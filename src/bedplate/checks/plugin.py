"""Check a researcher's own file: what it registers must pass the battery."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bedplate.checks.battery import Result, check_model, check_objective
from bedplate.core.errors import InputError
from bedplate.models import models
from bedplate.objectives import objectives
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
    """Import a file and check every model and objective that it registered.

    Raises:
        InputError: the file can't be imported, or registers nothing.
    """
    module = load_plugin(path)
    made = [
        (kind, name)
        for kind, registry in (("model", models), ("objective", objectives))
        for name, part in registry.parts()
        if part.__module__ == module.__name__
    ]
    if not made:
        raise InputError(
            "the file registers nothing",
            where=str(path),
            expected="@bp.register_model(…) or @bp.register_objective(…) on a function",
        )
    results: list[Result] = []
    for kind, name in made:
        results += check_model(name) if kind == "model" else check_objective(name)
    return PluginReport(path, results)
