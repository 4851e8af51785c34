"""Say whether one run is really better than another, row by row where they were judged on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.core.errors import RunError
from bedplate.core.files import read_json
from bedplate.evaluation import Report, Verdict


@dataclass(frozen=True)
class Comparison:
    """Each run's metrics, and each later run against the first."""

    runs: dict[str, Report]
    verdicts: dict[str, Verdict]

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON."""
        metrics = {name: {key: e.to_json() for key, e in report.metrics.items()} for name, report in self.runs.items()}
        return {
            "reference": next(iter(self.runs)),
            "metrics": metrics,
            "verdicts": {name: v.to_json() for name, v in self.verdicts.items()},
        }

    def lines(self) -> list[str]:
        """Return a table of metrics and a sentence for each run against the first."""
        width = max(map(len, self.runs))
        lines = []
        for name, report in self.runs.items():
            figures = "  ".join(f"{key} {e.value:.4g} ({e.low:.4g}–{e.high:.4g})" for key, e in report.metrics.items())
            lines.append(f"{name:<{width}}  {figures}")
        return lines + [f"{name}: {verdict.text}" for name, verdict in self.verdicts.items()]


def _data_of(path: Path) -> str:
    """Return the fingerprint of a run's data."""
    found: str = read_json(path / "report.json")["provenance"]["data"]
    return found


def compare_runs(paths: list[Path]) -> Comparison:
    """Compare finished runs; the first is the reference.

    Raises:
        RunError: a folder holds no finished run.
        RunError: they were judged on different data.
    """
    runs: dict[str, Report] = {}
    for path in paths:
        file = path / "pack" / "report.json"
        if not file.is_file():
            raise RunError("no finished run", where=str(path), hint="finish it with `bedplate run … --resume`")
        runs[str(path)] = Report.from_json(read_json(file))
    first, *others = runs
    data = {name: _data_of(Path(name)) for name in runs}
    for name in others:
        if data[name] != data[first]:
            raise RunError(
                "the runs were judged on different data",
                where=name,
                expected=f"the data of {first}",
                hint="compare runs of one dataset",
            )
    return Comparison(runs, {name: runs[name].compare(runs[first]) for name in others})
